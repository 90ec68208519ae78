package router

import (
	"io"
	"net"
	"syscall"
)

// lazyReader waits for a connection's next request, and takes memory for it only
// once something is there.
type lazyReader struct {
	raw  syscall.RawConn // nil where the connection is more than a socket
	read func(fd uintptr) bool
	s    *session
	n    int
	err  error
}

func (l *lazyReader) init(c net.Conn) {
	sc, ok := c.(syscall.Conn)
	if !ok || !spliceable(c) {
		return
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return
	}
	l.raw, l.read = raw, l.try
}

// wait returns when the first bytes are in the session's buffer.
func (l *lazyReader) wait(s *session) error {
	if l.raw == nil {
		s.work = works.Get().(*work)
		n, err := s.conn.Read(s.in.b)
		s.in.w = n
		if n > 0 {
			return nil
		}
		return err
	}
	l.s, l.n, l.err = s, 0, nil
	if err := l.raw.Read(l.read); err != nil {
		return err
	}
	if l.err == nil && l.n == 0 {
		return io.EOF
	}
	return l.err
}

// try reads what is there; false = nothing yet.
func (l *lazyReader) try(fd uintptr) bool {
	w := works.Get().(*work)
	for {
		l.n, l.err = syscall.Read(int(fd), w.in.b)
		if l.err != syscall.EINTR {
			break
		}
	}
	if l.err != nil || l.n <= 0 {
		works.Put(w)
		return l.err != syscall.EAGAIN
	}
	w.in.w = l.n
	l.s.work = w
	return true
}

// hungUp reports whether the other end has closed its side: it is looked at, not
// read. False where that can't be told.
func hungUp(c net.Conn) bool {
	if t, ok := c.(interface{ NetConn() net.Conn }); ok {
		c = t.NetConn()
	}
	sc, ok := c.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return false
	}
	gone := false
	err = raw.Control(func(fd uintptr) {
		var b [1]byte
		n, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		gone = n == 0 && err == nil || err == syscall.ECONNRESET
	})
	return gone && err == nil
}

// readiness waits until a socket has something to read, with no buffer at hand.
type readiness struct {
	raw  syscall.RawConn
	peek func(fd uintptr) bool
}

func newReadiness(c net.Conn) *readiness {
	r := &readiness{}
	if sc, ok := c.(syscall.Conn); ok && spliceable(c) {
		if raw, err := sc.SyscallConn(); err == nil {
			r.raw = raw
		}
	}
	r.peek = func(fd uintptr) bool {
		var b [1]byte
		_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		return err != syscall.EAGAIN && err != syscall.EINTR
	}
	return r
}

// ready returns when a read would not block. Where that can't be told it does at
// once.
func (r *readiness) ready() error {
	if r.raw == nil {
		return nil
	}
	return r.raw.Read(r.peek)
}
