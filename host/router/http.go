package router

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
)

// This file is the way of what comes through net/http: HTTP/2, gRPC, and
// connections that asked for the daemon's own pages once. It decides by the same
// table and holds as ServeConn does.

type infoKey struct{}

// ServeHTTP answers a request that net/http has read.
func (r *Router) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	match := r.table.Load().Lookup(req.Host, req.URL.EscapedPath())
	switch {
	case r.tooLarge(req):
		writeFault(w, faultTooLarge)
	case match.Kind == Root && r.cfg.Root != nil:
		r.cfg.Root.ServeHTTP(w, req)
	case match.Kind == Refused:
		writeFault(w, faultBad)
	case match.Kind == Root, match.Kind == Nowhere:
		writeFault(w, faultNotFound)
	case req.Method == http.MethodConnect:
		writeFault(w, faultMethod)
	default:
		r.exchange(w, req, &match)
	}
}

// transit is a request on its way through net/http.
type transit struct {
	match  *Match
	at     atomic.Pointer[backend]
	cancel context.CancelFunc
	due    atomic.Int64
	late   atomic.Bool
	asking atomic.Bool // waits for its client to send more of the body
	began  int64       // by clock.exact
}

// counted notes how the request ended at b: with a status, or 0 for no answer.
func (t *transit) counted(r *Router, b *backend, status int) {
	b.counted(status)
	r.metered(b.activity, t.began)
}

type transitKey struct{}

func (r *Router) exchange(w http.ResponseWriter, req *http.Request, m *Match) {
	if limit := r.maxBody(); limit > 0 {
		if req.ContentLength > limit {
			writeFault(w, faultBody)
			return
		}
		req.Body = http.MaxBytesReader(w, req.Body, limit)
	}
	if toHTTP2([]byte(strings.Join(req.Header["Upgrade"], ","))) {
		req.Header.Del("Upgrade")
	}
	ctx, cancel := context.WithCancel(req.Context())
	defer cancel()
	t := &transit{match: m, cancel: cancel, began: r.clock.exact()}
	r.enter(t)
	defer r.leave(t)
	defer func() { // the proxy panics where a client leaves
		if b := t.at.Load(); b != nil {
			b.leave(r.clock.load())
		}
	}()
	r.proxy.ServeHTTP(w, req.WithContext(context.WithValue(ctx, transitKey{}, t)))
}

func (t *transit) sweep(now int64) {
	if due := t.due.Load(); due > 0 && due < now {
		t.late.Store(true)
		t.cancel()
	}
}

func (t *transit) cut(b *backend) {
	if b == nil || t.at.Load() == b {
		t.cancel()
	}
}

func writeFault(w http.ResponseWriter, f fault) {
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	if f == faultUnavailable {
		h.Set("Retry-After", "1")
	}
	w.WriteHeader(int(f))
	w.Write([]byte(f.Error() + "\n"))
}

// newProxy makes what carries requests and answers, bodies as they come.
func (r *Router) newProxy() http.Handler {
	return &httputil.ReverseProxy{
		Rewrite:       r.rewrite,
		Transport:     roundTripper{r},
		FlushInterval: -1,
		BufferPool:    &copyBuffers{},
		ErrorLog:      slog.NewLogLogger(r.log.Handler(), slog.LevelDebug), // clients that leave, mostly
		ErrorHandler: func(w http.ResponseWriter, req *http.Request, err error) {
			t := req.Context().Value(transitKey{}).(*transit)
			switch {
			case t.late.Load() && t.asking.Load():
				err = faultSlow
			case t.late.Load():
				err = errStartup
			}
			var tooLarge *http.MaxBytesError
			switch f := r.faultOf(err, t.match); {
			case errors.As(err, &tooLarge):
				writeFault(w, faultBody)
			case f == 0:
				panic(http.ErrAbortHandler)
			default:
				writeFault(w, f)
			}
		},
		ModifyResponse: func(res *http.Response) error {
			t := res.Request.Context().Value(transitKey{}).(*transit)
			t.due.Store(0)
			t.counted(r, t.at.Load(), res.StatusCode)
			return nil
		},
	}
}

// rewrite makes the request for the backend: the same, and who the client is.
func (r *Router) rewrite(p *httputil.ProxyRequest) {
	out, in := p.Out, p.In
	info, _ := in.Context().Value(infoKey{}).(ConnInfo)
	if info.TLS == nil {
		info.TLS = in.TLS
	}
	o := r.origin(info, remoteAddr(in))
	out.Host, out.URL.Scheme, out.URL.Host = in.Host, "http", "backend"
	dropForwarded(out.Header)
	var chain []byte
	if o.trusted {
		for name, v := range in.Header {
			switch kindOf([]byte(name)) {
			case kindForwarded, kindProto, kindForwardedHost, kindRequestID:
				out.Header[name] = v
			}
		}
		if v := in.Header["X-Forwarded-For"]; v != nil {
			out.Header.Set("X-Forwarded-For", strings.Join(v, ", ")+", "+o.addr)
		}
		if v := in.Header["Forwarded"]; v != nil {
			chain = append([]byte(strings.Join(v, ", ")), ", "...)
		}
	}
	for name, value := range map[string]string{
		"X-Forwarded-For": o.addr, "X-Forwarded-Proto": o.proto(), "X-Forwarded-Host": in.Host,
		"Forwarded": string(appendElement(chain, &o, []byte(in.Host))), "X-Request-Id": string(appendRequestID(nil)),
	} {
		if out.Header.Get(name) == "" || name == "Forwarded" {
			out.Header.Set(name, value)
		}
	}
	if out.Header["User-Agent"] == nil {
		out.Header["User-Agent"] = []string{""} // else net/http would name itself
	}
	if isGRPC(in) {
		out.Header.Set("Te", "trailers")
	}
}

// dropForwarded drops what a client says of itself, however it spells it.
func dropForwarded(h http.Header) {
	for name := range h {
		switch kindOf([]byte(name)) {
		case kindFor, kindProto, kindForwardedHost, kindChain, kindRequestID, kindForwarded:
			delete(h, name)
		case kindHop:
			if strings.Contains(name, "_") || name == "Http2-Settings" {
				delete(h, name)
			}
		}
	}
}

// remoteAddr is the client's address as net/http has it.
func remoteAddr(req *http.Request) net.Addr {
	ap, err := netip.ParseAddrPort(req.RemoteAddr)
	if err != nil {
		return &net.UnixAddr{}
	}
	return net.TCPAddrFromAddrPort(ap)
}

// isGRPC reports whether a request needs HTTP/2 all the way.
func isGRPC(req *http.Request) bool {
	return req.ProtoMajor == 2 && strings.HasPrefix(req.Header.Get("Content-Type"), "application/grpc")
}

// roundTripper takes a request to a backend, and to another where the first
// could not be reached.
type roundTripper struct{ r *Router }

func (rt roundTripper) RoundTrip(req *http.Request) (*http.Response, error) {
	r, t := rt.r, req.Context().Value(transitKey{}).(*transit)
	h := hold{r: r, match: t.match}
	uploading := false
	for {
		b, err := h.next(req.Context)
		if err != nil {
			return nil, err
		}
		t.at.Store(b)
		limit := requestTimeout(t.match)
		t.due.Store(r.clock.in(limit))
		if req.Body != nil && req.Body != http.NoBody && !uploading {
			uploading, req.Body = true, &upload{ReadCloser: req.Body, r: r, t: t, limit: limit}
		}
		client := b.transports(r.cfg.Dialer, r.cfg.Limits.HeaderBytes).plain
		if isGRPC(req) || strings.HasPrefix(req.Header.Get("Content-Type"), "application/grpc") && req.Header.Get("Te") == "trailers" {
			client = b.transports(r.cfg.Dialer, r.cfg.Limits.HeaderBytes).grpc
		}
		res, err := client.RoundTrip(req)
		if err == nil {
			return res, nil
		}
		t.due.Store(0)
		var dial *dialError
		if !errors.As(err, &dial) || req.Context().Err() != nil {
			gone := req.Context().Err() != nil
			if !gone || t.late.Load() && !t.asking.Load() {
				t.counted(r, b, 0)
			}
			if !gone {
				err = errors.Join(errNoAnswer, err)
			}
			return nil, err
		}
		t.at.Store(nil)
		b.leave(r.clock.load())
		h.refused(b)
	}
}

// upload is a request's body. While it comes, nothing is late.
type upload struct {
	io.ReadCloser
	r     *Router
	t     *transit
	limit int64
}

func (u *upload) Read(b []byte) (int, error) {
	u.t.asking.Store(true)
	n, err := u.ReadCloser.Read(b)
	if !u.t.late.Load() {
		u.t.asking.Store(false)
	}
	if due := u.t.due.Load(); due > 0 {
		u.t.due.CompareAndSwap(due, u.r.clock.in(u.limit))
	}
	return n, err
}

type copyBuffers struct{ pool sync.Pool }

func (c *copyBuffers) Get() []byte {
	if b, ok := c.pool.Get().(*[pieceSize]byte); ok {
		return b[:]
	}
	return make([]byte, pieceSize)
}

func (c *copyBuffers) Put(b []byte) { c.pool.Put((*[pieceSize]byte)(b)) }

// newServer makes the server for connections that ServeConn hands over.
func (r *Router) newServer() *http.Server {
	s := &http.Server{
		Handler: r, ReadHeaderTimeout: r.cfg.Limits.Header, IdleTimeout: r.cfg.Limits.Idle, MaxHeaderBytes: mostHeader,
		Protocols: &http.Protocols{}, ErrorLog: slog.NewLogLogger(r.log.Handler(), slog.LevelDebug),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, infoKey{}, c.(*replay).info)
		},
	}
	s.Protocols.SetHTTP1(true)
	s.Protocols.SetUnencryptedHTTP2(true)
	return s
}

// handoff is a listener whose connections come from ServeConn.
type handoff struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newHandoff() *handoff {
	return &handoff{conns: make(chan net.Conn), closed: make(chan struct{})}
}

// serve hands a connection over and returns when it is over.
func (h *handoff) serve(ctx context.Context, c net.Conn) {
	over := c.(*replay).closed
	select {
	case h.conns <- c:
		select {
		case <-over:
			return
		case <-ctx.Done():
		}
	case <-h.closed:
	case <-ctx.Done():
	}
	c.Close()
}

func (h *handoff) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.closed:
		return nil, net.ErrClosed
	}
}

func (h *handoff) Close() error {
	h.once.Do(func() { close(h.closed) })
	return nil
}

func (h *handoff) Addr() net.Addr { return &net.UnixAddr{} }

// replay is a connection of which some was read already.
type replay struct {
	net.Conn
	info   ConnInfo
	unread []byte
	once   sync.Once
	closed chan struct{}
}

func (c *replay) Read(b []byte) (int, error) {
	if len(c.unread) > 0 {
		n := copy(b, c.unread)
		c.unread = c.unread[n:]
		return n, nil
	}
	return c.Conn.Read(b)
}

func (c *replay) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}
