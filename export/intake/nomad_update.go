package intake

import (
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/tenement/ten/schema"
)

// update says how a new revision takes over: field by field as the group has it,
// else the job.
func (n *nomad) update(s *service, group *tree) {
	merged := &tree{kind: table, fields: map[string]*tree{}}
	for _, block := range slices.Concat(n.job.get("update").each(), group.get("update").each()) {
		maps.Copy(merged.fields, block.fields)
	}
	merged.keys = slices.Sorted(maps.Keys(merged.fields))
	count, err := strconv.Atoi(group.get("count").str())
	if err != nil {
		count = 1
	}
	canaries, _ := strconv.Atoi(merged.get("canary").str())
	s.readFields(merged, "update.", map[string]reading{
		"canary": func(s *service, v *tree) { nomadCanary(s, v, canaries, count) },
		"auto_promote": func(s *service, v *tree) {
			if canaries > 0 && v.str() != "true" {
				s.lose("update.auto_promote", v.brief(), v.at, "ten goes on by itself when the new ones are healthy", "")
			}
		},
		"auto_revert": func(s *service, v *tree) {
			if v.str() != "true" {
				s.lose("update.auto_revert", v.brief(), v.at, "ten goes back by itself to what was good", "")
			}
		},
		"max_parallel": func(s *service, v *tree) {
			if v.str() != "1" && count > 1 {
				s.lose("update.max_parallel", v.brief(), v.at, "ten replaces one instance after the other", "deploy = \"blue-green\" for all at once")
			}
		},
		"health_check": func(s *service, v *tree) {
			if v.str() != "checks" && s.get("health") != schema.HealthNone {
				s.lose("update.health_check", v.brief(), v.at, "ten asks whoever listens", "health = \"none\"")
			}
		},
		"min_healthy_time": func(s *service, v *tree) { nomadWait(s, "min_healthy", v) },
		"healthy_deadline": func(s *service, v *tree) { nomadWait(s, "startup_timeout", v) },
	})
}

// nomadCanary: as many new ones as old is blue-green; fewer are a canary. A new
// one beside the only one is how ten does it anyway.
func nomadCanary(s *service, v *tree, canaries, count int) {
	switch {
	case canaries <= 0 || count == 1:
	case canaries >= count:
		s.set("deploy", "blue-green", v.at, "")
	default:
		s.convert("update.canary", v.brief(), v.at, "ten counts a canary's share of the requests", "canary_steps")
		s.set("deploy", "canary", v.at, "")
	}
}

// nomadWait takes a time over as it is, where ten takes that long a one.
func nomadWait(s *service, name string, v *tree) {
	if d, err := time.ParseDuration(v.str()); err == nil && d == 0 {
		return
	}
	nomadTime(s, name, 3600, v)
}
