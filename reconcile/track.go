package reconcile

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"syscall"
	"time"

	"github.com/tenement/ten/reconcile/plan"
	"github.com/tenement/ten/runtimes"
)

// unhealthyAfter is how many failed probes in a row make an instance unhealthy.
const unhealthyAfter = 3

// tracked is what the loop knows of one incarnation beyond what its runtime
// tells. It may be lost at any time: a restarted daemon finds it out again. The
// first fields never change; the rest, but for exit, is guarded by Loop.mu.
type tracked struct {
	key     runtimes.Key
	level   runtimes.Level
	port    int
	socket  string
	network string        // of its Spec
	began   time.Time     // when this daemon first saw it
	heard   chan struct{} // closed when its output is being read, if it can be
	ended   chan struct{} // closed by its watcher
	exit    runtimes.Exit // valid once ended is closed

	spec     runtimes.Spec
	pid      int
	phase    runtimes.Phase // as the machine said last
	address  string
	health   runtimes.Health
	text     string // the last failed probe, in words
	failures int    // in a row
	open     bool   // the gate: it may serve
	gating   bool   // a gate is probing it; the monitor keeps off
	probing  bool
	next     time.Time   // of the next probe
	frozen   bool        // it sleeps with its process kept
	stopping bool        // this daemon is stopping it
	leaving  bool        // it is about to stop or to sleep: it gets no new requests
	held     bool        // it does not serve before its rollout says so, while another one does
	share    int         // of the requests, in percent, while it is tried beside the one that serves
	since    time.Time   // when it began to serve
	doze     *time.Timer // when it may have been idle for long enough
}

// over reports whether the program has ended.
func (t *tracked) over() bool {
	select {
	case <-t.ended:
		return true
	default:
		return false
	}
}

// track joins an instance found on the machine with what is known of it, and
// begins to watch it when it is new. What nobody is at work on is looked at.
func (l *Loop) track(in runtimes.Instance) plan.Instance {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := in.Spec.Key
	t := l.world[key]
	if t == nil {
		t = &tracked{
			key: key, level: in.Spec.Level, port: in.Spec.Port, socket: in.Spec.Socket, network: in.Spec.Network,
			health: runtimes.Unknown, began: time.Now(), heard: make(chan struct{}), ended: make(chan struct{}),
		}
		l.world[key] = t
		l.byID[key.ID] = append(l.byID[key.ID], t)
		l.ports.hold(t.port)
		t.frozen = in.Phase == runtimes.Sleeping
		if in.Phase.Alive() || t.frozen {
			l.spawn(func() { l.watch(t) })
		} else {
			if in.Exit != nil {
				t.exit = *in.Exit
			}
			close(t.ended)
			l.spawn(func() { l.hear(t) }) // what it said last is there still
		}
		if _, busy := l.claimed[key.ID]; !busy {
			l.dirty[key.ID] = true
			l.poke()
		} else {
			t.next = time.Now().Add(time.Second) // who started it has a gate for it
		}
	}
	if t.pid != in.Pid || t.phase != in.Phase {
		l.news.tell()
	}
	t.spec, t.pid, t.phase = in.Spec, in.Pid, in.Phase
	p := plan.Instance{
		Instance: in, Health: t.health, HealthText: t.text, Address: t.address,
		GateOpen: t.open, Restarts: l.restarts(key.ID, time.Now()),
	}
	if !in.Phase.Alive() {
		p.Health, p.GateOpen = runtimes.Unknown, false
	}
	if in.Phase == runtimes.Stopping && in.Pid == 0 && !t.frozen {
		// Its program is gone, and how it ended is not known yet. That decides
		// whether it comes back, and its watcher tells when it is.
		p.Phase = runtimes.Running
	}
	return p
}

// watch follows a living incarnation: its output, and its end.
func (l *Loop) watch(t *tracked) {
	ctx, rt := l.runCtx, l.cfg.Runtimes[t.level]
	l.hear(t)
	exit, err := rt.Wait(ctx, t.key)
	for wait := time.Millisecond; err != nil && !errors.Is(err, runtimes.ErrNotFound) && ctx.Err() == nil; wait = min(2*wait, time.Minute) {
		l.log.Warn("instance can't be watched", "instance", t.key.ID.String(), "err", err)
		l.pause(ctx, wait)
		exit, err = rt.Wait(ctx, t.key)
	}
	if ctx.Err() != nil {
		return
	}
	l.mu.Lock()
	ours := t.stopping
	t.exit = exit
	t.health, t.open, t.frozen, t.share = runtimes.Unknown, false, false, 0
	close(t.ended)
	l.changed(t.key.ID)
	l.mu.Unlock()
	l.log.Info("instance ended", "instance", t.key.ID.String(), "reason", exit.String())
	if !ours { // else whoever stopped it has more to say
		l.look(t.key.ID)
	}
}

// hear has the output of an incarnation kept from now on.
func (l *Loop) hear(t *tracked) {
	defer close(t.heard)
	if o, ok := l.cfg.Runtimes[t.level].(runtimes.Outputter); ok {
		l.attach(l.runCtx, o, t.key)
	}
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

// forget drops what is known of incarnations that a list, begun at a time, did
// not show. What was first seen since is not meant.
func (l *Loop) forget(found map[runtimes.Key]bool, service string, begun time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for key, t := range l.world {
		if _, busy := l.claimed[key.ID]; !found[key] && !busy && t.began.Before(begun) && (service == "" || service == key.Service) {
			l.drop(key)
		}
	}
	for key, at := range l.gone {
		if at.Before(begun) && !found[key] {
			delete(l.gone, key)
		}
	}
}

// drop forgets one incarnation. Called with mu held.
func (l *Loop) drop(key runtimes.Key) {
	t := l.world[key]
	if t == nil {
		return
	}
	l.ports.drop(t.port)
	if t.doze != nil {
		t.doze.Stop()
	}
	delete(l.world, key)
	rest := slices.DeleteFunc(l.byID[key.ID], func(t *tracked) bool { return t.key == key })
	if len(rest) == 0 {
		delete(l.byID, key.ID)
	} else {
		l.byID[key.ID] = rest
	}
	l.changed(key.ID)
}

// stopped reports that this daemon stopped an incarnation after a list was begun
// that shows it still.
func (l *Loop) stopped(key runtimes.Key, begun time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	at, ok := l.gone[key]
	return ok && !at.Before(begun)
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
	l.news.tell()
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
		l.came(id.Service)
	}
	l.mu.Unlock()
	l.news.tell()
	l.poke()
}

// handBack releases the ids of a rollout. It may have left something behind, so
// what is there is looked at once more.
func (l *Loop) handBack(ids ...runtimes.ID) {
	l.mu.Lock()
	for _, id := range ids {
		if len(l.byID[id]) > 0 {
			l.dirty[id] = true
		}
	}
	l.mu.Unlock()
	l.release(ids...)
}

// claimAll takes every id for a rollout. Repairs that only wait are ended; those
// in the middle of an operation are waited for.
func (l *Loop) claimAll(ctx context.Context, ids []runtimes.ID) error {
	var got []runtimes.ID
	missing := map[runtimes.ID]bool{}
	for _, id := range ids {
		missing[id] = true
	}
	for {
		l.mu.Lock()
		for id := range missing {
			if l.claim(id, nil) {
				got = append(got, id)
				delete(missing, id)
			} else if cancel := l.claimed[id]; cancel != nil {
				cancel(errPreempted)
			}
		}
		l.mu.Unlock()
		if len(missing) == 0 {
			return nil
		}
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

// later has supervise look at an instance after a while. The last word counts:
// it comes from the newest plan.
func (l *Loop) later(id runtimes.ID, wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if t := l.alarms[id]; t != nil {
		t.Stop()
	}
	if l.runCtx.Err() != nil {
		return
	}
	var t *time.Timer
	t = time.AfterFunc(wait, func() {
		l.mu.Lock()
		if l.alarms[id] == t {
			delete(l.alarms, id)
		}
		l.mu.Unlock()
		l.look(id)
	})
	l.alarms[id] = t
}

// disarm stops all alarms: the daemon ends.
func (l *Loop) disarm() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, t := range l.alarms {
		t.Stop()
	}
	for _, t := range l.world {
		if t.doze != nil {
			t.doze.Stop()
		}
	}
}

func (l *Loop) poke() {
	select {
	case l.kick <- struct{}{}:
	default:
	}
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
