package runtimetest

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/tenement/ten/runtimes"
)

// counting is a script that counts in a file, and does so in a child too.
const counting = `(i=0; while :; do i=$((i+1)); echo $i > child.new; mv child.new child; sleep 0.01; done) &
i=0; while :; do i=$((i+1)); echo $i > own.new; mv own.new own; sleep 0.01; done`

func (b *bench) counted(name string) int {
	b.Helper()
	n, err := strconv.Atoi(strings.TrimSpace(b.made(name)))
	if err != nil {
		b.Fatal(err)
	}
	return n
}

// frozenStandsStill shows that no process of a suspended instance gets time, and
// that a neighbour does; then both go on.
func frozenStandsStill(b *bench) {
	spec := b.shell(counting)
	b.start(spec)
	next := b.shell("i=0; while :; do i=$((i+1)); echo $i > next.new; mv next.new next; sleep 0.01; done")
	next.Key.Instance = "neighbour"
	b.start(next)
	b.made("own")
	b.made("child")
	b.suspendOne(spec.Key)
	own, child, neighbour := b.counted("own"), b.counted("child"), b.counted("next")
	b.eventually("the neighbour goes on", func() bool { return b.counted("next") > neighbour+5 })
	if now := b.counted("own"); now != own {
		b.Errorf("suspended, the program counted from %d to %d", own, now)
	}
	if now := b.counted("child"); now != child {
		b.Errorf("suspended, its child counted from %d to %d", child, now)
	}
	b.resume(spec.Key)
	b.eventually("it goes on", func() bool { return b.counted("own") > own && b.counted("child") > child })
	b.stop(spec.Key)
	b.stop(next.Key)
	b.bare()
}

// suspendOne is suspend where others run beside it.
func (b *bench) suspendOne(key runtimes.Key) {
	b.Helper()
	err := b.suspender().Suspend(b.ctx(), key)
	var u *runtimes.UnsupportedError
	if errors.As(err, &u) {
		b.Skipf("%v; %s", err, u.Hint)
	}
	if err != nil {
		b.Fatalf("suspend: %v", err)
	}
}

// frozenOutlivesDaemon kills the daemon that froze an instance: the next one
// finds it asleep, and can wake it.
func frozenOutlivesDaemon(b *bench) {
	spec := b.shell(counting)
	cmd := b.startDaemon(false, spec)
	b.made("own")
	b.suspend(spec.Key)
	b.killDaemon(cmd)
	b.reopen()
	own := b.counted("own")
	if in := b.only(); in.Phase != runtimes.Sleeping || in.Pid == 0 {
		b.Errorf("after the kill List shows %s pid %d", in.Phase, in.Pid)
	}
	if now := b.counted("own"); now != own {
		b.Errorf("it counted from %d to %d", own, now)
	}
	b.resume(spec.Key)
	b.eventually("it goes on", func() bool { return b.counted("own") > own })
	b.suspend(spec.Key)
	b.stop(spec.Key)
	b.bare()
}

// frozenIsStopped stops suspended instances of every kind: one that ends on the
// signal, with what it traps done first, and one that ignores it.
func frozenIsStopped(b *bench) {
	polite, mark := b.family("exit 0")
	polite.Command[2] = "trap 'echo bye > bye; exit 7' TERM; " + polite.Command[2]
	b.start(polite)
	b.grown(mark)
	b.suspend(polite.Key)
	b.stop(polite.Key)
	b.extinct(mark)
	stubborn := b.spec(Stubborn...)
	stubborn.StopTimeout = 200 * time.Millisecond
	b.start(stubborn)
	time.Sleep(50 * time.Millisecond) // let it set its trap
	b.suspend(stubborn.Key)
	b.stop(stubborn.Key)
	b.bare()
}

// frozenIsKilled kills the program of a suspended instance, as an administrator
// or the kernel's memory killer might. It is seen, and so is how it ended.
func frozenIsKilled(b *bench) {
	for i, wake := range []func(runtimes.Key){func(runtimes.Key) { b.list() }, b.resume} {
		spec := b.spec(Forever...)
		spec.Key.Generation = uint64(i + 1)
		in := b.start(spec)
		b.suspend(spec.Key)
		syscall.Kill(in.Pid, syscall.SIGKILL)
		b.eventually("the program ends", func() bool { return ended(in.Pid) })
		wake(spec.Key)
		if exit := b.wait(spec.Key); !exit.Known || exit.Signal != int(syscall.SIGKILL) {
			b.Errorf("Wait says %+v, want signal 9", exit)
		}
		if got := b.only(); got.Phase != runtimes.Failed {
			b.Errorf("List shows %s", got.Phase)
		}
		if err := b.suspender().Suspend(b.ctx(), spec.Key); err == nil {
			b.Error("what has ended was suspended")
		}
		b.stop(spec.Key)
	}
	b.bare()
}

// ended reports whether a process has ended, reaped or not.
func ended(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, state, _ := strings.Cut(string(stat), ") ")
	return err != nil || strings.HasPrefix(state, "Z")
}

// frozenStillQueues connects to a suspended program: the kernel takes the
// connection, and it is answered after the wake.
func frozenStillQueues(b *bench) {
	for i, at := range b.places() {
		spec := b.python(strings.Replace(activated, `while not os.path.exists("go")`, "while False", 1))
		spec.ListenFDs, spec.Key.Generation = true, uint64(i+1)
		at.spec(&spec)
		b.start(spec)
		if said := greeting(at.dial(b, spec)); said != "1 http True" {
			b.Fatalf("%s: awake it says %q", at.name, said)
		}
		b.suspend(spec.Key)
		conn, err := at.dial(b, spec)
		if err != nil {
			b.Fatalf("%s: asleep: %v", at.name, err)
		}
		conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		if n, err := conn.Read(make([]byte, 1)); n != 0 || !isTimeout(err) {
			b.Errorf("%s: asleep it answers: %d, %v", at.name, n, err)
		}
		b.resume(spec.Key)
		if said := greeting(conn, nil); said != "1 http True" {
			b.Errorf("%s: woken it says %q", at.name, said)
		}
		b.stop(spec.Key)
	}
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}

// frozenKeepsLimits suspends and resumes an instance with a limit on memory,
// which holds after that as before.
func frozenKeepsLimits(b *bench) {
	if _, err := exec.LookPath("perl"); err != nil {
		b.Skip("needs perl, to use memory with")
	}
	spec := b.spec("perl", "-e", `sleep 1 until -e "go"; $x = "x" x (300 << 20); sleep 1000`)
	spec.Limits.MemoryMB = 48
	b.limited(spec)
	b.suspend(spec.Key)
	b.resume(spec.Key)
	if err := exec.Command("touch", filepath.Join(b.data, "go")).Run(); err != nil {
		b.Fatal(err)
	}
	if exit := b.wait(spec.Key); !exit.OOM || exit.Signal != 9 {
		b.Errorf("over the limit it ended with %+v, want an out-of-memory kill", exit)
	}
	b.stop(spec.Key)
	b.bare()
}
