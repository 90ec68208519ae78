package reconcile

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/tenement/ten/reconcile/plan"
	"github.com/tenement/ten/runtimes"
	"github.com/tenement/ten/schema"
)

// A canary has failed when more than this many in a hundred of its answers were
// failures, of no fewer answers than that.
const (
	canaryFailures = 5
	canaryAnswers  = 20
	canaryLook     = 100 * time.Millisecond
)

// muster is the new incarnations of one service that take over in one moment,
// once all of them are there. A nil one has none.
type muster struct {
	l       *Loop
	all     chan struct{} // closed when they have taken over
	mu      sync.Mutex
	missing int
	there   []*tracked
}

// muster gathers the actions that take over together, or gives nil.
func (l *Loop) muster(actions []plan.Action) *muster {
	m := &muster{l: l, all: make(chan struct{})}
	for _, a := range actions {
		if m.awaits(a) {
			m.missing++
		}
	}
	if m.missing == 0 {
		return nil
	}
	return m
}

func (m *muster) awaits(a plan.Action) bool {
	return m != nil && a.Takeover != nil && a.Takeover.Deploy == schema.DeployBlueGreen
}

// arrive tells that one is ready and waits until all have taken over. The last
// one makes it so, for whoever routes in one update.
func (m *muster) arrive(ctx context.Context, t *tracked) error {
	m.mu.Lock()
	m.there = append(m.there, t)
	m.missing--
	if m.missing == 0 {
		m.l.mu.Lock()
		if i := slices.IndexFunc(m.there, (*tracked).over); i >= 0 {
			defer m.mu.Unlock()
			defer m.l.mu.Unlock()
			return fmt.Errorf("%s %s before all could take over", m.there[i].key.ID, m.there[i].exit)
		}
		m.l.openAll(m.there...)
		m.l.mu.Unlock()
		close(m.all)
	}
	m.mu.Unlock()
	return m.l.attend(ctx, t, m.all, func() error { return nil })
}

// takeOver has a new incarnation that passed its gate get the requests of its
// instance, in the way of its deploy.
func (l *Loop) takeOver(ctx context.Context, key runtimes.Key, a plan.Action, m *muster) error {
	t := l.known(key)
	if t == nil {
		return runtimes.ErrNotFound
	}
	if m.awaits(a) {
		return m.arrive(ctx, t)
	}
	err := l.canary(ctx, t, *a.Takeover)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		t.leaving = true // it gets no more, and finishes what it has
		l.changed(key.ID)
		return err
	}
	l.openAll(t)
	return nil
}

// canary gives an incarnation a share of the requests, step by step.
func (l *Loop) canary(ctx context.Context, t *tracked, how plan.Takeover) error {
	answered, failed := l.outcome(t.key)
	for _, percent := range how.Steps {
		l.set(t, func() {
			t.share, t.next = percent, time.Now()
			l.changed(t.key.ID)
		})
		l.tell(progress{Instance: t.key.ID.String(), Text: fmt.Sprintf("%s: the new one gets %d%% of the requests for %s", t.key.ID, percent, how.Each)})
		over := make(chan struct{})
		timer := time.AfterFunc(how.Each, func() { close(over) })
		err := l.attend(ctx, t, over, func() error {
			a, f := l.outcome(t.key)
			if a, f = a-answered, f-failed; a >= canaryAnswers && f*100 > a*canaryFailures {
				return fmt.Errorf("as a canary with %d%% of the requests, %d of its %d answers were failures", percent, f, a)
			}
			return nil
		})
		timer.Stop()
		if err != nil {
			return err
		}
	}
	return nil
}

func (l *Loop) outcome(key runtimes.Key) (answered, failed uint64) {
	if l.cfg.Traffic == nil {
		return 0, 0
	}
	return l.cfg.Traffic.Outcome(key)
}

// attend watches a new incarnation until over is closed. It fails when the
// program ends, turns unhealthy, or check does.
func (l *Loop) attend(ctx context.Context, t *tracked, over <-chan struct{}, check func() error) error {
	look := time.NewTicker(canaryLook)
	defer look.Stop()
	for {
		select {
		case <-over:
			return check()
		case <-t.ended:
			return errors.New(t.exit.String())
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-look.C:
		}
		l.mu.Lock()
		sick, text := t.health == runtimes.Unhealthy, t.text
		l.mu.Unlock()
		if sick {
			return fmt.Errorf("was healthy, then not: %s", text)
		}
		if err := check(); err != nil {
			return err
		}
	}
}
