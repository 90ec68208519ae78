package router

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/tenement/ten/runtimes"
	"github.com/tenement/ten/schema"
)

// Why a request gets no backend.
var (
	errNone    = errors.New("no instance takes requests")
	errQueue   = errors.New("too many requests wait for it to wake (wake_queue)")
	errStartup = errors.New("it did not serve within startup_timeout")
	errCrowd   = errors.New("the service has max_instances already")
	errUnknown = errors.New("no such instance")
)

// wake is one start that requests wait for. It has a life of its own: who
// leaves doesn't end it for the others.
type wake struct {
	done    chan struct{}
	err     error // valid once done is closed
	waiting int
	// stranger is an instance that the table doesn't have.
	stranger bool
}

// wake has an instance started and waits until it was published, its start
// failed, or until the end.
func (r *Router) wake(ctx context.Context, id runtimes.ID, decl *schema.Service, known bool, until time.Time) error {
	w, err := r.join(ctx, id, decl, known)
	if err != nil || w == nil {
		return err
	}
	defer r.unjoin(w)
	late := time.NewTimer(time.Until(until))
	defer late.Stop()
	select {
	case <-w.done:
		return w.err
	case <-late.C:
		return errStartup
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// maxStrangers bounds how many instances that nobody declared are being woken:
// their names come from clients.
const maxStrangers = 256

// join enters the wake of an instance, or begins one; nil where it has just come
// to serve.
func (r *Router) join(ctx context.Context, id runtimes.ID, decl *schema.Service, known bool) (*wake, error) {
	queue := decl.WakeQueue
	if queue <= 0 {
		queue = defaultQueue
	}
	r.waking.Lock()
	defer r.waking.Unlock()
	w := r.wakes[id]
	if w == nil { // the wake that was seen to be needed may be over
		if e := r.table.Load().entry(id); e != nil && e.serves() {
			return nil, nil
		}
	}
	if w == nil && !known && r.strangers >= maxStrangers {
		return nil, errCrowd
	}
	if w == nil {
		w = &wake{done: make(chan struct{}), stranger: !known}
		r.wakes[id] = w
		if w.stranger {
			r.strangers++
		}
		if base := r.base.Load(); base != nil {
			ctx = *base
		} else {
			ctx = context.WithoutCancel(ctx)
		}
		go r.start(ctx, id, decl, w)
	}
	if w.waiting >= queue {
		return nil, errQueue
	}
	w.waiting++
	return w, nil
}

func (r *Router) unjoin(w *wake) {
	r.waking.Lock()
	w.waiting--
	r.waking.Unlock()
}

// start is the one call of the waker for all who wait.
func (r *Router) start(ctx context.Context, id runtimes.ID, decl *schema.Service, w *wake) {
	ctx, cancel := context.WithTimeout(ctx, startup(decl)+time.Second)
	defer cancel()
	err := r.cfg.Waker.Wake(ctx, id)
	r.waking.Lock()
	w.err = err
	delete(r.wakes, id)
	if w.stranger {
		r.strangers--
	}
	r.waking.Unlock()
	close(w.done)
	if err != nil {
		r.warn("instance not woken", id, err)
	}
}

func startup(decl *schema.Service) time.Duration {
	if decl.StartupTimeout > 0 {
		return decl.StartupTimeout
	}
	return defaultStartup
}

// hold finds a backend for one request and keeps the request until there is one,
// within the service's startup_timeout: through a wake, and through a crash and
// restart of the instance.
type hold struct {
	r     *Router
	match *Match
	tried []*backend // could not be reached
	began time.Time  // when it first had to wait
	pause time.Duration
}

// next gives a backend that the request was entered at. ctx is asked for only
// where there is something to wait for.
func (h *hold) next(ctx func() context.Context) (*backend, error) {
	for {
		e, b := h.r.table.Load().pick(h.match, h.r.random(), h.tried)
		switch {
		case b != nil && !slices.Contains(h.tried, b):
			if b.enter() {
				return b, nil
			}
			fallthrough // it drains, and the table that says so is just being put in force
		case b != nil:
			h.tried = h.tried[:0]
			if err := h.rest(ctx()); err != nil {
				return nil, err
			}
		default:
			if err := h.rouse(ctx(), e); err != nil {
				return nil, err
			}
		}
	}
}

// rouse wakes the instance that was picked, or the one that was asked for.
func (h *hold) rouse(ctx context.Context, e *entry) error {
	id, decl := h.match.ID, h.match.service.decl
	if e != nil {
		id = e.ID
	}
	s, known := h.r.table.Load().services.get(id.Service)
	switch {
	case e == nil && (h.match.Kind == Weighted || !known):
		return errNone
	case e == nil && !decl.OnDemand:
		return errUnknown
	case e != nil && !e.Wakes:
		return h.rest(ctx)
	case e == nil && decl.MaxInstances > 0 && s.entries.size() >= decl.MaxInstances:
		return errCrowd
	}
	if err := h.r.wake(ctx, id, decl, e != nil, h.until()); err != nil {
		if errors.Is(err, errStartup) || ctx.Err() != nil || h.match.Kind == Direct || h.pause > 0 {
			return err
		}
		return h.rest(ctx) // once: perhaps another is picked
	}
	if e := h.r.table.Load().entry(id); e == nil || !e.serves() {
		return h.rest(ctx)
	}
	return nil
}

// refused notes a backend that could not be reached.
func (h *hold) refused(b *backend) { h.tried = append(h.tried, b) }

func (h *hold) until() time.Time {
	if h.began.IsZero() {
		h.began = time.Now()
	}
	return h.began.Add(startup(h.match.service.decl))
}

// rest waits a little for the table to change: longer each time, to 50 ms.
func (h *hold) rest(ctx context.Context) error {
	left := time.Until(h.until())
	if left <= 0 {
		return errStartup
	}
	h.pause = min(max(2*h.pause, time.Millisecond), 50*time.Millisecond, left)
	t := time.NewTimer(h.pause)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
