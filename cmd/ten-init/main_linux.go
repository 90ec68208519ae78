// Command ten-init is the first process of an instance. The launcher starts it
// with a socket on which it hears what to do (wire.Plan); it builds the
// instance's own view of the machine, waits for the go byte, runs the program,
// and stays to reap orphans, to keep the output pipes open and to leave a
// record of how the program ended. When the program ends, so does everything
// it started.
//
// At the namespace level it is pid 1; at the process level it is a plain
// process that adopts orphans (a sub-reaper). It never outlives its instance
// and does not depend on the launcher once the program runs.
//
// Start time and memory are paid once per instance: no package beyond runtime,
// syscall and wire belongs here.
package main

import (
	"runtime"
	"syscall"
	"unsafe"

	"github.com/tenement/ten/runtimes/launch/wire"
)

func main() {
	// The program's life hangs on the thread that forked it (PDEATHSIG), and
	// pid 1 is the main thread.
	runtime.LockOSThread()
	becomeInit()
	plan := receivePlan()
	if plan.Name != "" {
		setName(plan.Name)
	}
	if plan.Walls {
		buildWalls(plan)
	} else {
		check("subreaper", "self", prctl(prSetChildSubreaper, 1))
	}
	awaitGo()
	pid := run(plan)
	syscall.Close(wire.FDConn)
	status := supervise(pid, plan)
	syscall.Exit(status)
}

// becomeInit makes the process deaf to signals meant for the program, and its
// open files, of which the program inherits only the first three, unreadable
// from inside.
func becomeInit() {
	prctl(syscall.PR_SET_DUMPABLE, 0)
	if closeOnExec(3) != 0 {
		for fd := 3; fd <= wire.FDOOM; fd++ {
			syscall.CloseOnExec(fd)
		}
	}
	// The Go runtime leaves these two ignored when the launcher had them
	// ignored, and the program would inherit that.
	setDefault(syscall.SIGHUP)
	setDefault(syscall.SIGINT)
}

// receivePlan reads the plan. A launcher that died before sending it leaves
// nothing to do.
func receivePlan() *wire.Plan {
	var head [4]byte
	readFull(head[:])
	n, ok := wire.PlanSize(head[:])
	if !ok {
		fail("plan", "size", syscall.EINVAL)
	}
	body := make([]byte, n)
	readFull(body)
	plan, ok := wire.DecodePlan(body)
	if !ok {
		fail("plan", "content", syscall.EINVAL)
	}
	return plan
}

// awaitGo blocks until the launcher has recorded this instance, and leaves when
// the launcher is gone: what is not recorded must not run.
func awaitGo() {
	var b [1]byte
	readFull(b[:])
	if b[0] != wire.Go {
		fail("go", "byte", syscall.EINVAL)
	}
}

// readFull fills b from the launcher's socket; its end is the end of init.
func readFull(b []byte) {
	for len(b) > 0 {
		n, err := syscall.Read(wire.FDConn, b)
		switch {
		case err == syscall.EINTR:
		case err != nil || n == 0:
			syscall.Exit(1)
		default:
			b = b[n:]
		}
	}
}

// run starts the program and returns its pid.
func run(plan *wire.Plan) int {
	check("chdir", plan.Dir, errno(syscall.Chdir(plan.Dir)))
	if plan.DropAmbient {
		check("capabilities", "ambient", prctl(prCapAmbient, prCapAmbientClearAll))
	}
	path := lookPath(plan)
	sys := &syscall.SysProcAttr{Setsid: true}
	if !plan.Walls {
		sys.Pdeathsig = syscall.SIGKILL
	}
	pid, err := syscall.ForkExec(path, plan.Argv, &syscall.ProcAttr{Env: plan.Env, Files: []uintptr{0, 1, 2}, Sys: sys})
	check("exec", path, errno(err))
	return pid
}

// lookPath finds the program in the instance's own view. Where nothing fits it
// returns the bare name, for which exec then says ENOENT.
func lookPath(plan *wire.Plan) string {
	name := plan.Argv[0]
	for i := 0; i < len(name); i++ {
		if name[i] == '/' {
			return name
		}
	}
	list := plan.Path
	for list != "" {
		dir := list
		list = ""
		for i := 0; i < len(dir); i++ {
			if dir[i] == ':' {
				dir, list = dir[:i], dir[i+1:]
				break
			}
		}
		if dir == "" {
			continue
		}
		path := dir + "/" + name
		if executable(path) {
			return path
		}
	}
	return name
}

func executable(path string) bool {
	var st syscall.Stat_t
	return syscall.Stat(path, &st) == nil && st.Mode&syscall.S_IFMT == syscall.S_IFREG && syscall.Access(path, 1) == nil
}

// check ends init with a fault when a step failed.
func check(step, object string, e syscall.Errno) {
	if e != 0 {
		fail(step, object, e)
	}
}

// fail tells the launcher what went wrong and ends init.
func fail(step, object string, e syscall.Errno) {
	msg := wire.AppendFault(nil, wire.Fault{Step: step, Object: object, Errno: uint32(e)})
	syscall.Write(wire.FDConn, msg)
	syscall.Exit(1)
}

func errno(err error) syscall.Errno {
	if err == nil {
		return 0
	}
	if e, ok := err.(syscall.Errno); ok {
		return e
	}
	return syscall.EINVAL
}

const (
	prSetChildSubreaper  = 36
	prCapAmbient         = 47
	prCapAmbientClearAll = 4
	sysCloseRange        = 436
	closeRangeCloexec    = 4
)

func prctl(option, arg uintptr) syscall.Errno {
	_, _, e := syscall.RawSyscall6(syscall.SYS_PRCTL, option, arg, 0, 0, 0, 0)
	return e
}

func setName(name string) {
	var b [16]byte
	copy(b[:15], name)
	prctl(syscall.PR_SET_NAME, uintptr(unsafe.Pointer(&b)))
}

func closeOnExec(from uintptr) syscall.Errno {
	_, _, e := syscall.RawSyscall(sysCloseRange, from, ^uintptr(0)>>33, closeRangeCloexec)
	return e
}

// setDefault gives a signal its default action back.
func setDefault(sig syscall.Signal) {
	var action [4]uintptr // handler, flags, restorer, mask: all zero is the default
	syscall.RawSyscall6(syscall.SYS_RT_SIGACTION, uintptr(sig), uintptr(unsafe.Pointer(&action)), 0, 8, 0, 0)
}
