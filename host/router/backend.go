package router

import (
	"context"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
)

// activity is what is under way at an instance.
type activity struct {
	open atomic.Int64 // requests and connections
	last atomic.Int64 // when one ended or sent a byte: by the router's clock, 0 = never
	// meter counts them; nil until the first.
	meter atomic.Pointer[meter]
}

// touch notes that something was sent.
func (a *activity) touch(now int64) { a.last.Store(now) }

// backend is what is known of an incarnation beside the table: what is under
// way there, how it did, and the connections to it that nobody uses. It lives as
// long as a table or a request holds it.
type backend struct {
	in       Incarnation
	activity *activity
	draining atomic.Bool
	open     atomic.Int64 // requests under way
	answered atomic.Uint64
	failed   atomic.Uint64
	clients  atomic.Pointer[transports] // for what comes through net/http

	mu   sync.Mutex
	idle []*upstream // the one used last is at the end
	gone bool        // no longer in the table
}

// upstream is a connection to a backend.
type upstream struct {
	net.Conn
	backend *backend
	since   int64 // when it was last used
	reused  bool
}

func newBackend(in Incarnation, a *activity) *backend {
	b := &backend{in: in, activity: a}
	b.draining.Store(in.Draining)
	return b
}

// enter notes a request, unless the incarnation takes none: then another has to
// be picked. One that drains sees it or is seen.
func (b *backend) enter() bool {
	b.open.Add(1)
	if b.draining.Load() {
		b.open.Add(-1)
		return false
	}
	b.activity.open.Add(1)
	return true
}

// leave ends what enter began.
func (b *backend) leave(now int64) {
	b.activity.touch(now)
	b.activity.open.Add(-1)
	b.open.Add(-1)
}

// counted notes how a request ended: with a status, or 0 for no answer.
func (b *backend) counted(status int) {
	b.answered.Add(1)
	if status == 0 || status >= 500 {
		b.failed.Add(1)
	}
}

// take gives a connection that nobody uses and that was used after a time, or nil.
func (b *backend) take(after int64) *upstream {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := len(b.idle)
	if n == 0 || b.idle[n-1].since < after {
		return nil
	}
	u := b.idle[n-1]
	b.idle[n-1] = nil
	b.idle = b.idle[:n-1]
	u.reused = true
	return u
}

// put keeps a connection for the next request.
func (b *backend) put(u *upstream, now int64) {
	u.since = now
	b.mu.Lock()
	keep := !b.gone && len(b.idle) < maxIdle
	if keep {
		b.idle = append(b.idle, u)
	}
	b.mu.Unlock()
	if !keep {
		u.Close()
	}
}

// trim closes connections that were not used since a time.
func (b *backend) trim(since int64) {
	b.mu.Lock()
	n := 0
	for n < len(b.idle) && b.idle[n].since < since {
		n++
	}
	old := append([]*upstream(nil), b.idle[:n]...)
	b.idle = append(b.idle[:0], b.idle[n:]...)
	clear(b.idle[len(b.idle):cap(b.idle)])
	if len(b.idle) == 0 {
		b.idle = nil
	}
	b.mu.Unlock()
	for _, u := range old {
		u.Close()
	}
}

// retire closes what nobody uses, now and from now on.
func (b *backend) retire() {
	b.mu.Lock()
	b.gone = true
	old := b.idle
	b.idle = nil
	b.mu.Unlock()
	for _, u := range old {
		u.Close()
	}
	if c := b.clients.Load(); c != nil {
		c.close()
	}
}

// transports speak to a backend for net/http: HTTP/1.1, and HTTP/2 for gRPC.
type transports struct{ plain, grpc *http.Transport }

func (c *transports) close() {
	c.plain.CloseIdleConnections()
	c.grpc.CloseIdleConnections()
}

// transports makes them at the first request.
func (b *backend) transports(d Dialer, headerBytes int) *transports {
	if c := b.clients.Load(); c != nil {
		return c
	}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		c, err := d.Dial(ctx, b.in)
		if err != nil {
			return nil, &dialError{err}
		}
		return c, nil
	}
	plain := &http.Transport{
		DialContext: dial, MaxIdleConnsPerHost: maxIdle, IdleConnTimeout: idleUpstream, DisableCompression: true,
		MaxResponseHeaderBytes: int64(headerBytes), ExpectContinueTimeout: freshUpstream,
	}
	grpc := plain.Clone()
	grpc.Protocols = &http.Protocols{}
	grpc.Protocols.SetUnencryptedHTTP2(true)
	c := &transports{plain: plain, grpc: grpc}
	if !b.clients.CompareAndSwap(nil, c) {
		return b.clients.Load()
	}
	return c
}

// dialError is a connection that could not be made: nothing was sent.
type dialError struct{ err error }

func (e *dialError) Error() string { return e.err.Error() }
func (e *dialError) Unwrap() error { return e.err }
