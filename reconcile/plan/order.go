package plan

import (
	"encoding/json"
	"slices"

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
		c := r.depth[a.ID.Service] - r.depth[b.ID.Service]
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

// relate collects which services come before which: by depends_on, and for
// services that are gone by what their incarnations recorded of it.
func (r *round) relate() {
	r.needs = map[string][]schema.Dependency{}
	for _, s := range r.d.Model.Services {
		if len(s.DependsOn) > 0 {
			r.needs[s.Name] = s.DependsOn
		}
	}
	for i := range r.found {
		spec := &r.found[i].Spec
		written, ok := spec.Fields["depends_on"]
		if ok && r.d.Model.Service(spec.Key.Service) == nil {
			r.needs[spec.Key.Service] = recordedDependencies(written)
		}
	}
}

// measure finds the depth of every service that takes part in a dependency. A
// cycle, which a load refuses, is cut where it is met.
func (r *round) measure() {
	if len(r.needs) == 0 {
		return
	}
	r.depth = make(map[string]int, len(r.needs))
	names := make([]string, 0, len(r.needs))
	for name := range r.needs {
		names = append(names, name)
	}
	slices.Sort(names)
	entered := map[string]bool{}
	var visit func(name string) int
	visit = func(name string) int {
		if entered[name] {
			return r.depth[name]
		}
		entered[name] = true
		depth := 0
		for _, dep := range r.needs[name] {
			depth = max(depth, visit(dep.Service)+1)
		}
		r.depth[name] = depth
		return depth
	}
	for _, name := range names {
		visit(name)
	}
}

// recordedDependencies reads the canonical form of depends_on.
func recordedDependencies(written string) []schema.Dependency {
	var deps []schema.Dependency
	if err := json.Unmarshal([]byte(written), &deps); err != nil {
		return nil // not written by this version: the order of removal is by name
	}
	return deps
}
