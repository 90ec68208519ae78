package reconcile

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tenement/ten/host/api"
	"github.com/tenement/ten/runtimes"
	"github.com/tenement/ten/schema"
)

// waker is what all who wait for one instance share.
type waker struct {
	wait int // how many
	lost int // how often the program was killed in its start, and started again
	done chan struct{}
	err  error // valid once done is closed
}

// Wake starts a sleeping instance and waits until it serves. All callers for
// one instance share one start; each leaves with its own context, and the start
// goes on without them.
func (l *Loop) Wake(ctx context.Context, id runtimes.ID) error {
	if err := l.up(ctx); err != nil {
		return err
	}
	l.mu.Lock()
	d := l.force
	why, held := l.failed[id.Service]
	l.mu.Unlock()
	if d == nil {
		return errors.New("nothing was applied yet")
	}
	s := d.Model.Service(id.Service)
	if s == nil {
		return fmt.Errorf("no service %q", id.Service)
	}
	if held {
		return fmt.Errorf("wake %s: %s", id, why)
	}
	if !declares(s, id) {
		if err := l.mayWake(s, id); err != nil {
			return err
		}
	}
	if err := l.unstop(ctx, s, id); err != nil {
		return err
	}
	w, first := l.waker(id)
	if w == nil {
		return nil
	}
	defer l.leave(id, w)
	if first {
		l.spawn(func() { l.call(s, id) })
	}
	late := time.NewTimer(s.StartupTimeout + time.Second)
	defer late.Stop()
	select {
	case <-w.done:
		if w.err != nil {
			return fmt.Errorf("wake %s: %w", id, w.err)
		}
		return nil
	case <-late.C:
		return fmt.Errorf("wake %s: it does not serve after %s; see: ten why %s", id, s.StartupTimeout+time.Second, id.Service)
	case <-ctx.Done():
		return fmt.Errorf("wake %s: %w", id, context.Cause(ctx))
	case <-l.finished:
		return fmt.Errorf("wake %s: %w", id, errOver)
	}
}

// waker gives what is closed when an instance serves, or nil when it does, and
// whether the caller is the first who waits.
func (l *Loop) waker(id runtimes.ID) (w *waker, first bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.serves(id) {
		return nil, false
	}
	w = l.wakers[id]
	if first = w == nil; first {
		w = &waker{done: make(chan struct{})}
		l.wakers[id] = w
	}
	w.wait++
	return w, first
}

// leave ends the wait of one caller.
func (l *Loop) leave(id runtimes.ID, w *waker) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if w.wait--; w.wait == 0 && l.wakers[id] == w {
		delete(l.wakers, id)
	}
}

// opened opens the gate of an incarnation: it may serve. Called with mu held.
func (l *Loop) opened(t *tracked) {
	if t.open || t.held && l.serves(t.key.ID) {
		return
	}
	l.openAll(t)
}

// openAll opens gates in one moment. Called with mu held.
func (l *Loop) openAll(all ...*tracked) {
	var ids []runtimes.ID
	for _, t := range all {
		t.open, t.held, t.share, t.since = true, false, 0, time.Now()
		ids = append(ids, t.key.ID)
	}
	l.changed(ids...)
	for _, t := range all {
		l.answer(t.key.ID, nil)
		l.came(t.key.Service)
		l.watchIdle(t)
	}
}

// serves reports that an instance gets requests. Called with mu held.
func (l *Loop) serves(id runtimes.ID) bool {
	return slices.ContainsFunc(l.byID[id], func(t *tracked) bool { return t.open && !t.leaving && !t.over() })
}

// unserved tells those who wait for an instance why it does not serve.
func (l *Loop) unserved(id runtimes.ID, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.answer(id, err)
}

// mostLost is how many kills in its start a request waits through.
const mostLost = 2

// onceMore lets those who wait go on waiting when the program was killed in its
// start: it comes back after its backoff. Not for ever: in the end that is no
// accident.
func (l *Loop) onceMore(id runtimes.ID, err error) bool {
	ended, ok := errors.AsType[*endedError](err)
	if !ok || ended.exit.Signal == 0 || ended.exit.OOM {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	w := l.wakers[id]
	if w == nil || w.lost == mostLost {
		return false
	}
	w.lost++
	return true
}

// answer is for all who wait for an instance. Called with mu held.
func (l *Loop) answer(id runtimes.ID, err error) {
	if w := l.wakers[id]; w != nil {
		w.err = err
		close(w.done)
		delete(l.wakers, id)
	}
}

// clearEnded removes what is left of an instance that ended for good by its
// restart policy: somebody asks for it again.
func (l *Loop) clearEnded(ctx context.Context, s *schema.Service, id runtimes.ID) error {
	l.mu.Lock()
	mine := len(l.byID[id]) > 0
	for _, t := range l.byID[id] {
		forGood := t.over() && t.exit.Known && (s.Restart == schema.RestartNever || s.Restart == schema.RestartOnFailure && t.exit.Code == 0)
		mine = mine && forGood
	}
	there := slices.Clone(l.byID[id])
	mine = mine && !l.down && l.claim(id, nil)
	l.mu.Unlock()
	if !mine {
		return nil
	}
	defer l.release(id)
	for _, t := range there {
		if err := l.stop(ctx, t.key); err != nil {
			return fmt.Errorf("wake %s: remove what has ended: %w", id, err)
		}
	}
	return nil
}

// mayWake says whether an instance that git does not declare may be woken.
func (l *Loop) mayWake(s *schema.Service, id runtimes.ID) error {
	l.mu.Lock()
	spawned := l.hands[id].Spawned
	l.mu.Unlock()
	if !s.OnDemand && len(s.Instances) > 0 && !spawned {
		return fmt.Errorf("%s is not declared, and %s is not on_demand", id, s.Name)
	}
	return l.fitsIn(s, id)
}

// fitsIn says whether an id is one, and whether there is room for it.
func (l *Loop) fitsIn(s *schema.Service, id runtimes.ID) error {
	if !schema.ValidInstanceID(id.Instance) {
		return fmt.Errorf("instance id %q: want lower-case letters, digits and dashes, at most 63", id.Instance)
	}
	n := len(s.Instances)
	l.mu.Lock()
	there := len(l.byID[id]) > 0 || l.hands[id].Spawned
	for other := range l.byID {
		if other.Service == s.Name && !declares(s, other) {
			n++
		}
	}
	for other, h := range l.hands {
		if other.Service == s.Name && h.Spawned && !declares(s, other) && len(l.byID[other]) == 0 {
			n++
		}
	}
	l.mu.Unlock()
	if !there && n >= s.MaxInstances {
		return fmt.Errorf("%s has %d instances already, its max_instances", s.Name, n)
	}
	return nil
}

// declares reports that git declares an instance.
func declares(s *schema.Service, id runtimes.ID) bool {
	_, found := slices.BinarySearch(s.Instances, id.Instance)
	return found
}

func (l *Loop) doWake(ctx context.Context, c api.Command) (string, error) {
	id := runtimes.ID{Service: c.Service, Instance: c.Instance}
	began := time.Now()
	if err := l.Wake(ctx, id); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s is awake after %s", id, took(began)), nil
}
