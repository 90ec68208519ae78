package router

import (
	"context"
	"errors"
	"io"
	"net"
	"time"
)

// errStale is a connection that was kept too long: the backend had closed it
// before it saw the request.
var errStale = errors.New("the backend had closed the connection")

// handle answers one request. It reports whether the connection goes on.
func (s *session) handle(m *Match) bool {
	if m.Kind == Nowhere {
		return s.reply(faultNotFound, nil)
	}
	if limit := s.r.maxBody(); limit > 0 && s.req.length > limit {
		return s.reply(faultBody, nil)
	}
	s.dueUp.Store(0)
	s.since.Store(s.r.clock.load())
	s.began = s.r.clock.exact()
	s.waiting.Store(true)
	again, err := s.forward(m)
	s.waiting.Store(false)
	s.since.Store(0)
	if err != nil {
		return s.reply(s.r.faultOf(err, m), err)
	}
	return again && !s.r.closing.Load()
}

// maxSent is how often a request that may be repeated is sent at most, when its
// connection broke before anything was answered.
const maxSent = 3

// forward sends the request to a backend, another where that is safe, and its
// answer to the client. An error is one that nothing was answered with yet.
func (s *session) forward(m *Match) (again bool, err error) {
	h := hold{r: s.r, match: m, tried: s.tried[:0]}
	fresh := false
	for sent := 0; ; {
		b, err := h.next(s.wait)
		s.rested(&h)
		if err != nil {
			return false, err
		}
		u, err := s.connect(b, m, fresh)
		if err != nil {
			b.leave(s.r.clock.load())
			if s.gone(err) {
				return false, err
			}
			h.refused(b)
			continue
		}
		sent++
		again, err = s.exchange(u, m)
		b.leave(s.r.clock.load())
		switch {
		case err == nil:
			return again, nil
		case errors.Is(err, errStale) && u.reused && (s.req.repeatable() || !s.begun()):
			fresh = true
			sent--
		case errors.Is(err, errStale) && s.req.repeatable() && sent < maxSent && !s.severed.Load():
			b.counted(0)
			h.refused(b)
		default:
			if !s.theirs(err) {
				b.counted(0)
				s.r.metered(b.activity, s.began)
			}
			return false, err
		}
	}
}

// errTheirs is what a client did to its own request.
type errTheirs struct{ error }

func (e errTheirs) Unwrap() error { return e.error }

// theirs reports that a request got no answer for its client's doing: that says
// nothing of the instance.
func (s *session) theirs(err error) bool {
	_, own := errors.AsType[errTheirs](err)
	return own || s.left.Load() || s.gone(err)
}

// rested ends what the hold waited with, if it waited.
func (s *session) rested(h *hold) {
	if !h.began.IsZero() {
		s.waited()
	}
}

// gone reports whether there is nobody left to answer.
func (s *session) gone(err error) bool {
	return errors.Is(err, context.Canceled) || s.severed.Load()
}

// begun reports whether some of the request's body was sent.
func (s *session) begun() bool { return s.req.hasBody() }

// connect takes a connection that nobody uses, or makes one. What can't be sent
// twice gets one that was just used, or a new one.
func (s *session) connect(b *backend, m *Match, fresh bool) (*upstream, error) {
	if !fresh {
		keep := idleUpstream
		if !s.req.repeatable() {
			keep = freshUpstream
		}
		if u := b.take(s.r.clock.in(-int64(keep))); u != nil {
			if s.req.repeatable() || !hungUp(u.Conn) {
				s.use(u)
				return u, nil
			}
			u.Close()
		}
	}
	ctx, cancel := context.WithTimeout(s.wait(), startup(m.service.decl))
	defer cancel()
	c, err := s.r.cfg.Dialer.Dial(ctx, b.in)
	s.waited()
	if err != nil {
		return nil, &dialError{err}
	}
	u := &upstream{Conn: c, backend: b}
	s.use(u)
	return u, nil
}

// exchange sends the request and hands on the answer. errStale = nothing was
// answered, not a byte.
func (s *session) exchange(u *upstream, m *Match) (again bool, err error) {
	keep := false
	defer func() {
		if s.unuse() && keep { // first out of reach, then into the hands of others
			u.backend.put(u, s.r.clock.load())
		} else {
			u.Close()
		}
	}()
	s.dueDown.Store(s.r.clock.in(int64(s.r.cfg.Limits.Progress)))
	limit := requestTimeout(m)
	pumping, err := s.send(u, limit)
	if err != nil {
		return false, errStale
	}
	if !pumping {
		s.dueDown.Store(s.r.clock.in(limit))
	}
	if err := s.readAnswer(u); err != nil {
		return false, s.unanswered(u, pumping, err)
	}
	u.backend.counted(s.ans.status)
	s.r.metered(u.backend.activity, s.began)
	if s.ans.status == 101 {
		s.tunnel(u)
		return false, nil
	}
	keep, again = s.respond(u, pumping)
	if pumping {
		sent := s.endPump(u, again)
		keep, again = keep && sent, again && sent
	}
	return again, nil
}

// unanswered ends an exchange in which the backend gave no answer.
func (s *session) unanswered(u *upstream, pumping bool, err error) error {
	if !pumping {
		return err
	}
	u.SetDeadline(past)
	s.conn.SetReadDeadline(past)
	if sent := <-s.pumped; sent != nil && !errors.Is(sent, errToBackend) && !overdue(sent) {
		return errTheirs{sent}
	}
	if errors.Is(err, errStale) {
		return errNoAnswer
	}
	return err
}

// errNoAnswer is a backend that took a request and closed.
var errNoAnswer = errors.New("the backend closed the connection without an answer")

func requestTimeout(m *Match) int64 {
	if d := m.service.decl.RequestTimeout; d > 0 {
		return int64(d)
	}
	return int64(defaultRequest)
}

// send writes the head, and the body as far as it came with it. Where more is to
// come, or the client waits to be asked for it, a pump carries it on.
func (s *session) send(u *upstream, limit int64) (pumping bool, err error) {
	s.out = s.req.appendHead(s.out[:0], &s.origin)
	length := s.req.length
	there := int64(len(s.in.bytes()))
	if length > 0 && length <= there && !s.req.expect {
		s.out = append(s.out, s.in.bytes()[:length]...)
		s.in.r += int(length)
		length = 0
	}
	if _, err := u.Write(s.out); err != nil {
		return false, err
	}
	if length == 0 {
		return false, nil
	}
	if s.pumped == nil {
		s.pumped = make(chan error, 1)
	}
	s.dueDown.Store(0) // the pump sets it when the body is sent
	go s.pump(u, length, limit)
	return true, nil
}

// errToBackend is a body that the backend doesn't take.
var errToBackend = errors.New("the backend takes no more of the body")

// pump carries the request's body to the backend.
func (s *session) pump(u *upstream, length, limit int64) {
	limits := &s.r.cfg.Limits
	t := transfer{
		from: s.conn, first: s.in.bytes(), to: u, length: length, encode: length < 0, limit: limits.Body,
		due: &s.dueUp, clock: &s.r.clock, stall: int64(limits.Progress), silence: int64(limits.Progress), activity: u.backend.activity,
	}
	err := t.run()
	stalled := s.dueUp.Swap(0) == expired
	switch {
	case err == nil:
		s.rest = t.rest
	case t.failedRead && stalled:
		err = faultSlow
		u.SetDeadline(past)
	case t.failedRead:
		u.SetDeadline(past) // the answer can't be to a whole request
	default:
		err = errToBackend
	}
	s.dueDown.CompareAndSwap(0, s.r.clock.in(limit))
	s.pumped <- err
}

// endPump waits for the body's end, shortly: an answer that came before it may
// mean that nobody wants it. It reports whether all of it was sent.
func (s *session) endPump(u *upstream, again bool) bool {
	wait := time.Duration(0)
	if again {
		wait = sweepEvery / 2
	}
	late := time.NewTimer(wait)
	defer late.Stop()
	defer s.dueDown.Store(0)
	select {
	case err := <-s.pumped:
		return s.pumpedAll(err)
	case <-late.C:
	}
	u.SetDeadline(past)
	s.conn.SetReadDeadline(past)
	<-s.pumped
	s.conn.SetReadDeadline(time.Time{})
	s.linger()
	return false
}

// pumpedAll makes what came behind the body the next request.
func (s *session) pumpedAll(err error) bool {
	if err != nil {
		return false
	}
	s.in.reset()
	for s.in.w+len(s.rest) > len(s.in.b) {
		s.in.b = append(s.in.b, make([]byte, len(s.in.b))...)
	}
	s.in.w = copy(s.in.b, s.rest)
	s.rest = nil
	return true
}

// readAnswer reads heads until the one that answers; those before it (100, 103)
// go to the client as they are.
func (s *session) readAnswer(u *upstream) error {
	s.back.reset()
	for {
		head, err := s.readBackHead(u)
		if err != nil {
			return err
		}
		if err := s.ans.parse(head, s.req.method, s.r.cfg.Limits.HeaderCount); err != nil {
			return err
		}
		s.back.r += len(head)
		switch {
		case s.ans.status >= 200:
			return nil
		case s.ans.status == 101:
			if s.req.upgrade == nil {
				return errAnswer
			}
			return nil
		case s.req.old:
			continue
		}
		s.out = append(s.ans.appendHead(s.out[:0], false), crlf...)
		if _, err := s.conn.Write(s.out); err != nil {
			return context.Canceled
		}
	}
}

// readBackHead reads one head from the backend.
func (s *session) readBackHead(u *upstream) ([]byte, error) {
	for seen := 0; ; {
		b := s.back.bytes()
		if end := headEnd(b, seen); end > 0 {
			return b[:end], nil
		}
		seen = len(b)
		if !s.back.room(s.r.cfg.Limits.HeaderBytes) {
			return nil, errAnswer
		}
		n, err := u.Read(s.back.b[s.back.w:])
		s.back.w += n
		if n > 0 {
			continue
		}
		if len(b) == 0 && !overdue(err) {
			return nil, errStale
		}
		if err == io.EOF {
			err = errNoAnswer
		}
		return nil, err
	}
}

// respond hands on an answer with its body, and says whether the backend's
// connection and the client's can be used again.
func (s *session) respond(u *upstream, pumping bool) (keep, again bool) {
	a := &s.ans
	body := a.body(s.req.method)
	encode := body < 0 && !s.req.old
	again = !s.req.close && (!s.req.old || s.req.keepAlive) && (body >= 0 || encode) && !s.r.closing.Load()
	s.out = a.appendHead(s.out[:0], encode)
	switch {
	case !again:
		s.out = append(s.out, "Connection: close\r\n"...)
	case s.req.old:
		s.out = append(s.out, "Connection: keep-alive\r\n"...)
	}
	s.out = append(s.out, crlf...)
	limits := &s.r.cfg.Limits
	t := &s.transfer
	*t = transfer{
		from: u.Conn, first: s.back.bytes(), to: s.conn, head: s.out, length: body, encode: encode,
		due: &s.dueDown, clock: &s.r.clock, stall: int64(limits.Progress), silence: int64(limits.Silence), activity: u.backend.activity,
	}
	if body >= 0 && int64(len(t.first)) > body { // more than was promised: whatever it is, it is no answer
		t.first = t.first[:body]
		a.keep = false
	}
	var err error
	if body >= 0 && int64(len(t.first)) == body && cap(s.out)-len(s.out) >= int(body) {
		err = t.flush(t.first)
	} else {
		err = t.run()
	}
	s.dueDown.Store(0)
	if err != nil {
		s.broken(t, err)
		return false, false
	}
	return a.keep && len(t.rest) == 0 && body != untilEnd, again
}

// broken ends an answer that can't be finished. A stream of events that a drain
// ends is ended properly, so that its client connects again; anything else must
// not look whole.
func (s *session) broken(t *transfer, err error) {
	if s.severed.Load() && s.ans.stream && t.encode && t.dec.state == atSize {
		s.conn.SetWriteDeadline(time.Now().Add(lingerFor))
		s.conn.Write([]byte("0\r\n\r\n"))
	}
	if c, ok := s.conn.(*net.TCPConn); ok && !s.severed.Load() {
		c.SetLinger(0)
	}
}
