//go:build !linux

package launch

import (
	"context"
	"errors"
	"io"
	"net"

	"github.com/tenement/ten/runtimes"
)

// Launcher starts instances on Linux only; here it refuses.
type Launcher struct{ cfg Config }

// New checks the config, so that a mistake in it shows on every system.
func New(cfg Config) (*Launcher, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	return &Launcher{cfg: cfg}, nil
}

// Close does nothing.
func (l *Launcher) Close() error { return nil }

// Ready says that this is not Linux.
func (l *Launcher) Ready(level runtimes.Level) error {
	return &runtimes.UnsupportedError{Level: level, Reason: "it needs Linux", Hint: "run ten serve on a Linux host"}
}

// Level runs nothing here.
type Level struct {
	l    *Launcher
	name runtimes.Level
}

// Level gives a level that refuses.
func (l *Launcher) Level(name runtimes.Level, _ func(*runtimes.Spec) (Recipe, error)) *Level {
	return &Level{l: l, name: name}
}

// Start refuses.
func (v *Level) Start(_ context.Context, spec runtimes.Spec) (runtimes.Instance, error) {
	return runtimes.Instance{}, &runtimes.StartError{Key: spec.Key, Step: "start", Object: string(v.name), Err: v.l.Ready(v.name)}
}

// Stop has nothing to stop.
func (v *Level) Stop(context.Context, runtimes.Key) error { return nil }

// List finds nothing, for nothing can have been started.
func (v *Level) List(context.Context) ([]runtimes.Instance, error) { return nil, nil }

// Wait finds nothing.
func (v *Level) Wait(context.Context, runtimes.Key) (runtimes.Exit, error) {
	return runtimes.Exit{}, runtimes.ErrNotFound
}

// Update finds nothing.
func (v *Level) Update(context.Context, runtimes.Spec) error { return runtimes.ErrNotFound }

// Suspend finds nothing.
func (v *Level) Suspend(context.Context, runtimes.Key) error { return runtimes.ErrNotFound }

// Suspends says that nothing can be frozen here.
func (v *Level) Suspends() error { return errors.ErrUnsupported }

// Resume finds nothing.
func (v *Level) Resume(context.Context, runtimes.Key) error { return runtimes.ErrNotFound }

// Owner finds nothing.
func (v *Level) Owner(int) (runtimes.Key, bool) { return runtimes.Key{}, false }

// Has finds nothing.
func (v *Level) Has(runtimes.Key) bool { return false }

// Dial finds nothing.
func (v *Level) Dial(context.Context, runtimes.Key, string, string) (net.Conn, error) {
	return nil, runtimes.ErrNotFound
}

// Output finds nothing.
func (v *Level) Output(runtimes.Key) (stdout, stderr io.ReadCloser, err error) {
	return nil, nil, runtimes.ErrNotFound
}

// Try says that this is not Linux.
func (v *Level) Try(context.Context, Recipe) error { return v.l.Ready(v.name) }
