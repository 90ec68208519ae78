package plan

import (
	"fmt"
	"strings"

	"github.com/tenement/ten/runtimes"
	"github.com/tenement/ten/schema"
)

// group is actions of one service that say the same: they are shown as one.
type group struct {
	first Action
	ids   []runtimes.ID
}

// groups joins neighbouring actions that differ in nothing but the instance.
func groups(actions []Action) []group {
	var out []group
	at := map[string]int{}
	for _, a := range actions {
		key := sameness(a)
		if i, ok := at[key]; ok {
			out[i].ids = append(out[i].ids, a.ID)
			continue
		}
		at[key] = len(out)
		out = append(out, group{first: a, ids: []runtimes.ID{a.ID}})
	}
	return out
}

// sameness is equal for actions that read the same.
func sameness(a Action) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\x00%s\x00%s\x00%v\x00%v\x00%v", a.ID.Service, a.Op, a.Reason.Text, a.NotBefore, a.After, a.Blocked != nil)
	for _, c := range a.Changes {
		fmt.Fprintf(&b, "\x00%s=%s>%s", c.Path, c.Before, c.After)
	}
	return b.String()
}

// subject names who a group is about: "api:prod", "api (3 instances)", "host".
func (g group) subject() string {
	switch {
	case g.first.ID == (runtimes.ID{}):
		return "settings"
	case len(g.ids) == 1:
		return g.first.ID.String()
	}
	return fmt.Sprintf("%s (%d instances)", g.first.ID.Service, len(g.ids))
}

// symbol tells the kind of action in a glance, and reads without colour.
func (a Action) symbol() string {
	switch a.Op {
	case OpCreate:
		return "+"
	case OpReplace:
		return "-/+"
	case OpRemove, OpCleanup, OpStop:
		return "-"
	case OpSleep:
		return "z"
	case OpWake:
		return "+"
	}
	if a.Drift {
		return "!"
	}
	return "~"
}

// verb says in words what is done and what it costs.
func (a Action) verb() string {
	switch a.Op {
	case OpCreate:
		if a.New != nil {
			return "wait until healthy"
		}
		return "create"
	case OpStart:
		return "start again"
	case OpRestart:
		if a.Drift {
			return "restart beside the old one"
		}
		return "restart without a gap" + a.Takeover.words()
	case OpReplace:
		return "replace: stop, then start  !! a gap in service"
	case OpUpdate:
		return "update in place"
	case OpReload:
		return "reload, no process is touched"
	case OpStop:
		return "stop"
	case OpRemove:
		return "remove"
	case OpCleanup:
		return "clean up"
	case OpSleep:
		if a.Freeze {
			return "put to sleep: freeze"
		}
		return "put to sleep: stop"
	case OpWake:
		return "wake, its process goes on"
	}
	return string(a.Op)
}

// words says a takeover: ", all at once (blue-green)".
func (t *Takeover) words() string {
	switch {
	case t == nil:
		return ""
	case t.Deploy == schema.DeployBlueGreen:
		return ", all at once (blue-green)"
	}
	steps := make([]string, len(t.Steps))
	for i, percent := range t.Steps {
		steps[i] = fmt.Sprintf("%d%%", percent)
	}
	return fmt.Sprintf(", tried with %s of the requests for %s each (canary)", strings.Join(steps, ", "), t.Each)
}

// after says what comes first: "after db healthy, queue started".
func after(deps []schema.Dependency) string {
	if len(deps) == 0 {
		return ""
	}
	parts := make([]string, len(deps))
	for i, d := range deps {
		parts[i] = d.Service + " " + string(d.Condition)
	}
	return "after " + strings.Join(parts, ", ")
}

// waves gives, in order, the names that are applied side by side; removals come
// last. One wave means that there is no order to speak of.
func waves(p Plan) [][]string {
	var out [][]string
	for _, removing := range []bool{false, true} {
		level := map[string]int{}
		base := len(out)
		for _, a := range p.Actions {
			if a.Blocked != nil || a.ID == (runtimes.ID{}) || (a.Op == OpRemove) != removing {
				continue
			}
			name := a.ID.Service
			_, known := level[name]
			for _, d := range a.After {
				if l, ok := level[d.Service]; ok {
					level[name] = max(level[name], l+1)
				}
			}
			if known {
				continue
			}
			at := base + level[name]
			level[name] = at - base
			for len(out) <= at {
				out = append(out, nil)
			}
			if removing {
				name = "remove " + name
			}
			out[at] = append(out[at], name)
		}
	}
	return out
}

// list joins names and leaves out what would fill the screen.
func list(names []string, most int) string {
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}
