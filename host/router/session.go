package router

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// session is a client's HTTP/1.1 connection. One goroutine serves it; a second
// one carries a request's body where it was not all there with its head.
type session struct {
	r      *Router
	conn   net.Conn
	info   ConnInfo
	ctx    context.Context
	origin origin
	*work  // nil between requests, so that an idle connection holds no memory
	lazy   lazyReader

	// When to give up: on what goes to the backend, and on what comes from it.
	dueUp, dueDown atomic.Int64
	waiting        atomic.Bool // a request is under way, and is for nobody when its client leaves
	since          atomic.Int64
	began          int64       // of the request under way, by clock.exact
	left           atomic.Bool // the client is gone
	severed        atomic.Bool // the drain or the router's end cut it
	fresh          atomic.Bool // its first request has not come: when the router ends it still may

	mu     sync.Mutex
	up     *upstream          // of the request under way
	ended  bool               // an interrupt came
	cancel context.CancelFunc // of a wait

	pumped chan error
	rest   []byte // what the pump read behind the body; read once pumped said so
}

// work is the memory that a request needs.
type work struct {
	in       buffer // from the client
	back     buffer // from the backend
	out      []byte // to either
	req      request
	ans      answer
	match    Match
	tried    [4]*backend
	transfer transfer
}

// buffer holds what was read and not used yet: b[r:w].
type buffer struct {
	b    []byte
	r, w int
}

func (b *buffer) bytes() []byte { return b.b[b.r:b.w] }
func (b *buffer) reset()        { b.r, b.w = 0, 0 }

// room makes space to read into, up to a limit, and says whether there is any.
func (b *buffer) room(limit int) bool {
	if b.r > 0 {
		b.w = copy(b.b, b.b[b.r:b.w])
		b.r = 0
	}
	if b.w < len(b.b) {
		return true
	}
	if len(b.b) >= limit {
		return false
	}
	b.b = append(b.b, make([]byte, min(len(b.b), limit-len(b.b)))...)
	return true
}

const workSize = 4 << 10

var works = sync.Pool{New: func() any {
	return &work{
		in: buffer{b: make([]byte, workSize)}, back: buffer{b: make([]byte, workSize)}, out: make([]byte, 0, workSize),
		req: request{fields: make([]field, 0, 32)}, ans: answer{fields: make([]field, 0, 32)},
	}
}}

// release gives the memory back; what grew is left to the collector.
func (s *session) release() {
	w := s.work
	s.work = nil
	if len(w.in.b) > workSize || len(w.back.b) > workSize || cap(w.out) > 4*workSize || cap(w.req.fields)+cap(w.ans.fields) > 256 {
		return
	}
	w.in.reset()
	w.back.reset()
	w.tried = [4]*backend{}
	w.transfer, w.match = transfer{}, Match{}
	works.Put(w)
}

// ServeConn serves the HTTP/1.1 requests of a connection, and closes it. What
// begins in HTTP/2 without TLS, and what asks for the daemon's own pages, goes on
// through net/http. It returns when the connection is over or, soon, when ctx ends.
func (r *Router) ServeConn(ctx context.Context, conn net.Conn, info ConnInfo) {
	s := &session{r: r, conn: conn, info: info, ctx: context.WithoutCancel(ctx), origin: r.origin(info, conn.RemoteAddr())}
	s.lazy.init(conn)
	s.fresh.Store(true)
	r.enter(s)
	handed := s.serve()
	r.leave(s)
	if s.work != nil {
		s.release()
	}
	if handed == nil {
		conn.Close()
		return
	}
	r.handed.serve(ctx, handed)
}

// serve answers requests until the connection is over, or to be handed to net/http.
func (s *session) serve() (handed net.Conn) {
	for first := true; ; first = false {
		head, err := s.readHead(first)
		s.fresh.Store(false)
		if err != nil {
			s.refuse(err)
			return nil
		}
		if first && isPreface(head) {
			return s.hand()
		}
		if err := s.req.parse(head, s.r.cfg.Limits.HeaderCount); err != nil {
			s.refuse(err)
			return nil
		}
		match := &s.match
		*match = s.r.table.Load().Lookup(view(s.req.host), view(s.req.target))
		switch match.Kind {
		case Root:
			if s.r.cfg.Root != nil {
				return s.hand()
			}
			match.Kind = Nowhere
		case Refused:
			s.refuse(faultBad)
			return nil
		}
		s.in.r += len(head)
		if !s.handle(match) {
			return nil
		}
	}
}

// isPreface reports whether a connection begins in HTTP/2.
func isPreface(head []byte) bool { return string(head) == "PRI * HTTP/2.0\r\n\r\n" }

// errIdle ends a connection without a word: nothing was asked.
var errIdle = errors.New("the connection is over")

// readHead reads up to the empty line. The head stays in the buffer.
func (s *session) readHead(first bool) ([]byte, error) {
	limits := &s.r.cfg.Limits
	if s.work != nil && s.in.r == s.in.w {
		s.release()
	}
	if s.work == nil {
		idle := limits.Idle
		if first {
			idle = limits.Header
		}
		s.dueUp.Store(s.r.clock.in(int64(idle)))
		if s.r.closing.Load() && !first {
			return nil, errIdle
		}
		if err := s.lazy.wait(s); err != nil {
			return nil, errIdle
		}
	}
	began := false
	for seen := 0; ; {
		b := s.in.bytes()
		for seen == 0 && len(b) >= 2 && b[0] == '\r' && b[1] == '\n' { // some clients end a body with one too many
			s.in.r += 2
			b = b[2:]
		}
		if end := headEnd(b, seen); end > 0 {
			if end > s.r.maxHeader() {
				return nil, faultTooLarge
			}
			return b[:end], nil
		}
		if len(b) > 0 && b[0] != '\r' && !tokenBytes[b[0]] || bareLF(b[max(0, seen-1):]) && seen > 0 || seen == 0 && bareLF(b) {
			return nil, faultBad
		}
		seen = len(b)
		if !began { // all of the head within this, however slowly it comes
			s.dueUp.Store(s.r.clock.in(int64(limits.Header)))
			began = true
		}
		if !s.in.room(s.r.maxHeader()) {
			return nil, faultTooLarge
		}
		n, err := s.conn.Read(s.in.b[s.in.w:])
		s.in.w += n
		if err != nil {
			if len(b) == 0 {
				return nil, errIdle
			}
			return nil, err
		}
	}
}

// hand gives the connection, with what was read of it, to net/http.
func (s *session) hand() net.Conn {
	s.dueUp.Store(0)
	s.dueDown.Store(0)
	return &replay{Conn: s.conn, info: s.info, unread: append([]byte(nil), s.in.bytes()...), closed: make(chan struct{})}
}

// overdue reports whether an error is a limit of time that has come.
func overdue(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }

// past is a deadline that is over.
var past = time.Unix(1, 0)

// sweep ends the session where something of it is overdue, and where its client
// has left while it waits for an answer.
func (s *session) sweep(now int64) {
	late := false
	for _, due := range []*atomic.Int64{&s.dueUp, &s.dueDown} {
		if at := due.Load(); at > 0 && at < now && due.CompareAndSwap(at, expired) {
			late = true
		}
	}
	if s.r.closing.Load() && !s.fresh.Load() && !s.waiting.Load() && s.since.Load() == 0 {
		late = true
	}
	if !late && s.waiting.Load() && now-s.since.Load() > int64(2*sweepEvery) && hungUp(s.conn) {
		s.left.Store(true)
		late = true
	}
	if late {
		s.interrupt()
	}
}

// interrupt ends every wait of the session.
func (s *session) interrupt() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	s.conn.SetDeadline(past)
	if s.up != nil {
		s.up.SetDeadline(past)
	}
	if s.cancel != nil {
		s.cancel()
	}
}

func (s *session) cut(b *backend) {
	s.mu.Lock()
	mine := b == nil || s.up != nil && s.up.backend == b
	s.mu.Unlock()
	if mine {
		s.severed.Store(true)
		s.interrupt()
	}
}

// wait gives a context for something to wait for; it ends when the client leaves.
func (s *session) wait() context.Context {
	ctx, cancel := context.WithCancel(s.ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cancel != nil {
		s.cancel()
	}
	s.cancel = cancel
	return ctx
}

// waited ends the last context of wait.
func (s *session) waited() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cancel != nil {
		s.cancel()
		s.cancel = nil
	}
}

// unuse takes the upstream out of the reach of interrupts, and says whether none
// has reached it: one whose deadline was set is of no use to others.
func (s *session) unuse() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.up = nil
	return !s.ended
}

// use makes an upstream the one that an interrupt reaches.
func (s *session) use(u *upstream) {
	s.mu.Lock()
	s.up = u
	s.mu.Unlock()
}
