package notify

import (
	"sync"

	"golang.org/x/sys/unix"
)

// maxShut bounds the files that wait to be closed.
const maxShut = 4096

// shutter closes files that strangers sent. To close a file may take as long as
// its sender likes: a socket lingers, a file system of its own doesn't answer. So
// that is done aside, one after another, by a goroutine that is there while
// there are any. The zero value is ready.
type shutter struct {
	mu    sync.Mutex
	files []int
	busy  bool
}

// close closes a file, a pipe before it returns: who sent one waits for that.
func (s *shutter) close(fd int) {
	var st unix.Stat_t
	if unix.Fstat(fd, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFIFO {
		unix.Close(fd)
		return
	}
	_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{}) // of what is a socket
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.files) >= maxShut {
		unix.Close(fd)
		return
	}
	s.files = append(s.files, fd)
	if !s.busy {
		s.busy = true
		go s.run()
	}
}

func (s *shutter) run() {
	for {
		s.mu.Lock()
		if len(s.files) == 0 {
			s.busy, s.files = false, nil
			s.mu.Unlock()
			return
		}
		fd := s.files[0]
		s.files = s.files[1:]
		s.mu.Unlock()
		unix.Close(fd)
	}
}
