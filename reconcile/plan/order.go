package plan

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/tenement/ten/schema"
)

// sort puts the actions in the order in which they are applied: the host first,
// then services with their dependencies before them, otherwise by name, and
// removals last, dependents before what they depend on.
func (r *round) sort() {
	slices.SortStableFunc(r.actions, func(a, b Action) int {
		if c := stage(a) - stage(b); c != 0 {
			return c
		}
		c := r.depthOf(a.ID.Service) - r.depthOf(b.ID.Service)
		if a.Op == OpRemove {
			c = -c
		}
		if c != 0 {
			return c
		}
		return a.ID.Compare(b.ID)
	})
}

func stage(a Action) int {
	switch a.Op {
	case OpReload:
		return 0
	case OpRemove:
		return 2
	}
	return 1
}

// depthOf is how long the longest chain of dependencies below a service is.
func (r *round) depthOf(service string) int { return r.depth[service] }

// measure finds the depth of every service that takes part in a dependency,
// those that are gone included, by what is recorded of them. A cycle, which a
// load refuses, is cut where it is met.
func (r *round) measure() {
	needs := map[string][]schema.Dependency{}
	for _, s := range r.d.Model.Services {
		if len(s.DependsOn) > 0 {
			needs[s.Name] = s.DependsOn
		}
	}
	for i := range r.found {
		spec := &r.found[i].Spec
		written, ok := spec.Fields["depends_on"]
		if ok && r.d.Model.Service(spec.Key.Service) == nil {
			needs[spec.Key.Service] = recordedDependencies(written)
		}
	}
	if len(needs) == 0 {
		return
	}
	r.depth = make(map[string]int, len(needs))
	names := make([]string, 0, len(needs))
	for name := range needs {
		names = append(names, name)
	}
	slices.Sort(names)
	visiting := map[string]bool{}
	var visit func(name string) int
	visit = func(name string) int {
		if d, done := r.depth[name]; done || visiting[name] {
			return d
		}
		visiting[name] = true
		depth := 0
		for _, dep := range needs[name] {
			depth = max(depth, visit(dep.Service)+1)
		}
		r.depth[name] = depth
		return depth
	}
	for _, name := range names {
		visit(name)
	}
}

// recordedDependencies reads depends_on as it was written: a list of names or a
// table of name to condition.
func recordedDependencies(written string) []schema.Dependency {
	var list []string
	if json.Unmarshal([]byte(written), &list) != nil {
		var table map[string]any
		if json.Unmarshal([]byte(written), &table) != nil {
			return nil
		}
		for name := range table {
			list = append(list, name)
		}
		slices.SortFunc(list, strings.Compare)
	}
	out := make([]schema.Dependency, len(list))
	for i, name := range list {
		out[i].Service = name
	}
	return out
}
