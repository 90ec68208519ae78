package plan

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/tenement/ten/runtimes"
	"github.com/tenement/ten/schema"
)

// resting is who of one service goes to sleep, and who is kept awake unasked.
type resting struct {
	sleep map[string]Reason
	kept  map[string]bool
}

// rests reports that an instance of which nothing runs is to be left so: it
// sleeps, and nobody asked for it.
func (r *round) rests(s *schema.Service, id runtimes.ID) bool {
	if r.awake[id] || r.resting.kept[id.Instance] {
		return false
	}
	return s.OnDemand || r.sleeps(s, id)
}

// sleeps reports that an instance was put to sleep, where its service still
// wants that.
func (r *round) sleeps(s *schema.Service, id runtimes.ID) bool {
	return (s.IdleTimeout > 0 || s.OnDemand) && r.asleep[id]
}

// rest decides who of a service sleeps. Those that are idle for longest go
// first, down to min_running; where fewer are awake, the first ids are kept so.
func (r *round) rest(s *schema.Service, ids []string, found []Instance) {
	r.resting = resting{sleep: map[string]Reason{}, kept: map[string]bool{}}
	if s.IdleTimeout == 0 && s.MinRunning == 0 {
		return
	}
	up := map[string]bool{}
	var idle []*Instance
	for len(found) > 0 {
		var incs []Instance
		incs, found = cutID(found)
		if slices.ContainsFunc(incs, func(i Instance) bool { return i.Phase == runtimes.Running || i.Phase == runtimes.Starting }) {
			up[incs[0].Spec.Key.Instance] = true
			if len(incs) == 1 && r.idle(s, &incs[0]) {
				idle = append(idle, &incs[0])
			}
		}
	}
	awake := len(up)
	slices.SortStableFunc(idle, func(a, b *Instance) int { return a.IdleSince.Compare(b.IdleSince) })
	for _, i := range idle {
		if awake <= s.MinRunning {
			break
		}
		r.resting.sleep[i.Spec.Key.Instance] = r.tired(s, i)
		awake--
	}
	for _, id := range ids {
		if !up[id] && !r.rests(s, runtimes.ID{Service: s.Name, Instance: id}) {
			up[id] = true // it is about to start: whether it will run nobody knows, so nothing sleeps for it
			awake++
		}
	}
	for _, id := range s.Instances {
		if awake < s.MinRunning && !up[id] {
			r.resting.kept[id] = true
			awake++
		}
	}
}

// idle reports that an incarnation may be put to sleep now.
func (r *round) idle(s *schema.Service, i *Instance) bool {
	if s.IdleTimeout == 0 || i.Busy || i.Phase != runtimes.Running || !i.GateOpen || i.IdleSince.IsZero() {
		return false
	}
	if _, held := r.o.Paused["*"]; held {
		return false
	}
	if _, held := r.o.Paused[s.Name]; held {
		return false
	}
	return r.sleeps(s, i.Spec.Key.ID) || r.o.Now.Sub(i.IdleSince) >= s.IdleTimeout
}

func (r *round) tired(s *schema.Service, i *Instance) Reason {
	how := "it stops"
	if s.Sleep == schema.SleepFreeze {
		how = "it is frozen"
	}
	text := fmt.Sprintf("no request for %s: %s until somebody asks for it", r.o.Now.Sub(i.IdleSince).Round(time.Second), how)
	if r.sleeps(s, i.Spec.Key.ID) {
		text = "its going to sleep was interrupted"
	}
	return Reason{Code: "idle", Text: text}
}

// sleep puts the one incarnation of an idle instance to sleep.
func (r *round) sleep(s *schema.Service, c candidate, why Reason) {
	r.actions = append(r.actions, Action{
		ID: c.Spec.Key.ID, Op: OpSleep, Drift: true, Reason: why,
		Freeze: s.Sleep == schema.SleepFreeze, Old: []runtimes.Key{c.Spec.Key},
	})
}

// frozen deals with an instance that sleeps as c, with its process kept.
func (r *round) frozen(s *schema.Service, cands []candidate, c candidate) {
	id := c.Spec.Key.ID
	switch {
	case !c.fits() && r.rests(s, id):
		why := reasonOf(c.changes)
		why.Text += "; it sleeps, and starts anew when somebody asks for it"
		r.actions = append(r.actions, Action{ID: id, Op: OpSleep, Reason: why, Changes: c.changes, Old: candidateKeys(cands)})
	case !c.fits():
		a := r.start(s, id, OpStart)
		a.Changes, a.Old = c.changes, candidateKeys(cands)
		a.Reason = r.called(id)
		a.Reason.Text += "; " + reasonOf(c.changes).Text
		r.actions = append(r.actions, a)
	case r.rests(s, id):
		r.cleanup(except(cands, c.Spec.Key), c.Spec.Key)
		r.update(s, c)
	default:
		r.actions = append(r.actions, Action{
			ID: id, Op: OpWake, Drift: !r.awake[id], Reason: r.called(id), Old: []runtimes.Key{c.Spec.Key},
		})
	}
}

// called says why an instance that sleeps is to run.
func (r *round) called(id runtimes.ID) Reason {
	switch {
	case r.awake[id]:
		return Reason{Code: Woken, Text: "somebody asked for it"}
	case r.resting.kept[id.Instance]:
		return Reason{Code: "kept", Text: "too few are awake for min_running"}
	}
	return Reason{Code: "kept", Text: "it is to run all the time now"}
}

// unfreezable blocks what would need an instance to be frozen where that can't be done.
func (r *round) unfreezable(a *Action) *Block {
	s := r.d.Model.Service(a.ID.Service)
	if s == nil || r.o.Host.Levels == nil {
		return nil
	}
	wants := a.Op == OpSleep && a.Freeze || a.starts() && s.IdleTimeout > 0 && s.Sleep == schema.SleepFreeze
	level := runtimes.Level(s.Isolation)
	why := r.o.Host.Levels[level].Unfreezable
	if !wants || why == "" {
		return nil
	}
	return &Block{
		Code: BlockFreeze,
		Text: fmt.Sprintf("isolation level %q can't freeze an instance here: %s", level, why),
		Hint: cmp.Or(r.o.Host.Levels[level].Hint, `set sleep = "stop"`),
	}
}
