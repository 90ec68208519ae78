package logs

import (
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// poller reads the pipes of all instances in one goroutine. A goroutine a pipe
// would be simpler, and with thousands of instances its stacks and buffers
// would be most of what the daemon weighs. One chunk of each pipe that has
// something to say is read in turn, so that nobody is kept waiting for long.
//
// Each pipe is armed for one event at a time: whatever becomes of its
// descriptor, it can't make the poller spin.
type poller struct {
	mu      sync.Mutex
	epoll   *os.File // made with the first pipe
	raw     syscall.RawConn
	streams map[uint64]*stream
	next    uint64
	gone    chan struct{} // closed when the goroutine has ended
}

const armed = unix.EPOLLIN | unix.EPOLLONESHOT

// add makes the poller read s; false when s is nothing it can wait for.
func (p *poller) add(c *Collector, s *stream) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.start(c) != nil {
		return false
	}
	p.next++
	s.token = p.next
	if p.control(unix.EPOLL_CTL_ADD, s) != nil {
		s.token = 0
		return false
	}
	p.streams[s.token] = s
	return true
}

// remove makes the poller forget s. s.mu is held.
func (p *poller) remove(s *stream) {
	if s.token == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.streams, s.token)
	p.control(unix.EPOLL_CTL_DEL, s)
}

// close ends the goroutine, if there is one, and waits for it.
func (p *poller) close() {
	p.mu.Lock()
	epoll, gone := p.epoll, p.gone
	p.mu.Unlock()
	if epoll != nil {
		epoll.Close()
		<-gone
	}
}

// control changes what the kernel watches of a stream. p.mu is held.
func (p *poller) control(op int, s *stream) error {
	pipe, ok := s.r.(syscall.Conn)
	if !ok {
		return syscall.EINVAL
	}
	raw, err := pipe.SyscallConn()
	if err != nil {
		return err
	}
	event := unix.EpollEvent{Events: armed, Fd: int32(s.token), Pad: int32(s.token >> 32)}
	outer := p.raw.Control(func(epoll uintptr) {
		inner := raw.Control(func(fd uintptr) { err = unix.EpollCtl(int(epoll), op, int(fd), &event) })
		if inner != nil {
			err = inner
		}
	})
	if outer != nil {
		return outer
	}
	return err
}

// start makes the epoll and its goroutine. The epoll is itself waited for by
// the Go runtime, so that no thread sits in it and closing it ends the wait.
func (p *poller) start(c *Collector) error {
	if p.epoll != nil {
		return nil
	}
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return err
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return err
	}
	epoll := os.NewFile(uintptr(fd), "epoll")
	raw, err := epoll.SyscallConn()
	if err != nil {
		epoll.Close()
		return err
	}
	p.epoll, p.raw, p.streams, p.gone = epoll, raw, map[uint64]*stream{}, make(chan struct{})
	go func() {
		defer close(p.gone)
		p.run(c)
	}()
	return nil
}

func (p *poller) run(c *Collector) {
	var events [64]unix.EpollEvent
	chunk := make([]byte, chunkSize)
	for {
		n := 0
		err := p.raw.Read(func(fd uintptr) (done bool) {
			var err error
			n, err = unix.EpollWait(int(fd), events[:], 0)
			return n > 0 || err != nil && err != unix.EINTR
		})
		if err != nil || n < 0 {
			return // closed
		}
		for _, e := range events[:n] {
			token := uint64(uint32(e.Fd)) | uint64(uint32(e.Pad))<<32
			p.mu.Lock()
			s := p.streams[token]
			p.mu.Unlock()
			if s != nil {
				p.read(c, s, chunk)
			}
		}
	}
}

// read keeps one chunk of a stream that has something to say, or its end.
func (p *poller) read(c *Collector, s *stream, chunk []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done {
		return
	}
	n, err := readNow(s.r, chunk)
	switch {
	case n > 0:
		c.keep(s, chunk[:n])
	case err != syscall.EAGAIN: // the end, or a reader that somebody closed
		c.drain(s, chunk)
		return
	}
	p.mu.Lock()
	err = p.control(unix.EPOLL_CTL_MOD, s)
	p.mu.Unlock()
	if err != nil {
		c.finish(s)
	}
}

// drain reads what a reader has to give after the end of its pipe, such as what
// was saved while nobody read, and finishes it. s.mu is held.
func (c *Collector) drain(s *stream, chunk []byte) {
	for {
		n, err := s.r.Read(chunk)
		if n > 0 {
			c.keep(s, chunk[:n])
		}
		if err != nil {
			c.finish(s)
			return
		}
	}
}

// readNow reads what is there, without waiting for more.
func readNow(r any, chunk []byte) (n int, err error) {
	raw, err := r.(syscall.Conn).SyscallConn()
	if err != nil {
		return 0, err
	}
	outer := raw.Control(func(fd uintptr) {
		for {
			n, err = syscall.Read(int(fd), chunk)
			if err != syscall.EINTR {
				return
			}
		}
	})
	if outer != nil {
		return 0, outer
	}
	return n, err
}
