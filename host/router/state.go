// Package router takes requests to instances. Which request goes where is a
// Table: an immutable value made by pure functions and swapped, so that the way
// of a request takes no lock. The router starts and stops nothing: where
// an instance sleeps it notes the demand (Waker) and holds the request until the
// instance serves.
package router

import (
	"context"
	"net"

	"github.com/tenement/ten/runtimes"
	"github.com/tenement/ten/schema"
)

// Update is what changed since the one before. It is not changed once it was
// handed over.
type Update struct {
	Model *schema.Model // in force; never nil
	// Whole says that Endpoints are all there are; else they are those that
	// changed, and all others stand as they were.
	Whole     bool
	Endpoints []Endpoint
}

// Endpoint is an instance as a router sees it. Those that sleep are there too.
type Endpoint struct {
	ID     runtimes.ID
	Weight int // 0 to 100: its share beside the service's other instances
	// Serving are its incarnations that may be given requests, oldest first; empty
	// while it sleeps or is down.
	Serving []Incarnation
	// Wakes says that a request may start it: it sleeps, or it is coming back.
	// One that neither serves nor wakes is no more.
	Wakes bool
}

// Incarnation is one that serves, or that finishes what it began.
type Incarnation struct {
	Key     runtimes.Key
	Level   runtimes.Level
	Network string // of its Spec: where Address lies
	Address string // "127.0.0.1:31200" or "unix:/path"
	// Share is the percentage of its instance's requests that it gets; those of
	// all that serve make 100. A draining one gets no new ones.
	Share    int
	Draining bool
}

// Waker starts a sleeping instance and returns once it was published as
// serving. All callers for one instance share one start; each leaves with its
// own context. The error says why it can't be had.
type Waker interface {
	Wake(ctx context.Context, id runtimes.ID) error
}

// Dialer connects to the address of an incarnation, in its own network where it
// has one.
type Dialer interface {
	Dial(ctx context.Context, in Incarnation) (net.Conn, error)
}
