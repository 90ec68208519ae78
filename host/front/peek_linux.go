package front

import (
	"net"

	"golang.org/x/sys/unix"
)

// peek looks at the first bytes of a TCP connection without taking them, and
// waits for them until the read deadline. The second is 0 while it is not there.
func peek(c net.Conn) (first [2]byte, ok bool) {
	t, isTCP := c.(*net.TCPConn)
	if !isTCP {
		return first, false
	}
	raw, err := t.SyscallConn()
	if err != nil {
		return first, false
	}
	n := 0
	err = raw.Read(func(fd uintptr) bool {
		for {
			var e error
			n, _, e = unix.Recvfrom(int(fd), first[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
			if e != unix.EINTR {
				return e != unix.EAGAIN
			}
		}
	})
	return first, err == nil && n > 0
}
