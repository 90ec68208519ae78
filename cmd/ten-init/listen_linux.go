package main

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/tenement/ten/runtimes/launch/wire"
)

const (
	noSocket = ^uintptr(0)
	backlog  = 4096 // which the kernel cuts to what the host allows
)

// listen opens the socket that the program shall get, in the instance's own
// view of files and network, so that no link in there leads init elsewhere.
func listen(plan *wire.View) uintptr {
	if plan.Listen == "" {
		return noSocket
	}
	var fd uintptr
	if plan.ListenPort != 0 {
		fd = bindPort(plan)
	} else {
		fd = bindPath(plan.Listen)
	}
	check("listen", plan.Listen, call(unix.SYS_LISTEN, fd, backlog, 0, 0, 0))
	return fd
}

var (
	portAddress unix.RawSockaddrInet4
	pathAddress sockaddrPath
	yes         uint32
	found       unix.Statx_t
)

// sockaddrPath is the address of a unix socket with its path as bytes.
type sockaddrPath struct {
	family uint16
	path   [108]byte
}

func bindPort(plan *wire.View) uintptr {
	fd, e := value(unix.SYS_SOCKET, unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	check("listen", plan.Listen, e)
	yes = 1 // what is left of connections of the one before is in nobody's way
	call(unix.SYS_SETSOCKOPT, fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, uintptr(unsafe.Pointer(&yes)), unsafe.Sizeof(yes))
	portAddress.Family = unix.AF_INET
	portAddress.Port = uint16(plan.ListenPort>>8&0xff | plan.ListenPort&0xff<<8)
	portAddress.Addr[0], portAddress.Addr[3] = 127, 1
	check("listen", plan.Listen, call(unix.SYS_BIND, fd, uintptr(unsafe.Pointer(&portAddress)), unsafe.Sizeof(portAddress), 0, 0))
	return fd
}

// bindPath makes a socket file that only its user may connect to: the daemon,
// and root. The mode is that of the socket when it is bound, so there is no
// moment at which it is another.
func bindPath(path string) uintptr {
	if len(path) >= len(pathAddress.path) {
		fail("listen", path, unix.ENAMETOOLONG)
	}
	pathAddress.family = unix.AF_UNIX
	copy(pathAddress.path[:], path)
	fd := unixSocket(path)
	check("listen", path, call(unix.SYS_FCHMOD, fd, 0o600, 0, 0, 0))
	e := onPath(unix.SYS_BIND, fd)
	if e == unix.EADDRINUSE && deserted(path) {
		call(unix.SYS_UNLINKAT, atFDCWD, addr(path), 0, 0, 0)
		e = onPath(unix.SYS_BIND, fd)
	}
	check("listen", path, e)
	noteSocket(path)
	return fd
}

var socketTag [8]byte

// noteSocket leaves in the record which file it was, so that Stop removes no
// other at its path.
func noteSocket(path string) {
	if call(unix.SYS_STATX, atFDCWD, addr(path), unix.AT_SYMLINK_NOFOLLOW, unix.STATX_INO|unix.STATX_CTIME, uintptr(unsafe.Pointer(&found))) != 0 {
		return
	}
	wire.PutTag(&socketTag, found.Ino, found.Ctime.Sec, int64(found.Ctime.Nsec))
	call(unix.SYS_PWRITE64, wire.FDRecord, bytesAddr(socketTag[:]), uintptr(len(socketTag)), wire.TagOffset, 0)
}

func unixSocket(path string) uintptr {
	fd, e := value(unix.SYS_SOCKET, unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	check("listen", path, e)
	return fd
}

func onPath(nr, fd uintptr) syscall.Errno {
	return call(nr, fd, uintptr(unsafe.Pointer(&pathAddress)), unsafe.Sizeof(pathAddress), 0, 0)
}

// deserted reports whether path is a socket on which nobody listens any more:
// what a program that crashed left.
func deserted(path string) bool {
	e := call(unix.SYS_STATX, atFDCWD, addr(path), unix.AT_SYMLINK_NOFOLLOW, unix.STATX_TYPE, uintptr(unsafe.Pointer(&found)))
	if e != 0 || found.Mode&unix.S_IFMT != unix.S_IFSOCK {
		return false
	}
	fd, e := value(unix.SYS_SOCKET, unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if e != 0 {
		return false
	}
	e = onPath(unix.SYS_CONNECT, fd)
	call(unix.SYS_CLOSE, fd, 0, 0, 0, 0)
	return e == unix.ECONNREFUSED
}

var listenPID = [32]byte{'L', 'I', 'S', 'T', 'E', 'N', '_', 'P', 'I', 'D', '='}

// giveSocket makes the socket file 3 of the program that this process is about to
// become, and tells it by its own pid that it is meant. n is the length of envp.
func giveSocket(socket uintptr, n int) {
	high, e := value(unix.SYS_FCNTL, wire.FDConn, unix.F_DUPFD_CLOEXEC, 16)
	check("listen", "file", e)
	conn = high
	_, e = value(unix.SYS_DUP3, socket, wire.FDListen, 0)
	check("listen", "file", e)
	pid, _ := value(unix.SYS_GETPID, 0, 0, 0)
	var digits [20]byte
	i := len(digits)
	for ; pid > 0; pid /= 10 {
		i--
		digits[i] = byte('0' + pid%10)
	}
	copy(listenPID[11:], digits[i:])
	envp[n] = bytesAddr(listenPID[:])
}
