package runtimetest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/tenement/ten/runtimes"
)

// cpuSharesIfPossible is a limit that root can set on most hosts.
func cpuSharesIfPossible() uint32 {
	if os.Geteuid() == 0 {
		return 50
	}
	return 0
}

// limited starts a spec with limits, or skips with what the level says where
// the host cannot enforce them.
func (b *bench) limited(spec runtimes.Spec) runtimes.Instance {
	b.Helper()
	in, err := b.r.Start(b.ctx(), spec)
	var u *runtimes.UnsupportedError
	if errors.As(err, &u) {
		var s *runtimes.StartError
		if !errors.As(err, &s) || s.Step != "limit" || u.Hint == "" || s.Hint != u.Hint || u.Level != b.level {
			b.Errorf("a limit is refused with %#v", err)
		}
		if _, err := b.r.Wait(b.ctx(), spec.Key); !errors.Is(err, runtimes.ErrNotFound) {
			b.Errorf("a refused limit left an instance: %v", err)
		}
		b.Skipf("%v; %s", err, u.Hint)
	}
	if err != nil {
		b.Fatal(explain(err))
	}
	return in
}

// groupFile reads a file of the instance's group: in the v1 tree of a
// controller, or in the unified one.
func (b *bench) groupFile(controller, v1, v2 string) string {
	b.Helper()
	parent := "/" + CgroupParent(b.dir) + "/*/"
	for _, pattern := range []string{controller + parent + v1, "unified" + parent + v2, parent + v2} {
		paths, _ := filepath.Glob("/sys/fs/cgroup/" + pattern)
		for _, path := range paths {
			if content, err := os.ReadFile(path); err == nil {
				return strings.TrimSpace(string(content))
			}
		}
	}
	return ""
}

// memoryLimit lets a program take more than it may. It is killed, Wait says
// why, and a neighbour goes on.
func memoryLimit(b *bench) {
	if _, err := exec.LookPath("perl"); err != nil {
		b.Skip("needs perl, to use memory with")
	}
	neighbour := b.spec(Forever...)
	neighbour.Key.Instance = "neighbour"
	first := b.start(neighbour)
	spec := b.spec("perl", "-e", `$x = "x" x (300 << 20); print length $x; sleep 1000`)
	spec.Limits.MemoryMB = 48
	b.limited(spec)
	if exit := b.wait(spec.Key); !exit.OOM || exit.Signal != 9 || exit.Code != 137 {
		b.Errorf("over the limit it ended with %+v, want an out-of-memory kill", exit)
	}
	for _, in := range b.list() {
		switch {
		case in.Spec.Key == neighbour.Key && (in.Phase != runtimes.Running || in.Pid != first.Pid):
			b.Errorf("the neighbour is %s", in.Phase)
		case in.Spec.Key == spec.Key && (in.Exit == nil || !in.Exit.OOM || in.Phase != runtimes.Failed):
			b.Errorf("List shows %s %+v", in.Phase, in.Exit)
		}
	}
	b.stop(spec.Key)
	spec.Limits.MemoryMB = 600
	spec.Key.Generation++
	spec.Command[2] = `$x = "x" x (200 << 20); print "fits"`
	b.limited(spec)
	if exit := b.wait(spec.Key); exit.Code != 0 {
		b.Errorf("under the limit it ended with %+v", exit)
	}
	b.stop(spec.Key)
	b.stop(neighbour.Key)
	b.bare()
}

// limitsChange gives, changes and takes limits while the program runs.
func limitsChange(b *bench) {
	u, ok := b.r.(runtimes.Updater)
	if !ok {
		b.Skip("this level changes nothing in place")
	}
	spec := b.shell("sleep 1000 & touch ready; wait")
	spec.Limits = runtimes.Limits{CPUShares: 200}
	in := b.limited(spec)
	b.made("ready")
	if got := b.groupFile("cpu", "cpu.shares", "cpu.weight"); got != "2048" && got != "200" {
		b.Errorf("cpu_shares 200 became %q", got)
	}
	spec.Limits = runtimes.Limits{CPUShares: 50, MemoryMB: 96}
	if err := u.Update(b.ctx(), spec); err != nil {
		b.Fatalf("update: %v", err)
	}
	if got := b.groupFile("cpu", "cpu.shares", "cpu.weight"); got != "512" && got != "50" {
		b.Errorf("cpu_shares 50 became %q", got)
	}
	if got := b.groupFile("memory", "memory.limit_in_bytes", "memory.max"); got != fmt.Sprint(96<<20) {
		b.Errorf("memory_limit_mb 96 became %q", got)
	}
	members := b.groupFile("memory", "cgroup.procs", "cgroup.procs")
	if n := len(strings.Fields(members)); n != 3 { // init, sh, sleep
		b.Errorf("%d processes are in the new group, want 3", n)
	}
	spec.Limits = runtimes.Limits{}
	if err := u.Update(b.ctx(), spec); err != nil {
		b.Fatalf("update: %v", err)
	}
	if got := b.groupFile("memory", "memory.limit_in_bytes", "memory.max"); got == fmt.Sprint(96<<20) {
		b.Error("the memory limit was not lifted")
	}
	if got := b.only(); got.Pid != in.Pid || got.Spec.Limits != spec.Limits {
		b.Errorf("after the updates: pid %d %+v, want pid %d", got.Pid, got.Spec.Limits, in.Pid)
	}
	b.stop(spec.Key)
	b.bare()
}
