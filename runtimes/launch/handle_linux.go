package launch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tenement/ten/runtimes/launch/wire"
)

// handle names a process across daemon restarts: a pid alone may be reused, a
// pid with the clock tick it started at in this boot is not.
type handle struct {
	pid   int
	start uint64
	boot  string
}

func (h handle) String() string { return fmt.Sprintf("1:%d:%d:%s", h.pid, h.start, h.boot) }

func parseHandle(s string) (handle, error) {
	part := strings.Split(s, ":")
	if len(part) != 4 || part[0] != "1" {
		return handle{}, fmt.Errorf("handle %q: unknown form", s)
	}
	pid, err1 := strconv.Atoi(part[1])
	start, err2 := strconv.ParseUint(part[2], 10, 64)
	if err := errors.Join(err1, err2); err != nil || pid <= 0 {
		return handle{}, fmt.Errorf("handle %q: unknown form", s)
	}
	return handle{pid: pid, start: start, boot: part[3]}, nil
}

// procStat is the part of /proc/PID/stat that tells processes apart.
type procStat struct {
	state  byte
	parent int
	start  uint64
	memory uint64 // size of its address space, 0 once it has begun to end
}

func (s procStat) ended() bool { return s.state == 'Z' || s.state == 'X' }

func readStat(pid int) (procStat, error) {
	b, err := readProc("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return procStat{}, err
	}
	// The name is in parentheses and may hold any byte; the rest is plain.
	end := bytes.LastIndexByte(b, ')')
	f := bytes.Fields(b[end+1:])
	if end < 0 || len(f) < 21 {
		return procStat{}, fmt.Errorf("/proc/%d/stat: unknown form", pid)
	}
	parent, err1 := strconv.Atoi(string(f[1]))
	start, err2 := strconv.ParseUint(string(f[19]), 10, 64)
	memory, err3 := strconv.ParseUint(string(f[20]), 10, 64)
	return procStat{state: f[0][0], parent: parent, start: start, memory: memory}, errors.Join(err1, err2, err3)
}

// readProc reads a small file of /proc without asking for its size first.
func readProc(path string) ([]byte, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	b := make([]byte, 1024)
	n, err := unix.Read(fd, b)
	return b[:max(n, 0)], err
}

// alive reports whether the process exists and has not ended.
func (l *Launcher) alive(h handle) bool {
	if h.boot != l.boot {
		return false
	}
	st, err := readStat(h.pid)
	return err == nil && st.start == h.start && !st.ended()
}

// open returns a pidfd for the process, an ended one that nobody has reaped
// included, or ESRCH.
func (l *Launcher) open(h handle) (*os.File, error) {
	if h.boot != l.boot {
		return nil, unix.ESRCH
	}
	f, err := pidfdOpen(h.pid)
	if err != nil {
		return nil, err
	}
	if st, err := readStat(h.pid); err != nil || st.start != h.start {
		f.Close()
		return nil, unix.ESRCH
	}
	return f, nil
}

// program returns the pid of the program: the first child of init, which has
// others only when it adopted orphans. 0 means that there is none.
func program(initPid int) int {
	pid := strconv.Itoa(initPid)
	b, err := readProc("/proc/" + pid + "/task/" + pid + "/children")
	if err != nil {
		return oldestChild(initPid)
	}
	first, _, _ := bytes.Cut(b, []byte(" "))
	n, _ := strconv.Atoi(string(first))
	return n
}

// oldestChild finds the program on kernels without the list of children.
func oldestChild(parent int) int {
	dir, err := os.Open("/proc")
	if err != nil {
		return 0
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	found, at := 0, uint64(0)
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		st, err := readStat(pid)
		if err == nil && st.parent == parent && (found == 0 || st.start < at) {
			found, at = pid, st.start
		}
	}
	return found
}

// openProgram returns a pidfd for the program of an init that is alive.
func openProgram(initPid int) (*os.File, error) {
	pid := program(initPid)
	if pid == 0 {
		return nil, unix.ESRCH
	}
	f, err := pidfdOpen(pid)
	if err != nil {
		return nil, err
	}
	if st, err := readStat(pid); err != nil || st.parent != initPid {
		f.Close()
		return nil, unix.ESRCH
	}
	return f, nil
}

// pidfdOpen opens a pidfd on which the Go runtime can wait without a thread.
func pidfdOpen(pid int) (*os.File, error) {
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), "pidfd"), nil
}

// holder finds the init that has the record file open, by looking at all
// processes: for a record that cannot say so itself.
func (l *Launcher) holder(path recordPath) (handle, bool) {
	dir, err := os.Open("/proc")
	if err != nil {
		return handle{}, false
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		target, err := os.Readlink("/proc/" + name + "/fd/" + strconv.Itoa(wire.FDRecord))
		if err != nil || target != string(path) {
			continue
		}
		if st, err := readStat(pid); err == nil {
			return handle{pid: pid, start: st.start, boot: l.boot}, true
		}
	}
	return handle{}, false
}

// awaitEnd blocks until the process behind a pidfd has ended.
func awaitEnd(ctx context.Context, pidfd *os.File) error {
	conn, err := pidfd.SyscallConn()
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { pidfd.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	err = conn.Read(func(fd uintptr) bool { return readable(fd) })
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

func readable(fd uintptr) bool {
	p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	n, err := unix.Poll(p, 0)
	return err == nil && n > 0
}

// signal sends a signal to the process behind a pidfd; one that has ended is
// not an error.
func signal(pidfd *os.File, sig unix.Signal) error {
	conn, err := pidfd.SyscallConn()
	if err != nil {
		return err
	}
	var sent error
	if err := conn.Control(func(fd uintptr) { sent = unix.PidfdSendSignal(int(fd), sig, nil, 0) }); err != nil {
		return err
	}
	if errors.Is(sent, unix.ESRCH) {
		return nil
	}
	return sent
}

// reap takes the ended process off the process table if it is our child.
func reap(pidfd *os.File) {
	conn, err := pidfd.SyscallConn()
	if err != nil {
		return
	}
	conn.Control(func(fd uintptr) { unix.Waitid(unix.P_PIDFD, int(fd), nil, unix.WEXITED|unix.WNOHANG, nil) })
}

// kernelStatus asks the kernel how an ended process went, which it tells for
// any process since Linux 6.15, once it has been reaped.
func kernelStatus(pidfd *os.File) (unix.WaitStatus, bool) {
	conn, err := pidfd.SyscallConn()
	if err != nil {
		return 0, false
	}
	info := unix.PidfdInfo{Mask: unix.PIDFD_INFO_EXIT}
	ask := func(fd uintptr) { err = unix.IoctlPidfdInfo(int(fd), &info) }
	if cerr := conn.Control(ask); cerr != nil || err != nil || info.Mask&unix.PIDFD_INFO_EXIT == 0 {
		return 0, false
	}
	return unix.WaitStatus(info.Exit_code), true
}
