package main

import (
	"syscall"
	"unsafe"

	"github.com/tenement/ten/runtimes/launch/wire"
)

// supervise reaps until the program has ended, then ends everything that is
// left, saves what nobody read, and returns the status to leave with.
func supervise(pid int, plan *wire.Plan) int {
	status := reapUntil(pid)
	rec := wire.Exit{Code: uint8(status.ExitStatus())}
	if status.Signaled() {
		rec.Signal = uint8(status.Signal())
		rec.Code = 128 + rec.Signal
		rec.OOM = status.Signal() == syscall.SIGKILL && plan.HasOOM && oomKilled()
	}
	var now syscall.Timeval
	syscall.Gettimeofday(&now)
	rec.AtNano = now.Nano()
	saveExit(&rec)
	killRest(plan.Walls)
	rec.OutLen = saveUnread(wire.FDOut, wire.ExitSize)
	rec.ErrLen = saveUnread(wire.FDErr, wire.ExitSize+int64(rec.OutLen))
	rec.Done = true
	saveExit(&rec)
	return int(rec.Code)
}

func saveExit(rec *wire.Exit) {
	b := rec.Encode()
	syscall.Pwrite(wire.FDExit, b[:], 0)
}

// reapUntil waits for children, among them adopted ones, until pid has ended.
func reapUntil(pid int) syscall.WaitStatus {
	for {
		var status syscall.WaitStatus
		got, err := syscall.Wait4(-1, &status, 0, nil)
		if got == pid && (status.Exited() || status.Signaled()) {
			return status
		}
		if err == syscall.ECHILD {
			return 0
		}
	}
}

// killRest ends all other processes of the instance and reaps them.
func killRest(pid1 bool) {
	for {
		got, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
		switch {
		case err == syscall.ECHILD:
			return
		case got > 0 || err == syscall.EINTR:
			continue
		}
		if pid1 {
			syscall.Kill(-1, syscall.SIGKILL)
		} else {
			killChildren()
		}
		syscall.Wait4(-1, nil, 0, nil)
	}
}

// killChildren kills init's own children. Nobody else reaps them, so their pids
// cannot have been given to others; what they leave behind becomes a child in
// turn and is met in the next round.
func killChildren() {
	dir, err := syscall.Open("/proc", syscall.O_RDONLY|syscall.O_DIRECTORY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer syscall.Close(dir)
	self := syscall.Getpid()
	buf := make([]byte, 8192)
	for {
		n, err := syscall.ReadDirent(dir, buf)
		if err != nil || n <= 0 {
			return
		}
		_, _, names := syscall.ParseDirent(buf[:n], -1, nil)
		for _, name := range names {
			if pid := number(name); pid > 0 && parentOf(name) == self {
				syscall.Kill(pid, syscall.SIGKILL)
			}
		}
	}
}

// parentOf reads the parent from /proc/PID/stat: the second field behind the
// name, which ends at the last parenthesis.
func parentOf(pid string) int {
	fd, err := syscall.Open("/proc/"+pid+"/stat", syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return 0
	}
	defer syscall.Close(fd)
	var b [512]byte
	n, err := syscall.Read(fd, b[:])
	if err != nil {
		return 0
	}
	end := n - 1
	for end >= 0 && b[end] != ')' {
		end--
	}
	if end < 0 || end+4 >= n {
		return 0
	}
	rest := b[end+4 : n] // past ") S "
	for i, c := range rest {
		if c == ' ' {
			return number(string(rest[:i]))
		}
	}
	return 0
}

// number reads a decimal, or gives 0 for what is none.
func number(s string) int {
	n := 0
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' || n > 1<<30 {
			return 0
		}
		n = n*10 + int(s[i]-'0')
	}
	return n
}

// saveUnread moves what is left in an output pipe behind the exit record. It is
// taken in one read, so a reader on the host has all that came before it.
func saveUnread(pipe int, offset int64) uint64 {
	var waiting int32
	_, _, e := syscall.RawSyscall(syscall.SYS_IOCTL, uintptr(pipe), 0x541B /* FIONREAD */, uintptr(unsafe.Pointer(&waiting)))
	if e != 0 || waiting <= 0 {
		return 0
	}
	buf, err := syscall.Mmap(-1, 0, int(waiting), syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_PRIVATE|syscall.MAP_ANON)
	if err != nil {
		return 0
	}
	n, err := syscall.Read(pipe, buf)
	if err != nil || n <= 0 {
		return 0
	}
	saved := 0
	for saved < n {
		m, err := syscall.Pwrite(wire.FDExit, buf[saved:n], offset+int64(saved))
		if err != nil || m <= 0 {
			break
		}
		saved += m
	}
	return uint64(saved)
}

// oomKilled reads "oom_kill N" from the cgroup's own count.
func oomKilled() bool {
	var b [1024]byte
	n, err := syscall.Pread(wire.FDOOM, b[:], 0)
	if err != nil {
		return false
	}
	const key = "oom_kill "
	for i := 0; i+len(key) < n; i++ {
		if string(b[i:i+len(key)]) == key && (i == 0 || b[i-1] == '\n') {
			c := b[i+len(key)]
			return c >= '1' && c <= '9'
		}
	}
	return false
}
