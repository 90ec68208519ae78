package main

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/tenement/ten/runtimes/launch/wire"
)

// Every argument and variable took at least five bytes of the plan.
var (
	argv [wire.MaxPlan / 5]uintptr
	envp [wire.MaxPlan / 5]uintptr
)

// run starts the program and returns its pid. Whether exec succeeds only the
// child learns: it reports a fault on the socket itself, and closes it by
// succeeding.
func run(plan *wire.View, socket uintptr) uintptr {
	list(&argv, plan.Argv)
	n := list(&envp, plan.Env)
	self, _ := value(unix.SYS_GETPID, 0, 0, 0)
	pid, e := fork()
	check("fork", "program", e)
	if pid == 0 {
		if socket != noSocket {
			giveSocket(socket, n)
		}
		becomeProgram(plan, self)
	}
	return pid
}

// list fills a zero-terminated array of C strings and returns how many they are.
func list(array *[wire.MaxPlan / 5]uintptr, l wire.List) int {
	var s string
	n := 0
	for n < len(array)-2 && l.Next(&s) {
		array[n] = addr(s)
		n++
	}
	return n
}

// fork makes a copy of the process, which is small enough for that, and sleeps
// until the copy has become the program: the two would only be in each other's
// way.
func fork() (uintptr, syscall.Errno) {
	pid, _, e := syscall.RawSyscall6(unix.SYS_CLONE, unix.CLONE_VFORK|uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
	return pid, e
}

// noCaps are empty sets of capabilities. The ambient set follows them.
var (
	capHeader = unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	noCaps    [2]unix.CapUserData
)

// becomeProgram ends in the program or in a fault.
func becomeProgram(plan *wire.View, parent uintptr) {
	// A session of its own: no terminal of the daemon's is within reach, and
	// what the program signals as its group leaves init out. Init stays in the
	// daemon's session, deaf: the scheduler weighs sessions against each other,
	// and one that has just been made waits longest on a busy host.
	call(unix.SYS_SETSID, 0, 0, 0, 0, 0)
	if !plan.Walls {
		// Without a pid namespace the program must not outlive an init that
		// somebody killed: it would be lost to Stop.
		call(unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0)
		if now, _ := value(unix.SYS_GETPPID, 0, 0, 0); now != parent {
			exit(1)
		}
	}
	if plan.DropCaps {
		check("capabilities", "all", call(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&capHeader)), uintptr(unsafe.Pointer(&noCaps)), 0, 0, 0))
	}
	check("chdir", plan.Dir, call(unix.SYS_CHDIR, addr(plan.Dir), 0, 0, 0, 0))
	maskSignals(0)
	var name string
	first := plan.Argv
	first.Next(&name)
	if hasSlash(name) {
		fail("exec", name, exec(addr(name)))
	}
	fail("exec", name, execInPath(name, plan.Path))
}

func exec(path uintptr) syscall.Errno {
	return call(unix.SYS_EXECVE, path, uintptr(unsafe.Pointer(&argv)), uintptr(unsafe.Pointer(&envp)), 0, 0)
}

// execInPath tries the directories of path in turn, in the instance's own view.
// A file that may not be executed is remembered and passed over.
func execInPath(name, path string) syscall.Errno {
	worst := unix.ENOENT
	for len(path) > 0 {
		end := 0
		for end < len(path) && path[end] != ':' {
			end++
		}
		if end > 0 && end+1+len(name) < len(pathCopy) {
			n := copy(pathCopy[:], path[:end])
			pathCopy[n] = '/'
			n += 1 + copy(pathCopy[n+1:], name)
			pathCopy[n] = 0
			switch e := exec(bytesAddr(pathCopy[:])); e {
			case unix.ENOENT, unix.ENOTDIR:
			case unix.EACCES:
				worst = e
			default:
				return e
			}
		}
		path = path[min(end+1, len(path)):]
	}
	return worst
}

func hasSlash(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] == '/' {
			return true
		}
	}
	return false
}
