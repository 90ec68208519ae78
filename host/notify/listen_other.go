//go:build !linux

package notify

import (
	"context"

	"github.com/tenement/ten/runtimes"
)

// Listener hears nothing where no instance can run.
type Listener struct{ *notes }

// Listen reads what is there.
func Listen(cfg Config) (*Listener, error) {
	n, err := newNotes(cfg)
	return &Listener{notes: n}, err
}

// Said gives what an incarnation has said of itself so far.
func (l *Listener) Said(key runtimes.Key) Said { return l.get(key) }

// Busy reports that an incarnation is in the middle of something.
func (l *Listener) Busy(key runtimes.Key) bool { return l.get(key).Busy() }

// Run waits for the end of ctx.
func (l *Listener) Run(ctx context.Context) error {
	<-ctx.Done()
	return context.Cause(ctx)
}
