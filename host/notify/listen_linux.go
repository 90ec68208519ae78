package notify

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tenement/ten/runtimes"
)

const (
	maxMessage = 4096 // bytes of one; a longer one is not read in part
	// maxControl has room for as many files as the kernel takes in one message:
	// those that found none would be closed by the reading.
	maxControl = 2048
)

// Listener hears all instances of a host. Make it with Listen, start it with Run.
type Listener struct {
	*notes
	conn    *net.UnixConn
	budget  *budget // of who speaks; used by Run alone
	shutter shutter
}

// Listen opens the socket, so that what is said from then on is heard once Run runs.
func Listen(cfg Config) (*Listener, error) {
	n, err := newNotes(cfg)
	if err != nil {
		return nil, err
	}
	if err := os.Remove(cfg.Socket); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("socket for what instances say: %w", err)
	}
	prepare := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var err error
		if cerr := raw.Control(func(fd uintptr) { err = identify(int(fd)) }); cerr != nil {
			return cerr
		}
		return err
	}}
	conn, err := prepare.ListenPacket(context.Background(), "unixgram", cfg.Socket)
	if err != nil {
		return nil, fmt.Errorf("socket for what instances say: %w", err)
	}
	return &Listener{notes: n, conn: conn.(*net.UnixConn), budget: newBudget()}, nil
}

// identify has the kernel say with each message who sent it. The mode is given
// before the socket has a name: instances run as the daemon's own user.
func identify(fd int) error {
	if err := unix.Fchmod(fd, 0o600); err != nil {
		return os.NewSyscallError("fchmod", err)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PASSCRED, 1); err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	// Before Linux 6.5 there is none; then the pid has to do.
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PASSPIDFD, 1)
	return nil
}

// Said gives what an incarnation has said of itself so far.
func (l *Listener) Said(key runtimes.Key) Said { return l.get(key) }

// Busy reports that an incarnation is in the middle of something.
func (l *Listener) Busy(key runtimes.Key) bool { return l.get(key).Busy() }

// Run hears what is said until ctx ends.
func (l *Listener) Run(ctx context.Context) error {
	defer l.conn.Close()
	stop := context.AfterFunc(ctx, func() { l.conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	message, oob := make([]byte, maxMessage), make([]byte, maxControl)
	for {
		n, oobn, flags, _, err := l.conn.ReadMsgUnix(message, oob)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			return fmt.Errorf("hear instances: %w", err)
		}
		from := readSender(oob[:oobn])
		if now := time.Now(); flags&unix.MSG_TRUNC == 0 && l.budget.process(from.pid, now) {
			l.take(from, string(message[:n]), now)
		}
		from.close(&l.shutter) // who waits for it to be heard, waits for this
	}
}

// take finds out who speaks, and listens to those who are of an instance.
func (l *Listener) take(from sender, message string, now time.Time) {
	key, ok := l.cfg.Owner(from.pid)
	if !ok || !from.same() {
		l.cfg.Log.Debug("nobody of ours spoke, or nobody that is still there", "reason", fmt.Sprintf("pid %d", from.pid))
		return
	}
	heard, warn := l.budget.instance(key, from.pid, now)
	if warn {
		l.cfg.Log.Warn("instance says too much to be heard", "service", key.Service, "instance", key.Instance, "reason", fmt.Sprintf("more than %d messages a second", budgetEach))
	}
	if !heard {
		return
	}
	if err := l.hear(key, message); err != nil {
		l.cfg.Log.Warn("what an instance said may be forgotten at the next start", "service", key.Service, "instance", key.Instance, "err", err)
	}
}

// sender is who sent a message, and the files that came with it.
type sender struct {
	pid   int
	pidfd int // -1 where the kernel gives none
	files []int
}

func readSender(oob []byte) sender {
	s := sender{pidfd: -1}
	list, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return s
	}
	for _, m := range list {
		if m.Header.Level != unix.SOL_SOCKET {
			continue
		}
		switch m.Header.Type {
		case unix.SCM_CREDENTIALS:
			if cred, err := unix.ParseUnixCredentials(&m); err == nil {
				s.pid = int(cred.Pid)
			}
		case unix.SCM_PIDFD:
			if len(m.Data) >= 4 {
				s.pidfd = int(int32(m.Data[0]) | int32(m.Data[1])<<8 | int32(m.Data[2])<<16 | int32(m.Data[3])<<24)
			}
		case unix.SCM_RIGHTS:
			if fds, err := unix.ParseUnixRights(&m); err == nil {
				s.files = append(s.files, fds...)
			}
		}
	}
	return s
}

// same reports whether the pid was the sender's all the time: one that is gone
// may have left its number to somebody else.
func (s sender) same() bool {
	return s.pidfd < 0 || unix.PidfdSendSignal(s.pidfd, 0, nil, 0) != unix.ESRCH
}

func (s sender) close(by *shutter) {
	for _, fd := range s.files {
		by.close(fd)
	}
	if s.pidfd >= 0 {
		unix.Close(s.pidfd)
	}
}
