package main

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/tenement/ten/runtimes/launch/wire"
)

// supervise reaps until the program has ended, then ends everything that is
// left, saves what nobody read, and returns the status to leave with.
func supervise(pid uintptr, plan *wire.View) int {
	status := reapUntil(pid)
	rec := wire.Exit{Code: uint8(status >> 8)}
	if sig := uint8(status & 0x7f); sig != 0 {
		rec.Signal, rec.Code = sig, 128+sig
		rec.OOM = sig == uint8(unix.SIGKILL) && plan.HasOOM && oomKilled()
	}
	var now unix.Timespec
	call(unix.SYS_CLOCK_GETTIME, unix.CLOCK_REALTIME, uintptr(unsafe.Pointer(&now)), 0, 0, 0)
	rec.AtNano = now.Sec*1e9 + now.Nsec
	if !alone() {
		save(&rec) // the rest may take its time to die
		killRest(plan.Walls)
	}
	saveOutput(&rec)
	rec.Done = true
	save(&rec)
	return int(rec.Code)
}

var exitBytes [wire.ExitSize]byte

func save(rec *wire.Exit) {
	rec.Encode(&exitBytes)
	call(unix.SYS_PWRITE64, wire.FDRecord, bytesAddr(exitBytes[:]), wire.ExitSize, 0, 0)
}

const (
	anyChild = ^uintptr(0) // -1
	sigKill  = uintptr(unix.SIGKILL)
)

// reapUntil waits for children, among them adopted ones, until pid has ended.
func reapUntil(pid uintptr) uint32 {
	for {
		var status uint32
		got, e := value(unix.SYS_WAIT4, anyChild, uintptr(unsafe.Pointer(&status)), 0)
		if got == pid || e == unix.ECHILD {
			return status
		}
	}
}

// alone reaps what has ended and reports whether nothing else is left.
func alone() bool {
	for {
		got, e := value(unix.SYS_WAIT4, anyChild, 0, unix.WNOHANG)
		if e == unix.ECHILD {
			return true
		}
		if e == 0 && got == 0 {
			return false
		}
	}
}

// killRest ends all other processes of the instance and reaps them.
func killRest(pid1 bool) {
	for !alone() {
		if pid1 {
			call(unix.SYS_KILL, anyChild, sigKill, 0, 0, 0)
		} else {
			killChildren()
		}
		value(unix.SYS_WAIT4, anyChild, 0, 0)
	}
}

var (
	entries  [8192]byte
	statPath [32]byte
	stat     [512]byte
)

// killChildren kills init's own children. Nobody else reaps them, so their pids
// cannot have been given to others; what they leave behind becomes a child in
// turn and is met in the next round.
func killChildren() {
	proc := "/proc\x00"
	dir, e := value(unix.SYS_OPENAT, atFDCWD, addr(proc), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC)
	if e != 0 {
		return
	}
	self, _ := value(unix.SYS_GETPID, 0, 0, 0)
	for {
		n, e := value(unix.SYS_GETDENTS64, dir, bytesAddr(entries[:]), uintptr(len(entries)))
		if e != 0 || n == 0 || n > uintptr(len(entries)) {
			break
		}
		// inode 8, offset 8, length 2, type 1, name
		for b := entries[:n]; len(b) > 19; {
			length := int(b[16]) | int(b[17])<<8
			if length < 19 || length > len(b) {
				break
			}
			if pid := number(b[19:length]); pid != 0 && parentOf(pid, b[19:length]) == self {
				call(unix.SYS_KILL, pid, sigKill, 0, 0, 0)
			}
			b = b[length:]
		}
	}
	call(unix.SYS_CLOSE, dir, 0, 0, 0, 0)
}

// parentOf reads the parent from /proc/PID/stat: the second field behind the
// name, which ends at the last parenthesis.
func parentOf(pid uintptr, name []byte) uintptr {
	n := copy(statPath[:], "/proc/")
	for i := 0; i < len(name) && name[i] != 0 && n < 20; i++ {
		statPath[n] = name[i]
		n++
	}
	copy(statPath[n:], "/stat\x00")
	fd, e := value(unix.SYS_OPENAT, atFDCWD, bytesAddr(statPath[:]), unix.O_RDONLY|unix.O_CLOEXEC)
	if e != 0 {
		return 0
	}
	got, e := value(unix.SYS_READ, fd, bytesAddr(stat[:]), uintptr(len(stat)))
	call(unix.SYS_CLOSE, fd, 0, 0, 0, 0)
	if e != 0 || got > uintptr(len(stat)) {
		return 0
	}
	b := stat[:got]
	end := len(b) - 1
	for end >= 0 && b[end] != ')' {
		end--
	}
	if end < 0 || end+4 >= len(b) {
		return 0
	}
	return number(b[end+4:]) // past ") S "
}

// number reads the decimal at the front of b, up to the first byte that is no
// digit; 0 where there is none.
func number(b []byte) uintptr {
	n := uintptr(0)
	for _, c := range b {
		if c < '0' || c > '9' || n > 1<<30 {
			break
		}
		n = n*10 + uintptr(c-'0')
	}
	return n
}

var unread [1 << 20]byte

// saveOutput moves what is left in the output pipes behind the record. Nobody
// can write to them any more, and a pipe is emptied in one read, so a reader on
// the host has all that came before.
func saveOutput(rec *wire.Exit) {
	var st unix.Stat_t
	if call(unix.SYS_FSTAT, wire.FDRecord, uintptr(unsafe.Pointer(&st)), 0, 0, 0) != 0 {
		return
	}
	rec.Saved = uint64(st.Size)
	rec.OutLen = saveUnread(wire.FDOut, uintptr(st.Size))
	rec.ErrLen = saveUnread(wire.FDErr, uintptr(rec.Saved+rec.OutLen))
}

func saveUnread(pipe, offset uintptr) uint64 {
	n, e := value(unix.SYS_READ, pipe, bytesAddr(unread[:]), uintptr(len(unread)))
	if e != 0 || n > uintptr(len(unread)) {
		return 0
	}
	saved := uintptr(0)
	for saved < n {
		m, _, e := syscall.RawSyscall6(unix.SYS_PWRITE64, wire.FDRecord, bytesAddr(unread[saved:]), n-saved, offset+saved, 0, 0)
		if e != 0 || m == 0 {
			break
		}
		saved += m
	}
	return uint64(saved)
}

var oomCount [1024]byte

// oomKilled reads "oom_kill N" from the cgroup's own count.
func oomKilled() bool {
	n, _, e := syscall.RawSyscall6(unix.SYS_PREAD64, wire.FDOOM, bytesAddr(oomCount[:]), uintptr(len(oomCount)), 0, 0, 0)
	if e != 0 || n > uintptr(len(oomCount)) {
		return false
	}
	const key = "oom_kill "
	for b := oomCount[:n]; len(b) > len(key); b = b[1:] {
		if string(b[:len(key)]) == key {
			return number(b[len(key):]) > 0
		}
	}
	return false
}
