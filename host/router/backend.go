package router

import (
	"sync/atomic"
	"time"
)

// activity is what is under way at an instance.
type activity struct {
	open atomic.Int64 // requests and connections
	last atomic.Int64 // when one ended or sent a byte: nanoseconds of the wall clock, 0 = never
}

// touch notes that something was sent.
func (a *activity) touch(now int64) { a.last.Store(now) }

// when is the time of the last touch, zero where there was none.
func (a *activity) when() time.Time {
	if ns := a.last.Load(); ns != 0 {
		return time.Unix(0, ns)
	}
	return time.Time{}
}

// backend is what is known of an incarnation beside the table: what is under
// way there and how it did. It lives as long as a table or a request holds it.
type backend struct {
	in       Incarnation
	activity *activity
	draining atomic.Bool
	open     atomic.Int64 // requests under way
	answered atomic.Uint64
	failed   atomic.Uint64
}

func newBackend(in Incarnation, a *activity) *backend {
	b := &backend{in: in, activity: a}
	b.draining.Store(in.Draining)
	return b
}
