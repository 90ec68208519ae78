package fake

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"time"

	"github.com/tenement/ten/runtimes"
)

// Suspend lists the incarnation as Sleeping from then on. It goes on ending as
// scripted: what was to end while it sleeps ends once it is resumed.
func (r *Runtime) Suspend(ctx context.Context, key runtimes.Key) error {
	inc, err := r.turn(ctx, Suspend, key)
	if inc == nil || err != nil {
		return err
	}
	r.w.mu.Lock()
	defer r.w.mu.Unlock()
	if inc.in.Phase == runtimes.Running {
		inc.in.Phase = runtimes.Sleeping
	}
	return nil
}

// Suspends says that it can.
func (r *Runtime) Suspends() error { return nil }

// Resume lists it as Running again.
func (r *Runtime) Resume(ctx context.Context, key runtimes.Key) error {
	inc, err := r.turn(ctx, Resume, key)
	if inc == nil || err != nil {
		return err
	}
	r.w.mu.Lock()
	defer r.w.mu.Unlock()
	if inc.in.Phase == runtimes.Sleeping {
		inc.in.Phase = runtimes.Running
		if inc.overdue != nil {
			inc.end(*inc.overdue)
		}
	}
	return nil
}

// turn notes a call, lets it take its time, and gives the incarnation that it is
// for, or why it fails.
func (r *Runtime) turn(ctx context.Context, op Op, key runtimes.Key) (*incarnation, error) {
	r.w.mu.Lock()
	err := r.w.enter(op)
	inc := r.w.running[place{r.level, key}]
	if inc == nil {
		err = cmp.Or(err, runtimes.ErrNotFound)
	}
	var delay time.Duration
	if err == nil {
		r.w.calls = append(r.w.calls, string(op)+" "+key.String())
		delay = inc.program.SuspendDelay
		if op == Resume {
			delay = inc.program.ResumeDelay
		}
	}
	r.w.mu.Unlock()
	if err != nil {
		return nil, err
	}
	select {
	case <-time.After(delay):
		return inc, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// Dial connects as the script of the incarnation says; by default nobody listens.
// One that sleeps or has ended is not asked.
func (r *Runtime) Dial(ctx context.Context, key runtimes.Key, network, address string) (net.Conn, error) {
	r.w.mu.Lock()
	err := r.w.enter(Dial)
	inc := r.w.running[place{r.level, key}]
	var dial func(context.Context, string, string) (net.Conn, error)
	if inc != nil && inc.in.Phase == runtimes.Running {
		dial = inc.program.Dial
	}
	r.w.mu.Unlock()
	switch {
	case err != nil:
		return nil, err
	case inc == nil:
		return nil, runtimes.ErrNotFound
	case dial == nil:
		return nil, &net.OpError{Op: "dial", Net: network, Err: fmt.Errorf("%s: nobody listens", address)}
	}
	return dial(ctx, network, address)
}
