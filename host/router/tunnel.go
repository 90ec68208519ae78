package router

import (
	"io"
	"net"
	"sync/atomic"
	"time"
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
	var fromClient, fromBackend frames
	fromBackend.advance(s.back.bytes())
	if early := s.in.bytes(); len(early) > 0 {
		if _, err := u.Write(early); err != nil {
			return
		}
		fromClient.advance(early)
	}
	s.in.reset()
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.carry(s.conn, u.Conn, &s.dueUp, u.backend.activity, &fromClient)
		s.part(u.Conn, &fromClient, goingAwayMasked)
	}()
	s.carry(u.Conn, s.conn, &s.dueDown, u.backend.activity, &fromBackend)
	s.part(s.conn, &fromBackend, goingAway)
	s.dueDown.Store(0)
	// A client that was told of the end may take its time to answer, not longer.
	s.dueUp.Store(s.r.clock.in(int64(s.r.cfg.Limits.Header)))
	<-done
	s.dueUp.Store(0)
}

// part ends one direction. Who speaks WebSocket is told where a drain ends it.
func (s *session) part(to net.Conn, f *frames, bye string) {
	if s.severed.Load() && equalFold(s.req.upgrade, "websocket") && f.between() {
		to.SetWriteDeadline(time.Now().Add(lingerFor))
		io.WriteString(to, bye)
	}
	closeWrite(to)
}

func closeWrite(c net.Conn) {
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		half.CloseWrite()
	} else {
		c.Close()
	}
}

// carry copies one way. It holds memory only while bytes are on their way.
func (s *session) carry(from, to net.Conn, due *atomic.Int64, a *activity, f *frames) {
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
			sent, werr := to.Write(buf[:n])
			f.advance(buf[:sent])
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
