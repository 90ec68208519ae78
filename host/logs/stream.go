package logs

import (
	"io"
	"sync"

	"github.com/tenement/ten/runtimes"
)

// attachment is one incarnation whose output is being read.
type attachment struct {
	key     runtimes.Key
	file    *file
	streams [2]*stream
	stop    func() bool   // lets go of the context
	ended   chan struct{} // closed when both streams have ended

	mu   sync.Mutex
	open int // streams that have not ended
}

// stream is standard output or standard error of an incarnation.
//
// Locks are taken in this order: stream, Collector or attachment, file.
type stream struct {
	a *attachment
	r io.ReadCloser

	mu    sync.Mutex
	done  bool
	lines lines
	token uint64 // its number at the poller; 0 = a goroutine reads it
}

// begin starts to read a stream: by the poller where r is a pipe that it can
// wait for, else by a goroutine. s.mu is held.
func (c *Collector) begin(s *stream) {
	if c.poller.add(c, s) {
		return
	}
	go func() {
		buf := make([]byte, 4<<10)
		for {
			n, err := s.r.Read(buf)
			s.mu.Lock()
			if n > 0 && !s.done {
				c.keep(s, buf[:n])
			}
			if err != nil {
				c.finish(s)
			}
			done := s.done
			s.mu.Unlock()
			if done {
				return
			}
		}
	}()
}

// end ends a stream from outside.
func (c *Collector) end(s *stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.finish(s)
}

// finish writes what a stream has left, closes it, and with the second one ends
// the attachment. It is idempotent. s.mu is held.
func (c *Collector) finish(s *stream) {
	if s.done {
		return
	}
	s.done = true
	c.keep(s, nil)
	c.poller.remove(s)
	s.r.Close()
	s.a.mu.Lock()
	s.a.open--
	last := s.a.open == 0
	s.a.mu.Unlock()
	if last {
		s.a.stop()
		c.forget(s.a)
	}
	c.running.Done()
}

func (c *Collector) forget(a *attachment) {
	c.release(a.file)
	c.mu.Lock()
	delete(c.attached, a.key)
	c.mu.Unlock()
	close(a.ended)
}
