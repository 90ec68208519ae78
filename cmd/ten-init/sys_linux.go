package main

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/tenement/ten/runtimes/launch/wire"
)

// call makes a system call of at most five arguments. It must not be preceded
// by a stack check: its arguments may be addresses of variables on the stack.
//
//go:nosplit
func call(nr, a, b, c, d, e uintptr) syscall.Errno {
	_, _, errno := syscall.RawSyscall6(nr, a, b, c, d, e, 0)
	return errno
}

// value makes a system call that returns something.
//
//go:nosplit
func value(nr, a, b, c uintptr) (uintptr, syscall.Errno) {
	v, _, errno := syscall.RawSyscall6(nr, a, b, c, 0, 0, 0)
	return v, errno
}

// addr is the address of a string that a zero byte follows, as those of a plan
// do; constants bring their own.
func addr(s string) uintptr { return uintptr(unsafe.Pointer(unsafe.StringData(s))) }

func bytesAddr(b []byte) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(b))) }

func exit(status int) {
	for {
		call(unix.SYS_EXIT_GROUP, uintptr(status), 0, 0, 0, 0)
	}
}

// check ends init with a fault when a step failed.
func check(step, object string, e syscall.Errno) {
	if e != 0 {
		fail(step, object, e)
	}
}

var faultBytes [wire.MaxFault]byte

// conn is the launcher's socket, which the program's process moves out of the way.
var conn uintptr = wire.FDConn

// fail tells the launcher what went wrong and ends the process.
func fail(step, object string, e syscall.Errno) {
	f := wire.Fault{Step: step, Object: object, Errno: uint32(e)}
	n := f.Encode(&faultBytes)
	call(unix.SYS_WRITE, conn, bytesAddr(faultBytes[:]), uintptr(n), 0, 0)
	exit(1)
}

// maskSignals blocks the signals whose bits are set and no others.
func maskSignals(set uint64) {
	call(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&set)), 0, 8, 0)
}

var noAction [4]uint64 // handler, flags, restorer, mask: all zero is the default

func defaultAction(sig uintptr) {
	call(unix.SYS_RT_SIGACTION, sig, uintptr(unsafe.Pointer(&noAction)), 0, 8, 0)
}

const atFDCWD = ^uintptr(99) // AT_FDCWD, -100
