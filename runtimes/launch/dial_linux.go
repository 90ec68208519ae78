package launch

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tenement/ten/runtimes"
	"github.com/tenement/ten/runtimes/launch/wire"
	"github.com/tenement/ten/runtimes/netns"
)

// Dial connects to an address of the incarnation; see runtimes.Dialer. Which
// namespace that is, is asked anew each time: a pid may have become another's.
func (v *Level) Dial(ctx context.Context, key runtimes.Key, network, address string) (net.Conn, error) {
	e, err := v.find(key)
	if err == nil && e.rec == nil {
		err = e.broken
	}
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", key, err)
	}
	if network == "unix" {
		return dialSocket(ctx, &e.rec.Spec, address)
	}
	if e.rec.Spec.Network != runtimes.NetworkNone {
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}
	conn, err := v.dialInside(ctx, e.init, network, address)
	if err != nil {
		return nil, fmt.Errorf("connect inside %s: %w", key, err)
	}
	return conn, nil
}

func (v *Level) dialInside(ctx context.Context, init handle, network, address string) (net.Conn, error) {
	a, err := netns.ParseAddress(network, address)
	if err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	fd, err := v.l.socketInside(ctx, init, a)
	if errors.Is(err, unix.ESRCH) { // it has ended: as with any other, nobody listens
		err = &net.OpError{Op: "dial", Net: network, Addr: net.TCPAddrFromAddrPort(a), Err: os.NewSyscallError("connect", unix.ECONNREFUSED)}
	}
	if err != nil {
		return nil, err
	}
	return netns.Connect(ctx, fd, a)
}

// socketInside makes a socket in the network of an init: by going there, or,
// where an ordinary user may not, by way of a ten-init that may.
func (l *Launcher) socketInside(ctx context.Context, init handle, a netip.AddrPort) (int, error) {
	pidfd, err := l.openBlocking(init)
	if err != nil {
		return -1, err
	}
	defer unix.Close(pidfd)
	fd, err := l.visitor.Socket(ctx, pidfd, a)
	if errors.Is(err, unix.EPERM) {
		return l.borrow(ctx, pidfd, uint32(netns.Family(a)))
	}
	return fd, err
}

// openBlocking gives a plain pidfd for a process, for a moment's use.
func (l *Launcher) openBlocking(h handle) (int, error) {
	if h.boot != l.boot {
		return -1, unix.ESRCH
	}
	pidfd, err := unix.PidfdOpen(h.pid, 0)
	if err != nil {
		return -1, err
	}
	if st, err := readStat(h.pid); err != nil || st.start != h.start {
		unix.Close(pidfd)
		return -1, unix.ESRCH
	}
	return pidfd, nil
}

// borrow has a ten-init join the namespaces of another and send a socket from
// there. It takes about as long as the start of an empty program.
func (l *Launcher) borrow(ctx context.Context, target int, family uint32) (int, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, os.NewSyscallError("socketpair", err)
	}
	unix.SetNonblock(pair[0], true)
	conn := os.NewFile(uintptr(pair[0]), "init")
	defer conn.Close()
	// Written before init is there, so that it need not wait.
	if _, err := conn.Write(wire.AppendPlan(nil, &wire.Plan{Lend: family, Argv: []string{"nothing"}})); err != nil {
		unix.Close(pair[1])
		return -1, err
	}
	null := int(l.null.Fd())
	_, pidfd, err := l.clone(&Recipe{}, nil, null, null, null, pair[1], target)
	unix.Close(pair[1])
	if err != nil {
		return -1, err
	}
	defer unix.Close(pidfd)
	defer endInit(pidfd)
	return receiveFile(ctx, conn)
}

// receiveFile reads the one message that a lending init sends: a socket, or
// why there is none.
func receiveFile(ctx context.Context, conn *os.File) (fd int, err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return -1, err
	}
	stop := context.AfterFunc(ctx, func() { conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	msg, oob := make([]byte, wire.MaxFault), make([]byte, unix.CmsgSpace(4))
	var n, oobn int
	var got error
	err = raw.Read(func(s uintptr) bool {
		n, oobn, _, _, got = unix.Recvmsg(int(s), msg, oob, unix.MSG_CMSG_CLOEXEC)
		return !errors.Is(got, unix.EAGAIN)
	})
	switch {
	case err != nil && ctx.Err() != nil:
		return -1, context.Cause(ctx)
	case err != nil || got != nil:
		return -1, errors.Join(err, got)
	case oobn > 0:
		return fileIn(oob[:oobn])
	}
	if f, ok := wire.DecodeFault(msg[:n]); ok {
		return -1, &fault{f.Step, f.Object, syscall.Errno(f.Errno)}
	}
	return -1, errors.New("ten-init was killed before it could send a socket")
}

func fileIn(oob []byte) (int, error) {
	list, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return -1, err
	}
	for _, m := range list {
		if fds, err := unix.ParseUnixRights(&m); err == nil && len(fds) == 1 {
			return fds[0], nil
		}
	}
	return -1, errors.New("a message without a file")
}
