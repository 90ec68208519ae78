//go:build unix

package probe

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// canBind binds the wildcard of both families with SO_REUSEADDR: that fails for
// every listener whatever its address, and passes over old closed connections.
func canBind(port int) bool {
	fd, err := socket(unix.AF_INET6)
	if err != nil {
		return canBind4(port)
	}
	defer unix.Close(fd)
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1) != nil ||
		unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 0) != nil {
		return canBind4(port)
	}
	switch err := unix.Bind(fd, &unix.SockaddrInet6{Port: port}); err {
	case nil:
		return true
	case unix.EADDRNOTAVAIL, unix.EAFNOSUPPORT:
		return canBind4(port)
	}
	return false
}

func canBind4(port int) bool {
	fd, err := socket(unix.AF_INET)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1) == nil &&
		unix.Bind(fd, &unix.SockaddrInet4{Port: port}) == nil
}

// socket makes a TCP socket that no program started meanwhile inherits: it
// would hold the port for ever.
func socket(family int) (int, error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	fd, err := unix.Socket(family, unix.SOCK_STREAM, 0)
	if err == nil {
		unix.CloseOnExec(fd)
	}
	return fd, err
}
