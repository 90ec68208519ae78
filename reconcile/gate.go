package reconcile

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/tenement/ten/host/probe"
	"github.com/tenement/ten/runtimes"
	"github.com/tenement/ten/schema"
)

const (
	gateHold  = 200 * time.Millisecond // between probes while min_healthy runs
	gateAlive = time.Second            // what a program that listens nowhere has to live through
	lastLines = 20
)

// gate waits until an incarnation is ready and has stayed healthy for the
// service's min_healthy. A socket that was handed to the program takes
// connections in before that does anything, so where there is no health to ask
// for, the program has to say that it is ready or to live for a moment. It fails as soon as the program ends, when
// startup_timeout is over, or when health is lost on the way. Of one that was
// woken only the first is asked, that it accepts: a request waits, and its
// revision has proved itself before.
func (l *Loop) gate(ctx context.Context, d *desired, key runtimes.Key, woken bool) error {
	s, t := d.Model.Service(key.Service), l.known(key)
	if s == nil || t == nil {
		return runtimes.ErrNotFound
	}
	l.set(t, func() { t.gating = true })
	interval := l.interval()
	defer l.set(t, func() { t.gating, t.next = false, time.Now().Add(interval) })
	if s.Health == schema.HealthNone {
		// Staying alive is all it can be asked for, so it is asked for at least a moment.
		return l.steady(ctx, t, max(s.MinHealthy, gateAlive), func() error { return nil })
	}
	r, err := l.ready(ctx, s, t, woken)
	if err != nil && ctx.Err() != nil {
		interval = 0
		return err // nobody waits any more: that says nothing of its health, which the monitor finds out
	}
	if err != nil {
		l.set(t, func() { t.health, t.text, t.failures = runtimes.Unhealthy, err.Error(), unhealthyAfter })
		return err
	}
	l.set(t, func() { t.health, t.address, t.text = runtimes.Healthy, r.Address, "" })
	if woken {
		return l.steady(ctx, t, 0, func() error { return nil })
	}
	if s.ListenFDs && s.Health == "" {
		if err := l.begins(ctx, t); err != nil {
			return err
		}
	}
	return l.steady(ctx, t, s.MinHealthy, func() error {
		if r := l.cfg.Prober.Probe(ctx, l.target(s, t)); !r.Healthy && ctx.Err() == nil {
			return fmt.Errorf("was healthy, then not: %s", r.Text)
		}
		return nil
	})
}

// begins waits until a program said that it is ready, or has lived for gateAlive.
func (l *Loop) begins(ctx context.Context, t *tracked) error {
	lived := time.After(gateAlive)
	for l.cfg.Ready == nil || !l.cfg.Ready(t.key) {
		select {
		case <-t.ended:
			return &endedError{t.exit, " before it was ready"}
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-lived:
			return nil
		case <-time.After(gateAlive / 50):
		}
	}
	return nil
}

// ready waits for the first answer, the program's end, or startup_timeout.
func (l *Loop) ready(ctx context.Context, s *schema.Service, t *tracked, woken bool) (probe.Result, error) {
	to := l.target(s, t)
	if woken {
		if s.ListenFDs { // the kernel takes connections in before the program does
			return probe.Result{Healthy: true, Address: addressOf(t.spec)}, nil
		}
		to.Path = ""
	}
	ctx, cancel := context.WithTimeoutCause(ctx, s.StartupTimeout, errSlow)
	defer cancel()
	wait, ended := context.WithCancelCause(ctx)
	defer ended(nil)
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		select {
		case <-t.ended:
			ended(errEnded)
		case <-stop:
		}
	}()
	r, err := l.cfg.Prober.WaitReady(wait, to, 0)
	switch {
	case err == nil:
		return r, l.stranger(r, t)
	case context.Cause(wait) == errEnded:
		return r, &endedError{t.exit, " before it was ready"}
	case context.Cause(ctx) == errSlow:
		return r, fmt.Errorf("not ready within %s: %s", s.StartupTimeout, r.Text)
	}
	return r, context.Cause(ctx)
}

var (
	errSlow  = errors.New("startup_timeout is over")
	errEnded = errors.New("the program ended")
)

// endedError says that a program ended while it was to become ready.
type endedError struct {
	exit runtimes.Exit
	when string
}

func (e *endedError) Error() string { return e.exit.String() + e.when }

// stranger refuses an answer that came from somebody else's listener on the port.
func (l *Loop) stranger(r probe.Result, t *tracked) error {
	l.mu.Lock()
	own := t.pid
	l.mu.Unlock()
	if own == 0 || t.port == 0 || t.network == runtimes.NetworkNone || strings.HasPrefix(r.Address, "unix:") {
		return nil
	}
	if pid, command, yes := probe.Stranger(t.port, own); yes {
		return fmt.Errorf("port %d is answered by %s (pid %d), not by this instance", t.port, command, pid)
	}
	return nil
}

// steady keeps watching for the given time that an incarnation lives and check
// holds, then opens its gate.
func (l *Loop) steady(ctx context.Context, t *tracked, how time.Duration, check func() error) error {
	until := time.After(how)
	for {
		select {
		case <-t.ended:
			return &endedError{t.exit, ""}
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-until:
			if t.over() {
				return &endedError{t.exit, ""}
			}
			l.set(t, func() {
				t.health = runtimes.Healthy
				l.opened(t)
			})
			return nil
		case <-time.After(gateHold):
			if err := check(); err != nil {
				return err
			}
		}
	}
}

// target is where an incarnation is to be asked. Without a port or socket of
// its own that answered before, both are tried. One with a network of its own is
// asked in there.
func (l *Loop) target(s *schema.Service, t *tracked) probe.Target {
	to := probe.Target{Port: t.port, Socket: t.socket, Path: s.Health}
	if d, ok := l.cfg.Runtimes[t.level].(runtimes.Dialer); ok && (t.network == runtimes.NetworkNone || t.socket != "") {
		to.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			return d.Dial(ctx, t.key, network, address)
		}
	}
	return to
}

func (l *Loop) set(t *tracked, change func()) {
	l.mu.Lock()
	change()
	l.mu.Unlock()
	l.news.tell()
}

// interval is how often a running instance is probed.
func (l *Loop) interval() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.force == nil {
		return 10 * time.Second
	}
	return l.force.Model.Settings.HealthCheckInterval
}

// lastLines returns what an incarnation printed last. That of a program that
// just ended may still be on its way.
func (l *Loop) lastLines(key runtimes.Key) []string {
	ctx, cancel := context.WithTimeout(l.runCtx, time.Second)
	defer cancel()
	if t := l.known(key); t != nil {
		select {
		case <-t.ended:
			select {
			case <-t.heard:
				_ = l.cfg.Output.Drained(ctx, key)
			case <-ctx.Done():
			}
		default:
		}
	}
	return l.tail(key.ID)
}

func (l *Loop) tail(id runtimes.ID) []string {
	lines, err := l.cfg.Output.Tail(id.Service, id.Instance, lastLines)
	if err != nil {
		return nil // it printed nothing
	}
	texts := make([]string, len(lines))
	for i, line := range lines {
		texts[i] = line.Text
	}
	return texts
}
