package reconcile

import (
	"context"
	"errors"
	"io/fs"
	"syscall"
	"time"

	"github.com/tenement/ten/reconcile/plan"
	"github.com/tenement/ten/runtimes"
	"github.com/tenement/ten/schema"
)

// Keys of small values in the store.
const keyAwake = "awake"

// unhealthyAfter is how many failed probes in a row make an instance unhealthy.
const unhealthyAfter = 3

// tracked is what the loop knows of one incarnation beyond what its runtime
// tells. It may be lost at any time: a restarted daemon finds it out again.
type tracked struct {
	spec     runtimes.Spec
	pid      int
	address  string
	health   runtimes.Health
	text     string // the last failed probe, in words
	failures int    // in a row
	open     bool   // the gate: it may serve
	gating   bool   // a gate is probing it; the monitor keeps off
	probing  bool
	next     time.Time     // of the next probe
	began    time.Time     // when this daemon first saw it alive
	ended    chan struct{} // closed by its watcher
	exit     runtimes.Exit // valid once ended is closed
}

// track joins an instance found on the machine with what is known of it, and
// begins to watch it when it is new.
func (l *Loop) track(ctx context.Context, in runtimes.Instance) plan.Instance {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.world[in.Spec.Key]
	if t == nil {
		t = &tracked{
			health: runtimes.Unknown, began: time.Now(), ended: make(chan struct{}),
		}
		l.world[in.Spec.Key] = t
		if in.Phase.Alive() {
			l.watch(in, t)
		} else {
			if in.Exit != nil {
				t.exit = *in.Exit
			}
			close(t.ended)
		}
	}
	t.spec, t.pid = in.Spec, in.Pid
	p := plan.Instance{
		Instance: in, Health: t.health, HealthText: t.text, Address: t.address,
		GateOpen: t.open, Restarts: l.restarts(in.Spec.Key.ID, time.Now()),
	}
	if !in.Phase.Alive() {
		p.Health, p.GateOpen = runtimes.Unknown, false
	}
	return p
}

// watch follows a living incarnation: its output, and its end. Called with mu held.
func (l *Loop) watch(in runtimes.Instance, t *tracked) {
	rt := l.cfg.Runtimes[in.Spec.Level]
	key := in.Spec.Key
	ctx := l.runCtx
	if o, ok := rt.(runtimes.Outputter); ok {
		l.attach(ctx, o, key)
	}
	l.spawn(func() {
		exit, err := rt.Wait(ctx, key)
		if ctx.Err() != nil {
			return
		}
		if err != nil && !errors.Is(err, runtimes.ErrNotFound) {
			l.log.Warn("instance can't be watched", "instance", key.ID.String(), "err", err)
		}
		l.mu.Lock()
		t.exit = exit
		t.health, t.open = runtimes.Unknown, false
		close(t.ended)
		l.mu.Unlock()
		l.log.Info("instance ended", "instance", key.ID.String(), "reason", exit.String())
		l.look(key.ID)
	})
}

// attach has an incarnation's output kept.
func (l *Loop) attach(ctx context.Context, o runtimes.Outputter, key runtimes.Key) {
	stdout, stderr, err := o.Output(key)
	if err == nil {
		err = l.cfg.Output.Attach(ctx, key, stdout, stderr)
	}
	if err != nil {
		l.log.Warn("output can't be read", "instance", key.ID.String(), "err", err)
	}
}

// forget drops what is known of incarnations that are no more.
func (l *Loop) forget(found map[runtimes.Key]bool, service string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for key := range l.world {
		if _, busy := l.claimed[key.ID]; !found[key] && !busy && (service == "" || service == key.Service) {
			delete(l.world, key)
		}
	}
}

// known returns what is tracked of an incarnation, or nil.
func (l *Loop) known(key runtimes.Key) *tracked {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.world[key]
}

// restarts counts an instance's restarts within the window. Called with mu held.
func (l *Loop) restarts(id runtimes.ID, now time.Time) int {
	window := 5 * time.Minute
	if l.force != nil {
		window = l.force.Model.Settings.RestartWindow
	}
	past := l.past[id]
	for len(past) > 0 && now.Sub(past[0]) > window {
		past = past[1:]
	}
	if len(past) == 0 {
		delete(l.past, id)
	} else {
		l.past[id] = past
	}
	return len(past)
}

// restarted counts one restart more. Only the newest matter to the backoff.
func (l *Loop) restarted(id runtimes.ID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	past := append(l.past[id], time.Now())
	if len(past) > 32 {
		past = past[len(past)-32:]
	}
	l.past[id] = past
}

// claim takes an id for the caller to act on, unless another one does. cancel
// ends the caller's waits when a rollout wants the id; a rollout gives none.
// Called with mu held.
func (l *Loop) claim(id runtimes.ID, cancel context.CancelCauseFunc) bool {
	if _, taken := l.claimed[id]; taken {
		return false
	}
	l.claimed[id] = cancel
	return true
}

// release gives ids back and has what became dirty meanwhile looked at.
func (l *Loop) release(ids ...runtimes.ID) {
	l.mu.Lock()
	for _, id := range ids {
		delete(l.claimed, id)
	}
	l.mu.Unlock()
	l.poke()
}

// claimAll takes every id for a rollout. Repairs that only wait are ended; those
// in the middle of an operation are waited for.
func (l *Loop) claimAll(ctx context.Context, ids []runtimes.ID) error {
	var got []runtimes.ID
	missing := ids
	for {
		var rest []runtimes.ID
		l.mu.Lock()
		for _, id := range missing {
			if l.claim(id, nil) {
				got = append(got, id)
				continue
			}
			rest = append(rest, id)
			if cancel := l.claimed[id]; cancel != nil {
				cancel(errPreempted)
			}
		}
		l.mu.Unlock()
		if len(rest) == 0 {
			return nil
		}
		missing = rest
		select {
		case <-ctx.Done():
			l.release(got...)
			return context.Cause(ctx)
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// look asks supervise to look at an instance soon.
func (l *Loop) look(id runtimes.ID) {
	l.mu.Lock()
	l.dirty[id] = true
	l.mu.Unlock()
	l.poke()
}

func (l *Loop) poke() {
	select {
	case l.kick <- struct{}{}:
	default:
	}
}

// publish tells whoever routes of the model in force and its instances.
func (l *Loop) publish(obs plan.Observed) {
	l.mu.Lock()
	var model *schema.Model
	if l.force != nil {
		model = l.force.Model
	}
	l.mu.Unlock()
	l.cfg.Publish(model, obs.Instances)
}

func asUnsupported(err error) (*runtimes.UnsupportedError, bool) {
	var u *runtimes.UnsupportedError
	ok := errors.As(err, &u)
	return u, ok
}

// errnoText gives the bare reason of a file error: "no such file or directory".
func errnoText(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	var no syscall.Errno
	if errors.As(err, &no) {
		return no
	}
	return err
}
