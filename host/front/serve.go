package front

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// gate is one open listener.
type gate struct {
	name, address string
	listener      net.Listener
	want          atomic.Pointer[Settings]
	serving       bool // guarded by Door.mu
}

func (g *gate) close() { g.listener.Close() }

// serving is what runs while the Door does.
type serving struct {
	ctx   context.Context // ends when the Door closes
	cfg   Config
	group sync.WaitGroup

	server   *http.Server // what Handler answers
	redirect *http.Server
	handed   *handoff // its connections
	leading  *handoff // those of redirect

	https atomic.Pointer[string] // the port that redirect leads to

	mu    sync.Mutex
	conns map[net.Conn]struct{} // those that are not yet, or never, a server's
	cut   bool
}

func newServing(ctx context.Context, cfg Config) *serving {
	s := &serving{ctx: ctx, cfg: cfg, handed: newHandoff(), leading: newHandoff(), conns: map[net.Conn]struct{}{}}
	logger := slog.NewLogLogger(cfg.Log.Handler(), slog.LevelDebug)
	server := func(h http.Handler) *http.Server {
		protocols := new(http.Protocols)
		protocols.SetHTTP1(true)
		protocols.SetHTTP2(true)
		protocols.SetUnencryptedHTTP2(true)
		return &http.Server{
			Handler: h, Protocols: protocols, ErrorLog: logger, MaxHeaderBytes: cfg.MaxHeader,
			ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout,
			// A server's own Shutdown says when; the end of ctx must not end requests.
			BaseContext: func(net.Listener) context.Context { return context.WithoutCancel(ctx) },
		}
	}
	s.server = server(cfg.Handler)
	s.redirect = server(cfg.Challenges(http.HandlerFunc(s.toHTTPS)))
	s.group.Go(func() { _ = s.server.Serve(s.handed) })    // ends by Shutdown
	s.group.Go(func() { _ = s.redirect.Serve(s.leading) }) // likewise
	return s
}

// serve begins to take connections from a gate, once. Called with the Door's mu held.
func (s *serving) serve(g *gate) {
	if g.serving {
		return
	}
	g.serving = true
	s.group.Go(func() { s.accept(g) })
}

// accept takes connections until the gate is closed. Where the host is short of
// files it waits a little rather than give up.
func (s *serving) accept(g *gate) {
	var pause time.Duration
	for {
		c, err := g.listener.Accept()
		switch {
		case err == nil:
			pause = 0
			s.group.Go(func() { s.take(g, c) })
			continue
		case errors.Is(err, net.ErrClosed):
			return
		}
		pause = min(max(2*pause, 5*time.Millisecond), time.Second)
		s.cfg.Log.Warn("connection not taken", "err", err)
		select {
		case <-s.ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// take finds out what a connection is, and has it served.
func (s *serving) take(g *gate, c net.Conn) {
	raw := c
	if !s.track(raw) {
		c.Close()
		return
	}
	defer s.untrack(raw)
	want := g.want.Load()
	c, err := unwrapProxy(c, want)
	if err != nil {
		s.cfg.Log.Debug("connection refused", "reason", "no PROXY header", "err", err)
		raw.Close()
		return
	}
	if g.name == NameHTTPS {
		s.secure(raw, c)
		return
	}
	if want.HTTPS != "" {
		s.untrack(raw)
		s.leading.give(c)
		return
	}
	s.serveConn(raw, c)
}

// serveConn serves what is not HTTP/2 over TLS.
func (s *serving) serveConn(raw, c net.Conn) {
	if s.cfg.ServeConn == nil {
		s.untrack(raw)
		s.handed.give(c)
		return
	}
	s.cfg.ServeConn(s.ctx, c)
}

// lastHandshake is how long a handshake may still take when the Door closes.
const lastHandshake = time.Second

// secure makes the handshake, and goes on with what both sides agreed on.
func (s *serving) secure(raw, c net.Conn) {
	t := tls.Server(c, s.cfg.Secure)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), handshakeTimeout)
	defer cancel()
	stop := context.AfterFunc(s.ctx, func() { time.AfterFunc(lastHandshake, cancel) })
	defer stop()
	if err := t.HandshakeContext(ctx); err != nil {
		raw.Close()
		return
	}
	switch t.ConnectionState().NegotiatedProtocol {
	case "h2":
		s.untrack(raw)
		s.handed.give(t)
	case "", "http/1.1":
		s.serveConn(raw, t)
	default: // a challenge of the authority: the handshake was all of it
		t.Close()
	}
}

// track remembers a connection, so that it can be cut; false when it is too late.
func (s *serving) track(c net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.cut {
		s.conns[c] = struct{}{}
	}
	return !s.cut
}

func (s *serving) untrack(c net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
}

// end lets what is under way finish for the grace period, and cuts the rest.
func (s *serving) end() {
	grace, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), s.cfg.Grace)
	defer cancel()
	var servers sync.WaitGroup
	for _, server := range []*http.Server{s.server, s.redirect} {
		servers.Go(func() {
			if server.Shutdown(grace) != nil {
				server.Close()
			}
		})
	}
	stop := context.AfterFunc(grace, s.cutAll)
	servers.Wait()
	s.group.Wait()
	stop()
}

// cutAll closes every connection that no server knows.
func (s *serving) cutAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cut = true
	for c := range s.conns {
		c.Close()
	}
}

// handoff is a listener that is given its connections.
type handoff struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newHandoff() *handoff {
	return &handoff{conns: make(chan net.Conn), done: make(chan struct{})}
}

// give hands a connection over, or closes it when nobody takes it any more.
func (h *handoff) give(c net.Conn) {
	select {
	case h.conns <- c:
	case <-h.done:
		c.Close()
	}
}

// Accept gives the next connection.
func (h *handoff) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.done:
		return nil, net.ErrClosed
	}
}

// Close ends Accept.
func (h *handoff) Close() error {
	h.once.Do(func() { close(h.done) })
	return nil
}

// Addr is the address of no listener in particular.
func (h *handoff) Addr() net.Addr { return &net.TCPAddr{} }
