package router

import (
	"context"
	"errors"
	"net/http"
	"time"
)

const (
	faultNotFound    fault = http.StatusNotFound
	faultGateway     fault = http.StatusBadGateway
	faultUnavailable fault = http.StatusServiceUnavailable
	faultTimeout     fault = http.StatusGatewayTimeout
	faultSlow        fault = http.StatusRequestTimeout
)

// faultOf gives the status for an error, and says in the log what a client isn't
// told. 0 = there is nobody left to tell.
func (r *Router) faultOf(err error, m *Match) fault {
	var f fault
	switch {
	case errors.As(err, &f):
		return f
	case errors.Is(err, context.Canceled):
		return 0
	case errors.Is(err, errUnknown):
		return faultNotFound
	case errors.Is(err, errChunk):
		return faultBad
	case errors.Is(err, errStartup), errors.Is(err, context.DeadlineExceeded), overdue(err):
		f = faultTimeout
	case errors.Is(err, errStale), errors.Is(err, errNoAnswer), errors.Is(err, errAnswer), errors.Is(err, errCutShort):
		f = faultGateway
	default:
		f = faultUnavailable
	}
	r.warn("request failed", m.ID, err)
	return f
}

// reply answers with a status and its name; the same whatever exists. The
// connection goes on only where no body could be taken for the next request.
func (s *session) reply(f fault, err error) bool {
	if f == 0 || s.severed.Load() && err != nil {
		return false
	}
	again := f.keeps() && !s.req.close && !s.req.old && !s.req.hasBody() && !s.r.closing.Load() && !overdue(err)
	s.mu.Lock()
	s.dueUp.Store(0)
	s.dueDown.Store(0)
	s.conn.SetDeadline(time.Time{})
	s.mu.Unlock()
	s.dueDown.Store(s.r.clock.in(int64(s.r.cfg.Limits.Progress)))
	s.out = f.append(s.out[:0], again, string(s.req.method) == "HEAD")
	_, werr := s.conn.Write(s.out)
	s.dueDown.Store(0)
	if werr != nil {
		return false
	}
	if !again {
		s.linger()
	}
	return again
}

// keeps reports whether the client may go on after it.
func (f fault) keeps() bool {
	return f == faultNotFound || f == faultUnavailable || f == faultGateway || f == faultTimeout
}

// append writes a whole answer.
func (f fault) append(b []byte, again, bodiless bool) []byte {
	text := http.StatusText(int(f))
	b = append(b, "HTTP/1.1 "...)
	b = appendInt(b, int64(f))
	b = append(append(b, ' '), text...)
	b = append(b, "\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: "...)
	b = appendInt(b, int64(len(text)+1))
	if f == faultUnavailable {
		b = append(b, "\r\nRetry-After: 1"...)
	}
	if !again {
		b = append(b, "\r\nConnection: close"...)
	}
	b = append(b, crlfcrlf...)
	if bodiless {
		return b
	}
	return append(append(b, text...), '\n')
}

// refuse answers what is no request, and ends the connection.
func (s *session) refuse(err error) {
	var f fault
	switch {
	case errors.Is(err, errIdle), s.severed.Load():
		return
	case errors.As(err, &f):
	case overdue(err):
		f = faultSlow
	default:
		return
	}
	if s.work == nil {
		return
	}
	s.req = request{fields: s.req.fields[:0], close: true}
	s.reply(f, nil)
}

// linger reads on for a moment after an answer that ends the connection: a
// socket closed with bytes unread is reset, and the client might lose the answer.
func (s *session) linger() {
	half, ok := s.conn.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	if hungUp(s.conn) {
		return
	}
	s.conn.SetReadDeadline(time.Now().Add(lingerFor))
	var b [512]byte
	for n := 0; n < lingerBytes; {
		got, err := s.conn.Read(b[:])
		if n += got; err != nil {
			return
		}
	}
}
