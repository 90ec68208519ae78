package router

import (
	"context"
	"time"

	"github.com/tenement/ten/runtimes"
)

// This file is what the loop asks: who is idle, who is drained, how a new
// revision does.

// Activity says how many requests and connections of an instance are under way,
// and when the last one ended or sent a byte; zero = none so far. Those that wait
// for the instance to wake are not among them: the waker knows of them.
func (r *Router) Activity(id runtimes.ID) (open int, last time.Time) {
	e := r.table.Load().entry(id)
	if e == nil {
		return 0, time.Time{}
	}
	return int(e.activity.open.Load()), r.clock.wall(e.activity.last.Load())
}

// Outcome counts the requests that an incarnation answered since it was
// published, and those of them that failed: no answer, or a 5xx.
func (r *Router) Outcome(key runtimes.Key) (answered, failed uint64) {
	b := r.find(key)
	if b == nil {
		return 0, 0
	}
	return b.answered.Load(), b.failed.Load()
}

func (r *Router) find(key runtimes.Key) *backend {
	if e := r.table.Load().entry(key.ID); e != nil {
		return e.backend(key)
	}
	return nil
}

// Drain waits until nothing of an incarnation is under way; it has to be
// published as Draining before. When ctx ends, WebSockets and streams of events
// are told, everything else that is left is cut, and the reason is returned.
func (r *Router) Drain(ctx context.Context, key runtimes.Key) error {
	b := r.find(key)
	if b == nil {
		return nil
	}
	b.trim(r.clock.load() + 1)
	if r.drained(ctx, b) {
		return nil
	}
	for _, one := range r.all() {
		one.cut(b)
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*lingerFor)
	defer cancel()
	r.drained(end, b)
	return context.Cause(ctx)
}

// drained waits until nothing is under way at b, or ctx ends.
func (r *Router) drained(ctx context.Context, b *backend) bool {
	for pause := time.Millisecond; b.open.Load() > 0; pause = min(2*pause, 20*time.Millisecond) {
		t := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			t.Stop()
			return b.open.Load() <= 0
		case <-t.C:
		}
	}
	return true
}
