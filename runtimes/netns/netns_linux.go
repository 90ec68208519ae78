package netns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// visits is how many threads may be away at a time. A visit takes some
// microseconds and waits for nothing.
const visits = 4

// Visitor makes sockets in other network namespaces. It may be used from
// several goroutines at once.
type Visitor struct {
	home *os.File // the namespace to come back to
	slot chan struct{}
}

// New gives a visitor whose home is the network namespace of this process.
func New() (*Visitor, error) {
	home, err := os.Open("/proc/self/ns/net")
	if err != nil {
		return nil, err
	}
	return &Visitor{home: home, slot: make(chan struct{}, visits)}, nil
}

// Close releases the visitor's file. Nobody may be away.
func (v *Visitor) Close() error { return v.home.Close() }

// Socket makes a TCP socket for addresses such as a in the network namespace of
// the process behind pidfd. It is EPERM where this process may not go there: one
// without privileges, into a namespace that belongs to another user namespace.
func (v *Visitor) Socket(ctx context.Context, pidfd int, a netip.AddrPort) (fd int, err error) {
	select {
	case v.slot <- struct{}{}:
	case <-ctx.Done():
		return -1, context.Cause(ctx)
	}
	made := make(chan struct{})
	go func() {
		defer func() { close(made); <-v.slot }()
		runtime.LockOSThread()
		if err = unix.Setns(pidfd, unix.CLONE_NEWNET); err != nil {
			err = os.NewSyscallError("setns", err)
			runtime.UnlockOSThread()
			return
		}
		if fd, err = unix.Socket(Family(a), unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0); err != nil {
			err = os.NewSyscallError("socket", err)
		}
		if unix.Setns(int(v.home.Fd()), unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		} // else the thread ends with this goroutine, and nobody else gets it
	}()
	<-made
	return fd, err
}

// Family is the address family of a.
func Family(a netip.AddrPort) int {
	if a.Addr().Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

// ParseAddress reads "127.0.0.1:8080". Names are refused: whose they would be
// is not to be guessed.
func ParseAddress(network, address string) (netip.AddrPort, error) {
	a, err := netip.ParseAddrPort(address)
	switch {
	case err != nil:
		return a, fmt.Errorf("address %q: want IP:PORT, for example 127.0.0.1:8080", address)
	case network != "tcp" && network != "tcp4" && network != "tcp6":
		return a, net.UnknownNetworkError(network)
	case network == "tcp4" && !a.Addr().Is4(), network == "tcp6" && a.Addr().Is4():
		return a, &net.AddrError{Err: "is not of network " + network, Addr: address}
	}
	return a, nil
}

// Connect connects a socket that Socket made and owns it from then on. It waits
// without a thread, and no longer than ctx.
func Connect(ctx context.Context, fd int, a netip.AddrPort) (net.Conn, error) {
	err := unix.Connect(fd, sockaddr(a))
	f := os.NewFile(uintptr(fd), a.String())
	defer f.Close() // the connection has a copy
	if errors.Is(err, unix.EINPROGRESS) {
		err = established(ctx, f)
	} else {
		err = os.NewSyscallError("connect", err)
	}
	if err == nil {
		var conn net.Conn
		if conn, err = net.FileConn(f); err == nil {
			return conn, nil
		}
	}
	return nil, &net.OpError{Op: "dial", Net: "tcp", Addr: net.TCPAddrFromAddrPort(a), Err: err}
}

// established waits until a connection under way is there, or refused.
func established(ctx context.Context, f *os.File) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { f.SetWriteDeadline(time.Unix(1, 0)) })
	defer stop()
	var state error
	err = raw.Write(func(fd uintptr) bool {
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
		if n, err := unix.Poll(p, 0); err == nil && n == 0 {
			return false
		}
		code, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR)
		if err == nil && code != 0 {
			err = syscall.Errno(code)
		}
		state = os.NewSyscallError("connect", err)
		return true
	})
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return errors.Join(err, state)
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}
