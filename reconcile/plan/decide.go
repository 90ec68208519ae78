package plan

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tenement/ten/runtimes"
	"github.com/tenement/ten/schema"
)

// candidate is one incarnation seen against what is desired.
type candidate struct {
	*Instance
	changes []Change
	effect  Effect
}

// fits reports that the incarnation is what is desired, or can become it in place.
func (c candidate) fits() bool { return c.effect.rank() <= EffectLive.rank() }

// runs reports that the program is there to stay. One that is being stopped is not.
func (c candidate) runs() bool { return c.Phase == runtimes.Starting || c.Phase == runtimes.Running }

// decide says what happens to one desired instance, given all incarnations that
// were found of it, oldest first.
func (r *round) decide(s *schema.Service, id runtimes.ID, incs []Instance) {
	hand := r.handed(id)
	if hand.Stopped {
		r.halt(hand, incs)
		return
	}
	r.wanted++
	if len(incs) == 0 {
		if !r.rests(s, id) {
			r.create(s, id)
		}
		return
	}
	cands := make([]candidate, len(incs))
	for i := range incs {
		cands[i].Instance = &incs[i]
		cands[i].effect = EffectNone
		if incs[i].Spec.Digest != s.Digest {
			cands[i].changes, cands[i].effect = diffInstance(&incs[i], s)
		}
	}
	if c := newest(cands, func(c candidate) bool { return c.runs() && c.fits() }); c != nil {
		if c.Spec.Key.Generation <= hand.Restart {
			r.renew(s, hand, cands)
			return
		}
		r.fitting(s, cands, *c)
		return
	}
	c := newest(cands, func(c candidate) bool { return c.runs() && c.GateOpen })
	if c == nil {
		c = newest(cands, candidate.runs)
	}
	if c != nil {
		r.outdated(s, cands, *c)
		return
	}
	if c := newest(cands, func(c candidate) bool { return c.Phase == runtimes.Sleeping }); c != nil {
		r.frozen(s, cands, *c)
		return
	}
	r.ended(s, cands)
}

func newest(cands []candidate, ok func(candidate) bool) *candidate {
	for i := len(cands) - 1; i >= 0; i-- {
		if ok(cands[i]) {
			return &cands[i]
		}
	}
	return nil
}

func (r *round) create(s *schema.Service, id runtimes.ID) {
	a := r.start(s, id, OpCreate)
	switch {
	case r.awake[id]:
		a.Reason = r.called(id)
	case r.resting.kept[id.Instance] && (s.OnDemand || r.asleep[id]):
		a.Drift = true
		a.Reason = r.called(id)
	case r.inForce():
		a.Drift = true
		a.Reason = Reason{Code: "missing", Text: "not there, though it was started in this revision"}
	default:
		a.Reason = Reason{Code: "new", Text: "not running yet"}
	}
	r.actions = append(r.actions, a)
}

// start is an action with the Spec of what to start.
func (r *round) start(s *schema.Service, id runtimes.ID, op Op) Action {
	spec := SpecFor(s, id.Instance, r.d, r.o.Host)
	return Action{ID: id, Op: op, Spec: &spec}
}

// fitting deals with an instance of which c runs as desired.
func (r *round) fitting(s *schema.Service, cands []candidate, c candidate) {
	others := except(cands, c.Spec.Key)
	sick := c.Health == runtimes.Unhealthy && s.Restart != schema.RestartNever
	switch {
	case sick && (c.GateOpen || len(others) == 0 || r.inForce()):
		a := r.start(s, c.Spec.Key.ID, OpRestart)
		a.Drift = true
		a.Reason = Reason{Code: "unhealthy", Text: unhealthyText(c.Instance)}
		a.Changes = c.changes
		a.Old = candidateKeys(cands)
		a.NotBefore = r.backoff(lastTry(cands), c.Restarts)
		r.actions = append(r.actions, clash(s, a, cands))
	case !c.GateOpen && (len(others) > 0 || !r.inForce()):
		r.resume(s, c, others)
	default:
		r.cleanup(others, c.Spec.Key)
		r.update(s, c)
		if why, sleeps := r.resting.sleep[c.Spec.Key.Instance]; sleeps && c.effect == EffectNone {
			r.sleep(s, c, why)
		}
	}
}

// lastTry is when the newest incarnation was started or ended, whichever is the
// last that is known of it.
func lastTry(cands []candidate) time.Time {
	c := cands[len(cands)-1]
	if !c.runs() {
		return endedAt(c.Instance)
	}
	return c.StartedAt
}

// inForce reports that this very revision was applied: what differs is drift.
func (r *round) inForce() bool { return r.o.Applied != "" && r.o.Applied == r.d.Revision }

// resume goes on with a rollout that was interrupted: c was started and has not
// yet proved itself. Where the revision is in force and c stands alone there is
// nothing to resume: supervision waits for its health as for any other's.
func (r *round) resume(s *schema.Service, c candidate, others []candidate) {
	key := c.Spec.Key
	a := r.start(s, key.ID, OpCreate)
	a.Spec = recorded(s, r.d, c.Instance)
	a.New = &key
	a.Old = candidateKeys(others)
	a.Changes = c.changes
	a.Drift = r.inForce()
	a.Reason = Reason{Code: "interrupted", Text: "its start was interrupted: it has to become healthy"}
	if len(others) > 0 {
		a.Op = OpRestart
		a.Reason.Text = "its rollout was interrupted: the new one has to become healthy, then the old one goes"
		a.Takeover = takeover(s, a)
	}
	r.actions = append(r.actions, a)
}

// update records changes that need no new process.
func (r *round) update(s *schema.Service, c candidate) {
	if c.effect != EffectLive {
		return
	}
	r.actions = append(r.actions, Action{
		ID:      c.Spec.Key.ID,
		Op:      OpUpdate,
		Old:     []runtimes.Key{c.Spec.Key},
		Reason:  reasonOf(c.changes),
		Changes: c.changes,
		Spec:    recorded(s, r.d, c.Instance),
	})
}

// recorded is the Spec of a running incarnation with what can change in place.
func recorded(s *schema.Service, d Desired, i *Instance) *runtimes.Spec {
	spec := i.Spec
	spec.Revision = d.Revision
	spec.Digest = s.Digest
	spec.Fields = s.Fields
	spec.Limits = runtimes.Limits{MemoryMB: s.MemoryLimitMB, CPUShares: s.CPUShares}
	spec.StopSignal = s.StopSignal
	spec.StopTimeout = s.StopTimeout
	return &spec
}

// cleanup removes what an incarnation that serves has made needless.
func (r *round) cleanup(old []candidate, by runtimes.Key) {
	if len(old) == 0 {
		return
	}
	text := fmt.Sprintf("superseded by generation %d", by.Generation)
	if old[0].Spec.Key.Generation > by.Generation {
		text = fmt.Sprintf("abandoned: generation %d is what the revision asks for", by.Generation)
	}
	r.actions = append(r.actions, Action{
		ID:     by.ID,
		Op:     OpCleanup,
		Drift:  true,
		Reason: Reason{Code: "superseded", Text: text},
		Old:    candidateKeys(old),
	})
}

// outdated deals with an instance that runs, but not as desired; c serves.
func (r *round) outdated(s *schema.Service, cands []candidate, c candidate) {
	a := r.start(s, c.Spec.Key.ID, OpRestart)
	if c.effect == EffectReplace {
		a.Op = OpReplace
	}
	a.Changes = c.changes
	a.Reason = reasonOf(c.changes)
	a.Old = candidateKeys(cands)
	// A newer incarnation that is as desired has ended already.
	if e := newest(cands, candidate.fits); e != nil && e.Spec.Key.Generation > c.Spec.Key.Generation {
		if !restarts(s, e.Instance) {
			if e.Phase == runtimes.Stopped {
				r.cleanup(except(cands, e.Spec.Key), e.Spec.Key)
			}
			return
		}
		a.NotBefore = r.backoff(endedAt(e.Instance), e.Restarts)
		a.Reason.Text += "; the last attempt " + exitText(e.Instance)
	}
	a = clash(s, a, cands)
	a.Takeover = takeover(s, a)
	r.actions = append(r.actions, a)
}

// takeover says how the new incarnation of a change takes over. What only keeps
// up an instance has no time for it, and what stops the old one first no way.
func takeover(s *schema.Service, a Action) *Takeover {
	if a.Op != OpRestart || a.Drift {
		return nil
	}
	switch s.Deploy {
	case schema.DeployBlueGreen:
		return &Takeover{Deploy: s.Deploy}
	case schema.DeployCanary:
		return &Takeover{Deploy: s.Deploy, Steps: s.CanarySteps, Each: s.CanaryStep}
	}
	return nil
}

// ended deals with an instance of which nothing runs. The restart policy holds
// for one that somebody asked for too: to be started once more, what ended for
// good has to be removed first.
func (r *round) ended(s *schema.Service, cands []candidate) {
	c := cands[len(cands)-1]
	id := c.Spec.Key.ID
	switch {
	case r.rests(s, id):
		r.cleanup(except(cands, c.Spec.Key), c.Spec.Key)
		return
	case !c.fits():
		a := r.start(s, id, OpStart)
		a.Changes = c.changes
		a.Reason = reasonOf(c.changes)
		a.Reason.Text += "; the one before " + exitText(c.Instance)
		a.Old = candidateKeys(cands)
		r.actions = append(r.actions, a)
		return
	case !restarts(s, c.Instance):
		r.cleanup(except(cands, c.Spec.Key), c.Spec.Key)
		return
	}
	a := r.start(s, id, OpStart)
	a.Changes = c.changes
	a.Old = candidateKeys(cands)
	a.Drift = true
	a.Reason = exitReason(c.Instance)
	a.NotBefore = r.backoff(endedAt(c.Instance), c.Restarts)
	r.actions = append(r.actions, a)
}

// keep supervises a registered instance whose service no revision declares: it
// goes on as it was started.
func (r *round) keep(incs []Instance) {
	r.wanted++
	c := &incs[len(incs)-1]
	if c.Phase.Alive() || c.Phase == runtimes.Sleeping {
		return
	}
	policy := schema.Restart(strings.Trim(c.Spec.Fields["restart"], `"`))
	if !restarts(&schema.Service{Restart: policy}, c) {
		return
	}
	a := again(c, keys(incs))
	a.NotBefore = r.backoff(endedAt(c), c.Restarts)
	r.actions = append(r.actions, a)
}

// again starts an ended incarnation as it was started before.
func again(i *Instance, old []runtimes.Key) Action {
	spec := unbind(i.Spec)
	return Action{ID: i.Spec.Key.ID, Op: OpStart, Drift: true, Reason: exitReason(i), Spec: &spec, Old: old}
}

func exitReason(i *Instance) Reason {
	return Reason{Code: "exited", Text: fmt.Sprintf("%s, restart %d", exitText(i), i.Restarts+1)}
}

// restarts says by the restart policy whether an ended incarnation starts again.
// One that is being stopped while it is desired, or whose end nobody saw (a
// reboot), always does.
func restarts(s *schema.Service, i *Instance) bool {
	switch {
	case i.Phase == runtimes.Stopping:
		return true
	case i.Exit != nil && !i.Exit.Known:
		return true
	case s.Restart == schema.RestartNever:
		return false
	case s.Restart == schema.RestartAlways:
		return true
	}
	return i.Phase == runtimes.Failed
}

// endedAt is when an incarnation ended, as near as it is known. A zero time, for
// an end that nobody saw, means that nothing is to be waited for.
func endedAt(i *Instance) time.Time {
	switch {
	case i.Exit == nil:
		return i.StartedAt
	case !i.Exit.Known:
		return time.Time{}
	case i.Exit.At.IsZero():
		return i.StartedAt
	}
	return i.Exit.At
}

func exitText(i *Instance) string {
	switch {
	case i.Phase == runtimes.Stopping:
		return "was being stopped"
	case i.Exit == nil:
		return "could not be started"
	}
	return i.Exit.String()
}

func unhealthyText(i *Instance) string {
	if i.HealthText == "" {
		return "unhealthy"
	}
	return "unhealthy: " + i.HealthText
}

// clash turns a restart into a replacement when the new incarnation needs a
// port or socket that a running one holds, and says so. It is also the place
// that warns when the data goes with the old one.
func clash(s *schema.Service, a Action, cands []candidate) Action {
	for _, c := range cands {
		what := ""
		switch {
		case !c.Phase.Alive():
		case a.Spec.Port != 0 && a.Spec.Port == c.Spec.Port:
			what = fmt.Sprintf("port %d", a.Spec.Port)
		case a.Spec.Socket != "" && a.Spec.Socket == c.Spec.Socket:
			what = "socket " + a.Spec.Socket
		}
		if what != "" {
			a.Op = OpReplace
			a.Reason.Text += fmt.Sprintf("; %s can't be held by two at once, so the old one stops first", what)
			break
		}
	}
	if a.Op == OpReplace && !s.StoragePersist {
		a.Reason.Text += "; its data goes with it (storage_persist = false)"
	}
	return a
}

func except(cands []candidate, key runtimes.Key) []candidate {
	return slices.DeleteFunc(slices.Clone(cands), func(c candidate) bool { return c.Spec.Key == key })
}

func candidateKeys(cands []candidate) []runtimes.Key {
	if len(cands) == 0 {
		return nil
	}
	out := make([]runtimes.Key, len(cands))
	for i, c := range cands {
		out[i] = c.Spec.Key
	}
	return out
}
