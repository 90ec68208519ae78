package plan

import (
	"slices"
	"strings"

	"github.com/tenement/ten/runtimes"
	"github.com/tenement/ten/schema"
)

// New compares a revision with what was observed. It is pure: equal input gives
// an equal Plan, and neither input is changed. A Desired without a Model gives
// an empty plan, for what is not known must not read as "delete everything".
//
// What is in the way of an action does not remove it: the action stays in the
// plan with Blocked set, so that people see what is wanted and why it waits.
func New(desired Desired, observed Observed) Plan {
	p := Plan{
		FormatVersion: FormatVersion,
		Host:          observed.Host.Name,
		Revision:      desired.Revision,
		Subject:       desired.Subject,
		Signer:        desired.Signer,
		Dirty:         desired.Dirty,
		Ahead:         desired.Ahead,
		Base:          observed.Applied,
		Actions:       []Action{},
	}
	if desired.Model == nil {
		return p
	}
	r := newRound(desired, observed)
	r.reload()
	r.walk()
	p.Guard = r.guard()
	r.block(p.Guard)
	r.relate()
	r.ports()
	r.dependencies()
	r.sort()
	p.Actions = append(p.Actions, r.actions...)
	p.Summary = r.summary()
	p.ByHand = r.byHand()
	for _, a := range p.Actions {
		if a.Blocked == nil && a.NotBefore.After(observed.Now) && (p.Next.IsZero() || a.NotBefore.Before(p.Next)) {
			p.Next = a.NotBefore
		}
	}
	return p
}

// round is the working memory of one New.
type round struct {
	d       Desired
	o       Observed
	found   []Instance // observed, sorted by key
	awake   map[runtimes.ID]bool
	asleep  map[runtimes.ID]bool
	resting resting // of the service that is being decided about
	actions []Action
	// declared counts the instances found that a revision is answerable for,
	// removed those of them that this one drops, wanted all desired ones.
	declared int
	removed  []runtimes.ID
	wanted   int
	// needs are the services that come before a service, depth how long the
	// longest chain of them is.
	needs map[string][]schema.Dependency
	depth map[string]int
	// takes says which action takes a port over from which other one.
	takes map[int]int
}

func newRound(d Desired, o Observed) *round {
	r := &round{d: d, o: o, found: o.Instances}
	byKey := func(a, b Instance) int { return compareKeys(a.Spec.Key, b.Spec.Key) }
	if !slices.IsSortedFunc(r.found, byKey) {
		r.found = slices.Clone(r.found)
		slices.SortStableFunc(r.found, byKey)
	}
	if len(o.Awake) > 0 {
		r.o.Awake = slices.Clone(o.Awake)
		slices.SortFunc(r.o.Awake, runtimes.ID.Compare)
		r.awake = make(map[runtimes.ID]bool, len(o.Awake))
		for _, id := range o.Awake {
			r.awake[id] = true
		}
	}
	if len(o.Asleep) > 0 {
		r.asleep = make(map[runtimes.ID]bool, len(o.Asleep))
		for _, id := range o.Asleep {
			r.asleep[id] = true
		}
	}
	return r
}

func compareKeys(a, b runtimes.Key) int {
	if c := a.ID.Compare(b.ID); c != 0 {
		return c
	}
	switch {
	case a.Generation < b.Generation:
		return -1
	case a.Generation > b.Generation:
		return 1
	}
	return 0
}

// reload compares settings and routes with those in force.
func (r *round) reload() {
	changes, effect := diff(r.o.AppliedFields, r.d.Model.Fields)
	if effect == EffectNone {
		return
	}
	r.actions = append(r.actions, Action{Op: OpReload, Reason: reasonOf(changes), Changes: changes})
}

// walk goes through the services of the model and what was found of them, side
// by side: both are sorted by name.
func (r *round) walk() {
	found := r.found
	for _, s := range r.d.Model.Services {
		for len(found) > 0 && found[0].Spec.Key.Service < s.Name {
			found = r.gone(found)
		}
		n := 0
		for n < len(found) && found[n].Spec.Key.Service == s.Name {
			n++
		}
		r.service(s, found[:n])
		found = found[n:]
	}
	for len(found) > 0 {
		found = r.gone(found)
	}
}

// gone deals with the first ID of found, whose service is in the model no more,
// and gives what is left.
func (r *round) gone(found []Instance) []Instance {
	incs, rest := cutID(found)
	if registered(incs) {
		r.keep(incs)
	} else {
		r.remove(incs, "its service is not in the configuration any more")
	}
	return rest
}

// service decides about every instance of one service, in the order of ids.
func (r *round) service(s *schema.Service, found []Instance) {
	ids := r.ids(s, found)
	r.rest(s, ids, found)
	for len(ids) > 0 || len(found) > 0 {
		switch {
		case len(found) == 0 || len(ids) > 0 && ids[0] < found[0].Spec.Key.Instance:
			r.decide(s, runtimes.ID{Service: s.Name, Instance: ids[0]}, nil)
			ids = ids[1:]
		case len(ids) == 0 || found[0].Spec.Key.Instance < ids[0]:
			var incs []Instance
			incs, found = cutID(found)
			why := "not in the configuration any more"
			if s.OnDemand {
				why = "not in the configuration, and nobody asked for it"
			}
			r.remove(incs, why)
		default:
			var incs []Instance
			incs, found = cutID(found)
			if !registered(incs) && !r.handed(incs[0].Spec.Key.ID).Spawned {
				r.declared++
			}
			r.decide(s, incs[0].Spec.Key.ID, incs)
			ids = ids[1:]
		}
	}
}

// ids gives the desired instances of a service, sorted: the declared ones, those
// that a person spawned, and undeclared ones that somebody asked for, where the
// service allows that. Those that run go first when its bound cuts off some.
func (r *round) ids(s *schema.Service, found []Instance) []string {
	var extra []string
	add := func(id string) {
		if _, declared := slices.BinarySearch(s.Instances, id); !declared && !slices.Contains(extra, id) {
			extra = append(extra, id)
		}
	}
	for i := range found {
		if found[i].Registered {
			add(found[i].Spec.Key.Instance)
		}
	}
	for _, id := range r.spawned(s.Name) {
		add(id)
	}
	room := func() bool { return s.MaxInstances == 0 || len(s.Instances)+len(extra) < s.MaxInstances }
	if s.OnDemand || len(s.Instances) == 0 {
		for i := range found {
			if id := found[i].Spec.Key.ID; (r.awake[id] || r.asleep[id]) && room() {
				add(found[i].Spec.Key.Instance)
			}
		}
		for _, id := range r.askedFor(s.Name) {
			if room() {
				add(id.Instance)
			}
		}
	}
	if len(extra) == 0 {
		return s.Instances
	}
	extra = append(extra, s.Instances...)
	slices.Sort(extra)
	return extra
}

// askedFor gives the instances of a service that are in Awake.
func (r *round) askedFor(service string) []runtimes.ID {
	first, _ := slices.BinarySearchFunc(r.o.Awake, service, func(id runtimes.ID, name string) int { return strings.Compare(id.Service, name) })
	last := first
	for last < len(r.o.Awake) && r.o.Awake[last].Service == service {
		last++
	}
	return r.o.Awake[first:last]
}

// cutID splits off the incarnations of the first ID.
func cutID(found []Instance) (incs, rest []Instance) {
	n := 1
	for n < len(found) && found[n].Spec.Key.ID == found[0].Spec.Key.ID {
		n++
	}
	return found[:n], found[n:]
}

func registered(incs []Instance) bool {
	return slices.ContainsFunc(incs, func(i Instance) bool { return i.Registered })
}

// remove takes an instance away that nobody desires. Its data stays, unless its
// service said that it keeps none.
func (r *round) remove(incs []Instance, why string) {
	id := incs[0].Spec.Key.ID
	if incs[len(incs)-1].Spec.Fields["storage_persist"] == "false" {
		why += "; its data goes too (storage_persist = false)"
	} else {
		why += "; its data is kept"
	}
	r.declared++
	r.removed = append(r.removed, id)
	r.actions = append(r.actions, Action{
		ID:     id,
		Op:     OpRemove,
		Reason: Reason{Code: "removed", Text: "removed: " + why},
		Old:    keys(incs),
	})
}

func keys(incs []Instance) []runtimes.Key {
	out := make([]runtimes.Key, len(incs))
	for i := range incs {
		out[i] = incs[i].Spec.Key
	}
	return out
}

// summary counts what is done, what is blocked and what is left alone.
func (r *round) summary() Summary {
	var s Summary
	touched := map[runtimes.ID]bool{}
	for _, a := range r.actions {
		if a.Op != OpReload && a.Op != OpRemove && a.Op != OpCleanup {
			touched[a.ID] = true
		}
		if a.Blocked != nil {
			s.Blocked++
			continue
		}
		switch a.Op {
		case OpCreate:
			s.Create++
		case OpStart:
			s.Start++
		case OpCleanup:
			s.Cleanup++
		case OpSleep:
			s.Sleep++
		case OpWake:
			s.Wake++
		case OpUpdate:
			s.Update++
		case OpReload:
			s.Reload++
		case OpRestart:
			s.Restart++
		case OpReplace:
			s.Replace++
		case OpStop:
			s.Stop++
		case OpRemove:
			s.Remove++
		}
	}
	s.Unchanged = r.wanted - len(touched)
	return s
}
