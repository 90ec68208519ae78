package plan

import (
	"fmt"
	"slices"

	"github.com/tenement/ten/runtimes"
	"github.com/tenement/ten/schema"
)

// dependencies tells every action that starts something what comes before it:
// dependencies that have an action of their own or are not what depends_on asks
// for. One that can't get there blocks its dependents, and they theirs.
func (r *round) dependencies() {
	r.measure()
	if len(r.depth) == 0 {
		return
	}
	byService := map[string][]int{}
	for i, a := range r.actions {
		byService[a.ID.Service] = append(byService[a.ID.Service], i)
	}
	services := slices.Clone(r.d.Model.Services)
	slices.SortStableFunc(services, func(a, b *schema.Service) int { return r.depthOf(a.Name) - r.depthOf(b.Name) })
	for _, s := range services {
		if len(s.DependsOn) == 0 {
			continue
		}
		after, blocked := r.waitsFor(s, byService)
		for _, i := range byService[s.Name] {
			if a := &r.actions[i]; a.starts() {
				a.After = after
				if a.Blocked == nil {
					a.Blocked = blocked
				}
			}
		}
	}
}

func (r *round) waitsFor(s *schema.Service, byService map[string][]int) ([]schema.Dependency, *Block) {
	var after []schema.Dependency
	for _, dep := range s.DependsOn {
		target := r.d.Model.Service(dep.Service)
		if target == nil {
			continue
		}
		var starting, blocked *Action
		for _, i := range byService[dep.Service] {
			a := &r.actions[i]
			switch {
			case !a.starts() && a.New == nil:
			case a.Blocked != nil:
				blocked = a
			default:
				starting = a
			}
		}
		reached, hopeless := r.reached(target, dep.Condition)
		switch {
		case starting != nil:
			after = append(after, dep)
		case reached:
		case blocked != nil:
			return after, &Block{
				Code: "dependency",
				Text: fmt.Sprintf("%s has to be %s first, and is blocked: %s", dep.Service, dep.Condition, blocked.Blocked.Text),
				Hint: "ten why " + dep.Service,
			}
		case hopeless:
			return after, &Block{
				Code: "dependency",
				Text: fmt.Sprintf("%s has to be %s first, and has ended; its restart policy is %q", dep.Service, dep.Condition, target.Restart),
				Hint: "ten logs " + dep.Service,
			}
		default:
			after = append(after, dep)
		}
	}
	return after, nil
}

// reached reports that all desired instances of a service fulfil a condition as
// they are, and whether one can't without an action. An instance that is meant
// to sleep fulfils every condition: a request wakes it.
func (r *round) reached(s *schema.Service, want schema.Condition) (reached, hopeless bool) {
	first, _ := slices.BinarySearchFunc(r.found, runtimes.Key{ID: runtimes.ID{Service: s.Name}},
		func(i Instance, k runtimes.Key) int { return compareKeys(i.Spec.Key, k) })
	last := first
	for last < len(r.found) && r.found[last].Spec.Key.Service == s.Name {
		last++
	}
	found := r.found[first:last]
	reached = true
	for _, id := range r.ids(s, found) {
		ok, dead := instanceReached(found, id, want)
		if !ok && (!s.OnDemand || r.awake[runtimes.ID{Service: s.Name, Instance: id}]) {
			reached = false
			hopeless = hopeless || dead
		}
	}
	return reached, hopeless
}

func instanceReached(found []Instance, id string, want schema.Condition) (reached, dead bool) {
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
