package main

import (
	"golang.org/x/sys/unix"

	"github.com/tenement/ten/runtimes/launch/wire"
)

// main is for a link without -E.
func main() { start() }

var planBytes [wire.MaxPlan]byte

// start is the whole life of init.
func start() {
	becomeInit()
	var plan wire.View
	receivePlan(&plan)
	if plan.Lend != 0 {
		lend(uintptr(plan.Lend))
	}
	if plan.Loopback {
		loopbackUp()
	}
	if plan.Walls {
		buildWalls(&plan)
	} else {
		check("subreaper", "self", call(unix.SYS_PRCTL, unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0))
	}
	if plan.Trial {
		exit(0)
	}
	awaitGo()
	socket := listen(&plan)
	pid := run(&plan, socket)
	if socket != noSocket {
		// Nobody but the program has it: when it ends, connections are refused.
		call(unix.SYS_CLOSE, socket, 0, 0, 0, 0)
	}
	call(unix.SYS_CLOSE, wire.FDConn, 0, 0, 0, 0)
	exit(supervise(pid, &plan))
}

// becomeInit makes the process deaf to signals meant for the program, keeps
// all but the first three files from it, and gives signals that the launcher
// ignored their default action back, which the program inherits.
func becomeInit() {
	name := "ten-init\x00"
	call(unix.SYS_PRCTL, unix.PR_SET_NAME, addr(name), 0, 0, 0)
	if e := call(unix.SYS_CLOSE_RANGE, 3, 1<<30, unix.CLOSE_RANGE_CLOEXEC, 0, 0); e != 0 {
		for fd := uintptr(3); fd <= wire.FDOOM; fd++ {
			call(unix.SYS_FCNTL, fd, unix.F_SETFD, unix.FD_CLOEXEC, 0, 0)
		}
	}
	maskSignals(^uint64(0))
	for sig := uintptr(1); sig <= 64; sig++ { // with the real-time signals, which Go's own start of a program leaves alone
		defaultAction(sig)
	}
}

// receivePlan reads the plan. A launcher that died before sending it leaves
// nothing to do.
func receivePlan(plan *wire.View) {
	var head [4]byte
	readFull(head[:])
	n, ok := wire.PlanSize(&head)
	if !ok {
		fail("plan", "size", unix.EINVAL)
	}
	readFull(planBytes[:n])
	if !plan.Decode(planBytes[:n]) {
		fail("plan", "content", unix.EINVAL)
	}
}

// awaitGo blocks until the launcher has recorded this instance, and leaves when
// the launcher is gone: what is not recorded must not run.
func awaitGo() {
	var b [1]byte
	readFull(b[:])
	if b[0] != wire.Go {
		fail("go", "byte", unix.EINVAL)
	}
}

// readFull fills b from the launcher's socket; its end is the end of init.
func readFull(b []byte) {
	for len(b) > 0 {
		n, e := value(unix.SYS_READ, wire.FDConn, bytesAddr(b), uintptr(len(b)))
		if e == unix.EINTR {
			continue
		}
		if e != 0 || n == 0 {
			exit(1)
		}
		b = b[n:]
	}
}
