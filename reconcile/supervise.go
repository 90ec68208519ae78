package reconcile

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/tenement/ten/host/probe"
	"github.com/tenement/ten/reconcile/plan"
	"github.com/tenement/ten/runtimes"
	"github.com/tenement/ten/schema"
)

const (
	probesAtOnce = 32
	monitorTick  = 100 * time.Millisecond
	firstLook    = 2 * time.Second
	lookTogether = 30 * time.Millisecond
)

// supervise repairs single instances of the revision in force. What is to be
// done is decided by the same plan.New, narrowed to the instances' services; an
// instance that waits for its backoff is looked at again when that is over, and
// delays no other.
//
// It begins once the source was looked at: what a killed rollout left half done
// is then carried on and not first undone. A source that is slow to answer
// delays it no longer than firstLook.
func (l *Loop) supervise(ctx context.Context) error {
	select {
	case <-l.looked:
	case <-time.After(firstLook):
	case <-ctx.Done():
	}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-l.kick:
		}
		began := time.Now()
		if err := l.repair(ctx); err != nil {
			return err
		}
		// Where there is much to look at, what comes meanwhile is looked at together.
		l.pause(ctx, min(time.Since(began), lookTogether))
	}
}

// mend is one instance under repair: claimed, with the context that a rollout
// ends when it wants the instance.
type mend struct {
	ctx  context.Context
	done func()
}

// dirtyNow claims all that is to be looked at and not worked on by another, and
// gives the revision in force at that moment. What is held after a failed
// rollout is left alone, and what could not be started until its backoff is over.
func (l *Loop) dirtyNow(ctx context.Context) (*desired, map[runtimes.ID]mend) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.force == nil || l.offered {
		return nil, nil
	}
	mends := map[runtimes.ID]mend{}
	for id := range l.dirty {
		if _, held := l.failed[id.Service]; held {
			delete(l.dirty, id)
			continue
		}
		if time.Now().Before(l.resting[id]) {
			continue // fix has it looked at again
		}
		if _, taken := l.claimed[id]; taken {
			continue // its owner pokes when it is done
		}
		delete(l.resting, id)
		ctx, cancel := context.WithCancelCause(ctx)
		l.claim(id, cancel)
		delete(l.dirty, id)
		delete(l.after, id)
		mends[id] = mend{ctx, func() { cancel(nil); l.release(id) }}
	}
	return l.force, mends
}

// repair plans the services of what is dirty, and begins what is due.
func (l *Loop) repair(ctx context.Context) error {
	d, mends := l.dirtyNow(ctx)
	if len(mends) == 0 {
		return nil
	}
	actions, err := l.repairs(ctx, d, mends)
	if err != nil && ctx.Err() == nil {
		l.log.Warn("instances can't be observed", "err", err)
		for id := range mends {
			l.later(id, time.Second)
		}
	}
	actions = slices.DeleteFunc(actions, func(a plan.Action) bool {
		wait := time.Until(a.NotBefore)
		if a.Blocked != nil {
			l.log.Debug("repair blocked", "instance", a.ID.String(), "reason", a.Blocked.Text)
			l.unserved(a.ID, errors.New(a.Blocked.Text))
			wait = blockedFor
		}
		if wait > 0 {
			l.later(a.ID, wait)
		}
		return wait > 0
	})
	for _, a := range l.inTurn(d, actions) {
		if a.Op == plan.OpSleep && !l.lull(a.ID) {
			continue
		}
		m := mends[a.ID]
		delete(mends, a.ID)
		l.spawn(func() { l.fix(m, d, a) })
	}
	for _, m := range mends {
		m.done()
	}
	return ctx.Err()
}

// inTurn gives the repairs that may begin now. A start waits for services that
// it depends on while those are coming up themselves, after a reboot say; when
// they are done it is looked at again, whether it went well or not. It does not
// wait for one that is down for longer: what runs without it is better than nothing.
func (l *Loop) inTurn(d *desired, actions []plan.Action) []plan.Action {
	l.mu.Lock()
	defer l.mu.Unlock()
	coming := map[string]bool{}
	for id := range l.after {
		coming[id.Service] = true
	}
	for _, a := range actions {
		coming[a.ID.Service] = coming[a.ID.Service] || a.Spec != nil
	}
	return slices.DeleteFunc(actions, func(a plan.Action) bool {
		s := d.Model.Service(a.ID.Service)
		if s == nil || a.Spec == nil {
			return false
		}
		for _, dep := range s.DependsOn {
			needed := d.Model.Service(dep.Service)
			if needed == nil || l.reached(needed, dep.Condition) || !coming[dep.Service] && !l.underRepair(needed) {
				continue
			}
			l.after[a.ID] = dep.Service
			return true
		}
		return false
	})
}

// underRepair reports that an instance of a service is being started. Called with mu held.
func (l *Loop) underRepair(s *schema.Service) bool {
	return slices.ContainsFunc(s.Instances, func(id string) bool {
		_, claimed := l.claimed[runtimes.ID{Service: s.Name, Instance: id}]
		return claimed
	})
}

// came has those looked at that wait for a service. Called with mu held.
func (l *Loop) came(service string) {
	for id, dep := range l.after {
		if dep == service {
			l.dirty[id] = true
			l.poke()
		}
	}
}

// repairs asks plan.New what the claimed instances need: at most one action each.
func (l *Loop) repairs(ctx context.Context, d *desired, mends map[runtimes.ID]mend) ([]plan.Action, error) {
	services := map[string]bool{}
	only := ""
	for id := range mends {
		services[id.Service], only = true, id.Service
	}
	if len(services) > 1 {
		only = ""
	}
	obs, err := l.observe(ctx, d, only)
	if err != nil {
		return nil, err
	}
	want := d.Desired
	want.Model = narrow(d.Model, services)
	obs.Instances = slices.DeleteFunc(obs.Instances, func(in plan.Instance) bool { return !services[in.Spec.Key.Service] })
	obs.Approved, obs.Applied, obs.AppliedFields = true, d.Revision, want.Model.Fields
	seen := map[runtimes.ID]bool{}
	return slices.DeleteFunc(plan.New(want, obs).Actions, func(a plan.Action) bool {
		_, claimed := mends[a.ID]
		again := seen[a.ID]
		seen[a.ID] = true
		return !claimed || again
	}), nil
}

// fix carries out one repair beside others, and looks again until nothing is
// left. One that fails and leaves nothing on the machine for the next plan to
// wait from is tried again after the backoff of a restart.
func (l *Loop) fix(m mend, d *desired, a plan.Action) {
	defer m.done()
	if a.Op == plan.OpSleep {
		defer l.lulled()
	}
	l.carry(m, d, a, a.Op != plan.OpSleep)
}

// carry is fix for who has done with the claim. again says that there may be
// more to do when it went well; of a wake and a sleep there is not.
func (l *Loop) carry(m mend, d *desired, a plan.Action, again bool) {
	err := l.act(m.ctx, d, a, nil, make(chan struct{}, 1), func() {
		l.mu.Lock()
		l.came(a.ID.Service)
		l.mu.Unlock()
	})
	var failed *actionError
	errors.As(err, &failed)
	switch {
	case err == nil && !again:
	case err == nil || m.ctx.Err() != nil || failed != nil && failed.left:
		l.look(a.ID)
	default:
		l.log.Warn("repair failed", "instance", a.ID.String(), "err", err)
		if a.Op == plan.OpSleep { // it goes on as it was, which hurts nobody
			l.rest(a.ID, d.Model.Settings.BackoffMax)
			return
		}
		if !a.Drift || failed == nil || !failed.started {
			l.restarted(a.ID)
		}
		l.rest(a.ID, l.backoffOf(d.Model.Settings, a.ID))
	}
	if err != nil && m.ctx.Err() == nil && !l.onceMore(a.ID, err) {
		l.unserved(a.ID, err)
	}
}

// rest keeps an instance from being started for a while, and then looks at it.
func (l *Loop) rest(id runtimes.ID, wait time.Duration) {
	l.mu.Lock()
	l.resting[id] = time.Now().Add(wait)
	l.mu.Unlock()
	l.later(id, wait)
}

// backoffOf is how long an instance waits after as many restarts as it had.
func (l *Loop) backoffOf(s schema.Settings, id runtimes.ID) time.Duration {
	l.mu.Lock()
	n := l.restarts(id, time.Now())
	l.mu.Unlock()
	if s.MaxRestarts > 0 && n >= s.MaxRestarts {
		return s.BackoffMax
	}
	return min(s.BackoffBase<<min(max(n-1, 0), 20), s.BackoffMax)
}

func (l *Loop) pause(ctx context.Context, wait time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(wait):
	}
}

// narrow is a model of only the named services.
func narrow(m *schema.Model, services map[string]bool) *schema.Model {
	n := *m
	n.Services = nil
	for _, s := range m.Services {
		if services[s.Name] {
			n.Services = append(n.Services, s)
		}
	}
	return &n
}

// monitor probes running instances, each at its interval, a bounded number at a
// time, so that a slow one delays no other.
func (l *Loop) monitor(ctx context.Context) error {
	slots := make(chan struct{}, probesAtOnce)
	tick := time.NewTicker(monitorTick)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		for _, t := range l.due() {
			select {
			case slots <- struct{}{}:
			case <-ctx.Done():
				return ctx.Err()
			}
			l.spawn(func() {
				l.probe(ctx, t)
				<-slots
			})
		}
	}
}

// due picks the incarnations whose probe is due.
func (l *Loop) due() []*tracked {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.force == nil {
		return nil
	}
	var due []*tracked
	for _, t := range l.world {
		if !t.gating && !t.probing && !t.frozen && !t.next.After(now) && !t.over() {
			t.probing = true
			due = append(due, t)
		}
	}
	return due
}

// probe asks one incarnation once. A verdict that changes is looked at by supervise.
func (l *Loop) probe(ctx context.Context, t *tracked) {
	l.mu.Lock()
	d := l.force
	l.mu.Unlock()
	if d == nil {
		return // it all goes down
	}
	s := d.Model.Service(t.key.Service)
	r := probe.Result{Healthy: true}
	if s != nil && s.Health != schema.HealthNone {
		r = l.cfg.Prober.Probe(ctx, l.target(s, t))
	}
	if ctx.Err() != nil {
		return
	}
	l.mu.Lock()
	before := t.health
	l.verdict(t, s, r, d.Model.Settings.HealthCheckInterval)
	after := t.health
	l.mu.Unlock()
	if after != before {
		l.log.Info("health changed", "instance", t.key.ID.String(), "reason", string(before)+" to "+string(after), "err", r.Text)
		l.look(t.key.ID)
	}
}

// verdict takes what a probe said into account. Called with mu held.
func (l *Loop) verdict(t *tracked, s *schema.Service, r probe.Result, interval time.Duration) {
	if t.share > 0 {
		interval = min(interval, time.Second) // on trial
	}
	t.probing, t.next = false, time.Now().Add(interval)
	if t.gating || t.frozen || t.over() {
		return // a gate decides, or nothing does any more
	}
	if r.Healthy != (t.health == runtimes.Healthy) || r.Text != t.text {
		l.news.tell()
	}
	if r.Healthy {
		t.health, t.failures, t.text = runtimes.Healthy, 0, ""
		if r.Address != "" && r.Address != t.address {
			t.address = r.Address
			l.changed(t.key.ID)
		}
		l.opened(t)
		return
	}
	if slow := s != nil && !t.open && time.Since(t.began) < s.StartupTimeout; !slow {
		t.failures++
		t.text = r.Text
		if t.failures >= unhealthyAfter {
			t.health = runtimes.Unhealthy
		}
	}
	if t.failures < unhealthyAfter {
		t.next = time.Now().Add(min(interval, time.Second)) // a doubt is settled quickly
	}
}
