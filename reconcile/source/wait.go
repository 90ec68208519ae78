package source

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"
)

const (
	defaultPoll = 30 * time.Second
	maxBackoff  = 10 * time.Minute
)

// waiter decides when it is time to look again.
type waiter struct {
	poll time.Duration
	hint chan struct{}
	refs *refWatch

	mu       sync.Mutex
	failures int
}

func newWaiter(poll time.Duration) *waiter {
	if poll <= 0 {
		poll = defaultPoll
	}
	return &waiter{poll: poll, hint: make(chan struct{}, 1), refs: newRefWatch()}
}

// Hint asks for a look now. It never blocks; hints that come close together are
// one. It also ends a backoff.
func (g *Git) Hint() { poke(g.wait.hint) }

// Wait returns nil when it is time to call Latest again: the poll interval gave
// or take 20 % is over, or the longer pause that follows failures; somebody gave a
// hint; or the refs of a repository on this machine changed. It returns ctx's
// error when that ends first.
func (g *Git) Wait(ctx context.Context) error { return g.wait.wait(ctx) }

func (w *waiter) wait(ctx context.Context) error {
	t := time.NewTimer(w.pause())
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
	case <-w.hint:
	case <-w.refs.changed:
	}
	return nil
}

// pause doubles with each failure in a row, up to ten minutes.
func (w *waiter) pause() time.Duration {
	w.mu.Lock()
	n := w.failures
	w.mu.Unlock()
	d := w.poll << min(n, 20)
	if n > 0 && (d > maxBackoff || d <= 0) {
		d = max(maxBackoff, w.poll)
	}
	return time.Duration(float64(d) * (0.8 + 0.4*rand.Float64()))
}

// done notes how a look ended. A refused revision is an answer, not a failure.
func (w *waiter) done(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var f *FetchError
	switch {
	case errors.As(err, &f):
		w.failures++
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
	default:
		w.failures = 0
	}
}
