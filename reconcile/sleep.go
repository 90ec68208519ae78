package reconcile

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tenement/ten/reconcile/plan"
	"github.com/tenement/ten/runtimes"
)

// mostLulled is how many are put to sleep at a time. A host on which thousands
// fall idle together would have as many threads in system calls, and keep them.
const mostLulled = 64

// lull reports whether an instance may be put to sleep now. If not, it is looked
// at again soon, and nobody has a claim on it meanwhile.
func (l *Loop) lull(id runtimes.ID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lulling == mostLulled {
		l.drowsy[id] = true
		return false
	}
	l.lulling++
	return true
}

// lulled ends what lull began.
func (l *Loop) lulled() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lulling--; l.lulling > mostLulled/2 || len(l.drowsy) == 0 {
		return
	}
	for id := range l.drowsy {
		l.dirty[id] = true
	}
	clear(l.drowsy)
	l.poke()
}

// sleep puts an idle instance to sleep. It leaves the table first, and when a
// request has slipped in before that, or somebody waits for it by then, it stays.
func (l *Loop) sleep(ctx context.Context, d *desired, a plan.Action) error {
	for _, key := range a.Old {
		t := l.known(key)
		if t == nil || t.over() {
			continue
		}
		stays, err := l.nod(ctx, d, t, a)
		if err != nil || stays {
			return errors.Join(err, l.remain(ctx, t))
		}
	}
	return nil
}

// nod puts one incarnation to sleep, or says that it stays awake. Once it begins
// to stop or to be frozen it is noted as asleep, so that a daemon that is killed
// in the middle has the next one carry it on.
func (l *Loop) nod(ctx context.Context, d *desired, t *tracked, a plan.Action) (stays bool, err error) {
	id := t.key.ID
	s := d.Model.Service(id.Service)
	if s == nil {
		return false, fmt.Errorf("%s: no such service in revision %s", id.Service, short(d.Revision))
	}
	l.mu.Lock()
	awake, frozen := t.open, t.frozen
	t.leaving = true
	l.changed(id)
	l.mu.Unlock()
	if awake {
		since := l.idleSince(t)
		if since.IsZero() || l.busy(t.key) || a.Drift && time.Since(since) < s.IdleTimeout {
			return true, nil
		}
		if err := l.drain(t); err != nil {
			return true, err
		}
	}
	slept, err := l.note(context.WithoutCancel(ctx), id, false, func() bool { return l.wakers[id] == nil })
	if err != nil || !slept {
		return true, err
	}
	if !a.Freeze || frozen {
		return false, l.stop(ctx, t.key)
	}
	rt, ok := l.cfg.Runtimes[t.level].(runtimes.Suspender)
	if !ok {
		return true, fmt.Errorf("isolation level %q can't freeze an instance", t.level)
	}
	if err := rt.Suspend(context.WithoutCancel(ctx), t.key); err != nil {
		return true, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !t.over() {
		t.frozen = true
	}
	t.open, t.leaving, t.health = false, false, runtimes.Unknown
	l.watchIdle(t)
	l.changed(id)
	return false, nil
}

// remain takes back that an incarnation was about to sleep.
func (l *Loop) remain(ctx context.Context, t *tracked) error {
	l.mu.Lock()
	t.leaving = false
	there := l.world[t.key] == t
	if there && t.open {
		l.changed(t.key.ID)
		l.answer(t.key.ID, nil)
	}
	l.mu.Unlock()
	_, err := l.note(context.WithoutCancel(ctx), t.key.ID, true, func() bool {
		awake, noted := l.rests[t.key.ID]
		return there && noted && !awake && t.open
	})
	return err
}

// lost reports that the machine shows an incarnation as ended, or not at all.
func (l *Loop) lost(ctx context.Context, key runtimes.Key) bool {
	obs, err := l.observe(ctx, nil, key.Service)
	if err != nil || len(obs.Unknown) > 0 {
		return false
	}
	return !slices.ContainsFunc(obs.Instances, func(in plan.Instance) bool {
		return in.Spec.Key == key && (in.Phase.Alive() || in.Phase == runtimes.Sleeping)
	})
}

// rouse lets a frozen incarnation run again. It listens already, so it serves at once.
func (l *Loop) rouse(ctx context.Context, a plan.Action) error {
	for _, key := range a.Old {
		t := l.known(key)
		if t == nil {
			return runtimes.ErrNotFound
		}
		rt, ok := l.cfg.Runtimes[t.level].(runtimes.Suspender)
		if !ok {
			return fmt.Errorf("isolation level %q can't wake a frozen instance", t.level)
		}
		if err := rt.Resume(context.WithoutCancel(ctx), key); err != nil {
			if l.lost(ctx, key) { // it was killed in its sleep: whoever waits gets a new one
				l.look(key.ID)
				return nil
			}
			return err
		}
		l.mu.Lock()
		if !t.over() {
			t.frozen, t.health, t.failures, t.text = false, runtimes.Healthy, 0, ""
			t.next = time.Now().Add(time.Second)
			if t.address == "" {
				t.address = addressOf(t.spec)
			}
			l.opened(t)
		}
		l.mu.Unlock()
	}
	return nil
}
