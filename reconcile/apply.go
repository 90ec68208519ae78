package reconcile

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tenement/ten/reconcile/plan"
	"github.com/tenement/ten/reconcile/store"
	"github.com/tenement/ten/runtimes"
	"github.com/tenement/ten/schema"
)

// due splits a plan into what can be done now: first what starts or changes
// things, then what removes them; and the ids that both concern.
//
// A rollout leaves drift to supervision: a program that crashes by itself must
// not fail a revision that did not touch it. A revert takes all, for what it
// brings back is missing.
func due(p plan.Plan, drift bool) (start, remove []plan.Action, ids []runtimes.ID) {
	now := time.Now()
	for _, a := range p.Actions {
		if a.Blocked != nil || a.NotBefore.After(now) || supervised(a) && !drift {
			continue
		}
		if a.ID != (runtimes.ID{}) && !slices.Contains(ids[max(0, len(ids)-1):], a.ID) {
			ids = append(ids, a.ID)
		}
		if a.Op == plan.OpRemove {
			remove = append(remove, a)
		} else {
			start = append(start, a)
		}
	}
	return start, remove, ids
}

// supervised reports what is supervision's to do beside a rollout, and none of
// its failures: drift, and what comes and goes with requests.
func supervised(a plan.Action) bool { return a.Drift || a.Reason.Code == plan.Woken }

// carryOut does what a plan says: serial per service, services in parallel, a
// service after those it depends on, removals last. After the first failure no
// further action begins; those under way end by themselves. The caller has
// claimed the ids.
func (l *Loop) carryOut(ctx context.Context, d *desired, p plan.Plan, drift bool) error {
	start, remove, _ := due(p, drift)
	if len(start)+len(remove) > 0 {
		l.say(stateApplying, fmt.Sprintf("applying %s: %d actions", short(d.Revision), len(start)+len(remove)), "")
	}
	if err := l.inOrder(ctx, d, start); err != nil {
		return err
	}
	return l.inOrder(ctx, d, remove)
}

// turn is where the actions of a service stand, for those that wait for it.
type turn struct {
	actions []plan.Action
	left    atomic.Int32  // actions that have not started their process
	started chan struct{} // closed when none is left
	done    chan struct{}
}

func (t *turn) one() {
	if t.left.Add(-1) == 0 {
		close(t.started)
	}
}

// inOrder runs the actions of each service one after another, and each service
// once those it waits for have got where it needs them.
func (l *Loop) inOrder(ctx context.Context, d *desired, actions []plan.Action) error {
	turns := map[string]*turn{}
	for _, a := range actions {
		t := turns[a.ID.Service]
		if t == nil {
			t = &turn{started: make(chan struct{}), done: make(chan struct{})}
			turns[a.ID.Service] = t
		}
		t.actions = append(t.actions, a)
		t.left.Add(1)
	}
	group, ctx := errgroup.WithContext(ctx)
	slots := make(chan struct{}, 4*runtime.NumCPU())
	for _, t := range turns {
		group.Go(func() error {
			if err := l.awaitAll(ctx, d, t.actions[0].After, turns); err != nil {
				return err
			}
			if err := l.serial(ctx, d, t, slots); err != nil {
				return err
			}
			close(t.done)
			return nil
		})
	}
	return group.Wait()
}

// awaitAll waits until the services that actions come after have reached what
// is asked of them.
func (l *Loop) awaitAll(ctx context.Context, d *desired, after []schema.Dependency, turns map[string]*turn) error {
	for _, dep := range after {
		t := turns[dep.Service]
		if t == nil {
			if err := l.awaitHealthy(ctx, d, dep); err != nil {
				return err
			}
			continue
		}
		reached := t.done
		if dep.Condition == schema.ConditionStarted {
			reached = t.started
		}
		select {
		case <-reached:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// awaitHealthy waits for a service that nothing is to be done to.
func (l *Loop) awaitHealthy(ctx context.Context, d *desired, dep schema.Dependency) error {
	s := d.Model.Service(dep.Service)
	if s == nil || dep.Condition != schema.ConditionHealthy {
		return nil
	}
	deadline := time.Now().Add(s.StartupTimeout + time.Second)
	for {
		l.mu.Lock()
		reached := l.reached(s, dep.Condition)
		l.mu.Unlock()
		if reached {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s, on which others depend, is not healthy; see: ten why %s", dep.Service, dep.Service)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// reached reports that every instance of a service is what a dependent asks for;
// one that sleeps, or did all it has to, keeps nobody waiting. Called with mu held.
func (l *Loop) reached(s *schema.Service, c schema.Condition) bool {
	for _, id := range s.Instances {
		there := l.byID[runtimes.ID{Service: s.Name, Instance: id}]
		id := runtimes.ID{Service: s.Name, Instance: id}
		if awake, noted := l.rests[id]; len(there) == 0 && (s.OnDemand || noted && !awake) {
			continue
		}
		if !slices.ContainsFunc(there, func(t *tracked) bool {
			switch {
			case t.frozen:
				return true
			case t.over():
				return c == schema.ConditionStarted && t.exit.Known && t.exit.Code == 0
			case c == schema.ConditionStarted:
				return true
			}
			return t.open && t.health != runtimes.Unhealthy
		}) {
			return false
		}
	}
	return true
}

// serial runs one service's actions. New instances that take nothing away may
// come up together, and so do those that take over at once; everything else that
// replaces something goes one by one.
func (l *Loop) serial(ctx context.Context, d *desired, t *turn, slots chan struct{}) error {
	together, inner := errgroup.WithContext(ctx)
	m := l.muster(t.actions)
	if m == nil {
		together.SetLimit(cap(slots)) // those who wait for each other must all have begun
	}
	for _, a := range t.actions {
		if inner.Err() != nil {
			break
		}
		one := sync.OnceFunc(t.one)
		if a.Op != plan.OpCreate && a.Op != plan.OpRemove && !m.awaits(a) {
			if err := l.act(inner, d, a, m, slots, one); err != nil {
				return errors.Join(err, together.Wait())
			}
			continue
		}
		together.Go(func() error { return l.act(inner, d, a, m, slots, one) })
	}
	if err := together.Wait(); err != nil {
		return err
	}
	return context.Cause(ctx)
}

// act carries out one action, with its intent journalled before and its result
// after. started is called, once or more, when its process was started and when
// the action went well. m is who it takes over together with, or nil.
func (l *Loop) act(ctx context.Context, d *desired, a plan.Action, m *muster, slots chan struct{}, started func()) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	select {
	case slots <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	free := sync.OnceFunc(func() { <-slots })
	defer free()
	began := time.Now()
	intent, err := l.cfg.Store.Begin(context.WithoutCancel(ctx), store.Intent{
		Revision: d.Revision, Service: a.ID.Service, Instance: a.ID.Instance,
		Op: string(a.Op), Reason: a.Reason.Text, At: began,
	})
	if err != nil {
		return err
	}
	err = l.do(ctx, d, a, m, func() { free(); started() })
	result := "ok"
	if err != nil {
		result = err.Error()
	} else {
		started()
	}
	if e := l.cfg.Store.End(context.WithoutCancel(ctx), intent, result, time.Since(began)); e != nil {
		err = errors.Join(err, e)
	}
	l.report(a, began, err, ctx.Err() != nil)
	if err != nil && ctx.Err() == nil {
		var already *actionError
		if errors.As(err, &already) {
			return err
		}
		return &actionError{id: a.ID, op: a.Op, err: err}
	}
	return err
}

// report tells how an action ended. One that was given up did not fail: a newer
// revision came, or another action failed, and err says so.
func (l *Loop) report(a plan.Action, began time.Time, err error, givenUp bool) {
	if a.ID == (runtimes.ID{}) {
		return
	}
	log := l.log.With("instance", a.ID.String(), "action", a.Op, "reason", a.Reason.Text, "dur", time.Since(began))
	if err != nil && givenUp {
		log.Info("action given up", "err", err)
		return
	}
	if err != nil {
		log.Warn("action failed", "err", err)
		l.tell(progress{Instance: a.ID.String(), Text: fmt.Sprintf("%s: %s failed after %s", a.ID, a.Op, took(began)), Error: err.Error()})
		return
	}
	log.Info("action done")
	l.tell(progress{Instance: a.ID.String(), Text: fmt.Sprintf("%s: %s in %s", a.ID, past(a.Op), took(began))})
}

func past(op plan.Op) string {
	switch op {
	case plan.OpCreate:
		return "created and healthy"
	case plan.OpStart:
		return "started again and healthy"
	case plan.OpRestart:
		return "restarted and healthy"
	case plan.OpReplace:
		return "replaced and healthy"
	case plan.OpUpdate:
		return "updated in place"
	case plan.OpStop:
		return "stopped"
	case plan.OpRemove:
		return "removed"
	case plan.OpCleanup:
		return "leftover removed"
	case plan.OpReload:
		return "reloaded"
	case plan.OpSleep:
		return "put to sleep"
	case plan.OpWake:
		return "woken"
	}
	return string(op)
}

// do is the switch over what there is to do. started is called once only
// waiting is left.
func (l *Loop) do(ctx context.Context, d *desired, a plan.Action, m *muster, started func()) error {
	switch a.Op {
	case plan.OpReload:
		return nil // settings and routes are read from the model in force
	case plan.OpUpdate:
		return l.update(ctx, a)
	case plan.OpRemove, plan.OpCleanup, plan.OpStop:
		return l.stopAll(ctx, d, a.ID, a.Old)
	case plan.OpCreate, plan.OpStart, plan.OpReplace:
		if err := l.stopAll(ctx, d, a.ID, a.Old); err != nil {
			return err
		}
		return l.bringUp(ctx, d, a, nil, started)
	case plan.OpSleep:
		return l.sleep(ctx, d, a)
	case plan.OpWake:
		return l.rouse(ctx, a)
	case plan.OpRestart:
		abandoned, serving := l.abandoned(a.Old)
		if err := l.stopAll(ctx, d, a.ID, abandoned); err != nil {
			return err
		}
		if err := l.bringUp(ctx, d, a, m, started); err != nil {
			return err
		}
		return l.stopAll(ctx, d, a.ID, serving)
	}
	return fmt.Errorf("unknown operation %q", a.Op)
}

// abandoned gives of the incarnations that go those that need not stay until the
// new one is healthy: else each newer revision in a row would leave one more. It
// is those that never served beside one that does. Where none is known to serve,
// as after a restart of the daemon, it may be the oldest or the newest.
func (l *Loop) abandoned(old []runtimes.Key) (abandoned, serving []runtimes.Key) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var alive []runtimes.Key
	for _, key := range old {
		t := l.world[key]
		switch {
		case t == nil || t.over():
			abandoned = append(abandoned, key)
		case t.open:
			serving = append(serving, key)
		default:
			alive = append(alive, key)
		}
	}
	if len(serving) > 0 || len(alive) < 3 {
		if len(serving) == 0 {
			return abandoned, alive
		}
		return append(abandoned, alive...), serving
	}
	last := len(alive) - 1
	return append(abandoned, alive[1:last]...), []runtimes.Key{alive[0], alive[last]}
}

// bringUp starts an incarnation, unless an interrupted rollout has, and waits at
// its gate and until it has taken over. When it does not get that far, it is
// stopped again.
func (l *Loop) bringUp(ctx context.Context, d *desired, a plan.Action, m *muster, started func()) error {
	var key runtimes.Key
	if a.New != nil {
		key = *a.New
	} else {
		in, err := l.start(ctx, d, a)
		if err != nil {
			return err
		}
		key = in.Spec.Key
	}
	started()
	if a.Drift && a.New == nil {
		l.restarted(a.ID)
	}
	if t := l.known(key); t != nil {
		l.set(t, func() { t.held, t.leaving, t.share = a.Takeover != nil, false, 0 })
	}
	err := l.gate(ctx, d, key, a.Reason.Code == plan.Woken)
	if err == nil && a.Takeover != nil {
		err = l.takeOver(ctx, key, a, m)
	}
	if err == nil || ctx.Err() != nil {
		return err
	}
	failed := &actionError{id: a.ID, op: a.Op, err: err, logs: l.lastLines(key), started: true}
	if a.Drift && a.Op != plan.OpRestart {
		failed.left = true
		return failed // it may yet come up; what follows is for the next plan to say
	}
	return errors.Join(failed, l.stopAll(context.WithoutCancel(ctx), d, a.ID, []runtimes.Key{key}))
}

// start makes everything an incarnation needs and starts it.
func (l *Loop) start(ctx context.Context, d *desired, a plan.Action) (runtimes.Instance, error) {
	rt, ok := l.cfg.Runtimes[a.Spec.Level]
	if !ok {
		return runtimes.Instance{}, &runtimes.UnsupportedError{Level: a.Spec.Level, Reason: "not supported by this build of ten"}
	}
	s := d.Model.Service(a.ID.Service)
	if s == nil {
		return runtimes.Instance{}, fmt.Errorf("%s: no such service in revision %s", a.ID.Service, short(d.Revision))
	}
	if err := l.provide(ctx, d, s, a.Spec); err != nil {
		return runtimes.Instance{}, err
	}
	spec, err := l.bind(ctx, s, a.Spec)
	if err != nil {
		return runtimes.Instance{}, err
	}
	in, err := rt.Start(l.runCtx, spec) // an operation: a newer revision does not cut it in two
	if err != nil {
		l.dropSocket(spec.Key.Generation, spec.Socket)
		return in, err
	}
	l.track(in)
	l.log.Debug("instance started", "instance", a.ID.String(), "runtime", a.Spec.Level)
	return in, nil
}

// update changes a running incarnation in place: its record and its limits.
func (l *Loop) update(ctx context.Context, a plan.Action) error {
	if len(a.Old) == 0 || a.Spec == nil {
		return fmt.Errorf("update without an incarnation to update")
	}
	rt := l.cfg.Runtimes[a.Spec.Level]
	u, ok := rt.(runtimes.Updater)
	if !ok {
		return fmt.Errorf("isolation %q can't change a running instance", a.Spec.Level)
	}
	t := l.known(a.Old[0])
	if t == nil {
		return runtimes.ErrNotFound
	}
	l.mu.Lock()
	spec := t.spec
	l.mu.Unlock()
	spec.Fields, spec.Digest, spec.Revision = a.Spec.Fields, a.Spec.Digest, a.Spec.Revision
	spec.Limits, spec.StopSignal, spec.StopTimeout = a.Spec.Limits, a.Spec.StopSignal, a.Spec.StopTimeout
	return u.Update(ctx, spec)
}

// stopAll stops incarnations and drops what was made for them alone.
func (l *Loop) stopAll(ctx context.Context, d *desired, id runtimes.ID, keys []runtimes.Key) error {
	var fields map[string]string
	for _, key := range keys {
		if t := l.known(key); t != nil && key.ID == id {
			l.mu.Lock()
			fields = t.spec.Fields
			l.mu.Unlock()
		}
		if err := l.stop(ctx, key); err != nil {
			return fmt.Errorf("stop %s: %w", key, err)
		}
	}
	if len(keys) > 0 {
		return l.dropStorage(d, id, fields)
	}
	return nil
}

// stop stops one incarnation at the level that has it. An operation is never cut
// in two: once begun, it is seen through.
func (l *Loop) stop(ctx context.Context, key runtimes.Key) error {
	t := l.known(key)
	if t == nil {
		return nil // every incarnation on the machine was observed; this one is gone
	}
	if err := l.retire(t); err != nil {
		return err
	}
	select {
	case <-t.heard: // else what it said would go with it
	case <-l.runCtx.Done():
	}
	l.set(t, func() { t.stopping = true })
	if err := l.cfg.Runtimes[t.level].Stop(context.WithoutCancel(ctx), key); err != nil {
		l.set(t, func() { t.stopping = false })
		l.look(key.ID)
		return err
	}
	l.dropSocket(key.Generation, t.socket)
	l.mu.Lock()
	l.drop(key)
	l.gone[key] = time.Now()
	l.mu.Unlock()
	return nil
}
