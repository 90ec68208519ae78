package reconcile

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/tenement/ten/reconcile/plan"
	"github.com/tenement/ten/runtimes"
	"github.com/tenement/ten/schema"
)

const (
	probesAtOnce = 32
	monitorTick  = 100 * time.Millisecond
	firstLook    = 2 * time.Second
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
		if err := l.repair(ctx); err != nil {
			return err
		}
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
		delete(l.resting, id)
		ctx, cancel := context.WithCancelCause(ctx)
		if !l.claim(id, cancel) {
			cancel(nil)
			continue // its owner pokes when it is done
		}
		delete(l.dirty, id)
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
		l.later(ctx, time.Second, slices.Collect(maps.Keys(mends)))
	}
	for _, a := range actions {
		m := mends[a.ID]
		wait := time.Until(a.NotBefore)
		switch {
		case a.Blocked != nil:
			l.log.Debug("repair blocked", "instance", a.ID.String(), "reason", a.Blocked.Text)
			l.later(ctx, blockedFor, []runtimes.ID{a.ID})
			continue
		case wait > 0:
			l.later(ctx, wait, []runtimes.ID{a.ID})
			continue
		}
		delete(mends, a.ID)
		l.spawn(func() { l.fix(m, d, a) })
	}
	for _, m := range mends {
		m.done()
	}
	return ctx.Err()
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
	if only == "" {
		l.publish(obs)
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
// left. One that fails is tried again after the backoff of a restart: what could
// not be started has left no end on the machine for the plan to wait from.
func (l *Loop) fix(m mend, d *desired, a plan.Action) {
	defer m.done()
	err := l.act(m.ctx, d, a, make(chan struct{}, 1))
	var failed *actionError
	if err == nil || m.ctx.Err() != nil || errors.As(err, &failed) && failed.started {
		l.look(a.ID)
		return
	}
	wait := l.backoffOf(d.Model.Settings, a.ID)
	l.log.Warn("repair failed", "instance", a.ID.String(), "err", err)
	l.restarted(a.ID)
	l.mu.Lock()
	l.resting[a.ID] = time.Now().Add(wait)
	l.mu.Unlock()
	l.later(l.runCtx, wait, []runtimes.ID{a.ID})
}

// backoffOf is how long an instance waits after as many restarts as it had.
func (l *Loop) backoffOf(s schema.Settings, id runtimes.ID) time.Duration {
	l.mu.Lock()
	n := l.restarts(id, time.Now())
	l.mu.Unlock()
	if s.MaxRestarts > 0 && n >= s.MaxRestarts {
		return s.BackoffMax
	}
	return min(s.BackoffBase<<min(n, 20), s.BackoffMax)
}

// later looks at instances again after a while.
func (l *Loop) later(ctx context.Context, wait time.Duration, ids []runtimes.ID) {
	l.spawn(func() {
		l.pause(ctx, wait)
		for _, id := range ids {
			l.look(id)
		}
	})
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
		select {
		case <-t.ended:
			continue
		default:
		}
		if !t.gating && !t.probing && !t.next.After(now) {
			t.probing = true
			due = append(due, t)
		}
	}
	return due
}

// probe asks one incarnation once. A verdict that changes is looked at by supervise.
func (l *Loop) probe(ctx context.Context, t *tracked) {
	l.mu.Lock()
	s := l.force.Model.Service(t.spec.Key.Service)
	interval := l.force.Model.Settings.HealthCheckInterval
	l.mu.Unlock()
	healthy, text, address := true, "", ""
	if s != nil && s.Health != schema.HealthNone {
		r := l.cfg.Prober.Probe(ctx, target(s, t))
		healthy, text, address = r.Healthy, r.Text, r.Address
	}
	if ctx.Err() != nil {
		return
	}
	l.mu.Lock()
	before := t.health
	t.probing = false
	if healthy {
		t.health, t.failures, t.text, t.open = runtimes.Healthy, 0, "", true
		if address != "" {
			t.address = address
		}
	} else if slow := s != nil && !t.open && time.Since(t.began) < s.StartupTimeout; !slow {
		t.failures++
		t.text = text
		if t.failures >= unhealthyAfter {
			t.health = runtimes.Unhealthy
		}
	}
	t.next = time.Now().Add(interval)
	if !healthy && t.failures < unhealthyAfter {
		t.next = time.Now().Add(min(interval, time.Second)) // a doubt is settled quickly
	}
	changed := t.health != before
	l.mu.Unlock()
	if changed {
		l.log.Info("health changed", "instance", t.spec.Key.ID.String(), "reason", string(before)+" to "+string(t.health), "err", text)
		l.look(t.spec.Key.ID)
	}
}
