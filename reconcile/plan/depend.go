package plan

import (
	"fmt"
	"maps"
	"slices"

	"github.com/tenement/ten/runtimes"
	"github.com/tenement/ten/schema"
)

// dependencies tells the actions of every service what comes before them:
// dependencies that have a start of their own or are not yet what depends_on
// asks for. One that can't get there blocks its dependents, and they theirs.
func (r *round) dependencies() {
	r.measure()
	if len(r.depth) == 0 {
		return
	}
	r.removals()
	byService := map[string][]int{}
	for i, a := range r.actions {
		if a.Op != OpRemove {
			byService[a.ID.Service] = append(byService[a.ID.Service], i)
		}
	}
	services := slices.Clone(r.d.Model.Services)
	slices.SortStableFunc(services, func(a, b *schema.Service) int { return r.depth[a.Name] - r.depth[b.Name] })
	for _, s := range services {
		if len(r.needs[s.Name]) == 0 || !slices.ContainsFunc(byService[s.Name], func(i int) bool { return r.actions[i].starts() }) {
			continue
		}
		var after []schema.Dependency
		var blocked *Block
		for _, dep := range r.needs[s.Name] {
			wait, block := r.waitsFor(dep, byService[dep.Service])
			if wait {
				after = append(after, dep)
			}
			if blocked == nil {
				blocked = block
			}
		}
		for _, i := range byService[s.Name] {
			a := &r.actions[i]
			a.After = after
			if a.Blocked == nil && a.starts() {
				a.Blocked = blocked
			}
			if from, takes := r.takes[i]; takes && a.Blocked == nil && r.actions[from].Blocked != nil {
				a.Blocked = held(a.Spec.Port, r.actions[from].ID) // which does not move after all
			}
		}
	}
}

// waitsFor says whether a dependency has yet to get where it should be, and
// what keeps it from ever getting there.
func (r *round) waitsFor(dep schema.Dependency, actions []int) (wait bool, block *Block) {
	s := r.d.Model.Service(dep.Service)
	if s == nil {
		return false, nil
	}
	starting := map[string]*Action{}
	leaving := map[runtimes.Key]bool{}
	for _, i := range actions {
		a := &r.actions[i]
		if before := starting[a.ID.Instance]; (a.starts() || a.New != nil) && (before == nil || before.Blocked != nil) {
			starting[a.ID.Instance] = a
		}
		if a.Op == OpCleanup && a.Blocked == nil {
			for _, key := range a.Old {
				leaving[key] = true
			}
		}
	}
	found := r.foundOf(s.Name)
	stays := slices.DeleteFunc(slices.Clone(found), func(i Instance) bool { return leaving[i.Spec.Key] })
	for _, id := range r.ids(s, found) {
		reached, dead := reached(stays, id, dep.Condition)
		a := starting[id]
		switch {
		case a != nil && a.Blocked == nil:
			wait = true
		case reached:
		case a != nil:
			why := ": " + a.Blocked.Text
			if a.Blocked.Code == BlockDependency {
				why = " by what it depends on"
			}
			return wait, &Block{
				Code: BlockDependency,
				Text: fmt.Sprintf("%s has to be %s first, and is blocked%s", dep.Service, dep.Condition, why),
				Hint: "ten why " + dep.Service,
			}
		case dead && !r.awake[runtimes.ID{Service: s.Name, Instance: id}] && (s.OnDemand || r.sleeps(s, runtimes.ID{Service: s.Name, Instance: id})): // asleep is fine: a request wakes it
		case dead:
			return wait, &Block{
				Code: BlockDependency,
				Text: fmt.Sprintf("%s has to be %s first, and has ended; its restart policy is %q", dep.Service, dep.Condition, s.Restart),
				Hint: "ten logs " + dep.Service,
			}
		default:
			wait = true
		}
	}
	return wait, nil
}

// removals orders what goes: a dependent before what it depends on. One that
// has to stay keeps what it needs.
func (r *round) removals() {
	removed := map[string][]int{}
	for i, a := range r.actions {
		if a.Op == OpRemove {
			removed[a.ID.Service] = append(removed[a.ID.Service], i)
		}
	}
	if len(removed) < 2 {
		return
	}
	dependents := slices.Sorted(maps.Keys(removed))
	slices.SortStableFunc(dependents, func(a, b string) int { return r.depth[b] - r.depth[a] })
	for _, name := range dependents {
		for _, dep := range r.needs[name] {
			for _, i := range removed[dep.Service] {
				a := &r.actions[i]
				a.After = append(a.After, schema.Dependency{Service: name, Condition: ConditionRemoved})
				if stays := r.actions[removed[name][0]].Blocked; stays != nil && a.Blocked == nil {
					a.Blocked = &Block{
						Code: BlockDependency,
						Text: fmt.Sprintf("%s, which needs it, has to be removed first, and is blocked: %s", name, stays.Text),
						Hint: "ten why " + name,
					}
				}
			}
		}
	}
}

// foundOf gives all incarnations of a service.
func (r *round) foundOf(service string) []Instance {
	first, _ := slices.BinarySearchFunc(r.found, runtimes.Key{ID: runtimes.ID{Service: service}},
		func(i Instance, k runtimes.Key) int { return compareKeys(i.Spec.Key, k) })
	last := first
	for last < len(r.found) && r.found[last].Spec.Key.Service == service {
		last++
	}
	return r.found[first:last]
}

// reached reports that an instance fulfils a condition as it is, and whether
// nothing of it lives. One that was put to sleep fulfils every condition.
func reached(found []Instance, id string, want schema.Condition) (reached, dead bool) {
	dead = true
	for i := range found {
		inc := &found[i]
		if inc.Spec.Key.Instance != id {
			continue
		}
		runs := inc.Phase == runtimes.Running || inc.Phase == runtimes.Starting
		done := inc.Phase == runtimes.Stopped && inc.Exit != nil && inc.Exit.Known
		dead = dead && !runs
		switch {
		case inc.Phase == runtimes.Sleeping:
			return true, false
		case want == schema.ConditionStarted && (runs || done):
			return true, false
		case want == schema.ConditionHealthy && runs && inc.GateOpen && inc.Health != runtimes.Unhealthy:
			return true, false
		}
	}
	return false, dead
}
