package router

import (
	"io"
	"net"
	"sync/atomic"
)

// tunnel carries an upgraded connection both ways until either end closes it.
func (s *session) tunnel(u *upstream) {
	s.waiting.Store(false)
	s.out = append(s.ans.appendHead(s.out[:0], false), "Connection: Upgrade\r\nUpgrade: "...)
	s.out = append(append(s.out, s.req.upgrade...), crlfcrlf...)
	s.out = append(s.out, s.back.bytes()...)
	s.dueDown.Store(s.r.clock.in(int64(s.r.cfg.Limits.Progress)))
	if _, err := s.conn.Write(s.out); err != nil {
		return
	}
	if early := s.in.bytes(); len(early) > 0 {
		if _, err := u.Write(early); err != nil {
			return
		}
	}
	s.in.reset()
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.carry(s.conn, u.Conn, &s.dueUp, u.backend.activity)
		closeWrite(u.Conn)
	}()
	s.carry(u.Conn, s.conn, &s.dueDown, u.backend.activity)
	closeWrite(s.conn)
	s.dueDown.Store(0)
	// A client that was told of the end may take its time to answer, not longer.
	s.dueUp.Store(s.r.clock.in(int64(s.r.cfg.Limits.Header)))
	<-done
	s.dueUp.Store(0)
}

func closeWrite(c net.Conn) {
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		half.CloseWrite()
	} else {
		c.Close()
	}
}

// carry copies one way. It holds memory only while bytes are on their way.
func (s *session) carry(from, to net.Conn, due *atomic.Int64, a *activity) {
	wait := newReadiness(from)
	for {
		due.Store(s.r.clock.in(int64(s.r.cfg.Limits.Silence)))
		if wait.ready() != nil {
			return
		}
		buf := pieces.Get().(*piece)
		n, err := from.Read(buf[:pieceSize])
		if n > 0 {
			due.Store(s.r.clock.in(int64(s.r.cfg.Limits.Progress)))
			_, werr := to.Write(buf[:n])
			a.touch(s.r.clock.load())
			if err == nil {
				err = werr
			}
		}
		pieces.Put(buf)
		if err != nil {
			if err != io.EOF {
				from.SetDeadline(past)
				to.SetDeadline(past)
			}
			return
		}
	}
}
