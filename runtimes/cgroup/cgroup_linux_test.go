package cgroup

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tenement/ten/runtimes"
)

const hybridMounts = `23 1 0:21 / /proc rw - proc proc rw
30 23 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
31 30 0:27 / /sys/fs/cgroup/cpu rw shared:4 - cgroup cgroup rw,cpu,cpuacct
32 30 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
33 30 0:29 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd
34 30 0:30 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw`

func TestParseMounts(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name, mounts, unified string
		v1                    map[string]string
	}{
		{"hybrid", hybridMounts, "/sys/fs/cgroup/unified", map[string]string{"cpu": "/sys/fs/cgroup/cpu", "memory": "/sys/fs/cgroup/memory"}},
		{"v2", "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate", "/sys/fs/cgroup", map[string]string{}},
		{"none", "23 1 0:21 / /proc rw - proc proc rw", "", map[string]string{}},
	}
	for _, c := range cases {
		h, unified := parseMounts([]byte(c.mounts))
		if unified != c.unified || !maps.Equal(h.V1, c.v1) {
			t.Errorf("%s: %q %v, want %q %v", c.name, unified, h.V1, c.unified, c.v1)
		}
	}
	if own := ownGroup([]byte("4:memory:/a\n0::/user.slice/x\n")); own != "/user.slice/x" {
		t.Errorf("own group is %q", own)
	}
}

// fakeTree is a directory that looks like a v2 tree in which a part was given
// to this user. The kernel makes no files in it, so it shows decisions only.
func fakeTree(t *testing.T, controllers string) string {
	t.Helper()
	tree := t.TempDir()
	for _, dir := range []string{"", "/svc", "/svc/daemon"} {
		if err := os.MkdirAll(tree+dir, 0o755); err != nil {
			t.Fatal(err)
		}
		for name, content := range map[string]string{"cgroup.procs": "", "cgroup.controllers": controllers, "cgroup.subtree_control": controllers} {
			if err := os.WriteFile(tree+dir+"/"+name, []byte(content), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	return tree
}

func TestWhereGroupsAreMade(t *testing.T) {
	t.Parallel()
	tree := fakeTree(t, "cpu memory")
	cases := []struct {
		name, own string
		root      bool
		want      string
	}{
		{"root makes them at the top", "/svc/daemon", true, tree},
		{"a user above the group it runs in", "/svc/daemon", false, tree + "/svc"},
		{"never above the tree", "/", false, tree},
	}
	for _, c := range cases {
		h := &Host{}
		h.settle(tree, c.own, c.root)
		if h.Unified != c.want {
			t.Errorf("%s: %q (%s), want %q", c.name, h.Unified, h.Why, c.want)
		}
	}
	h := &Host{}
	h.settle("", "/", true)
	if h.Unified != "" || h.Why == "" {
		t.Errorf("no tree: %q, %q", h.Unified, h.Why)
	}
}

func TestWhereLimitsAreEnforced(t *testing.T) {
	t.Parallel()
	v1 := t.TempDir()
	cases := []struct {
		name string
		host Host
		v1   string
		fail string
	}{
		{"v2 has the controller", Host{Unified: fakeTree(t, "cpu memory"), V1: map[string]string{}}, "", ""},
		{"v1 has it", Host{Unified: fakeTree(t, "hugetlb"), V1: map[string]string{"memory": v1}}, v1, ""},
		{"nobody has it", Host{Unified: fakeTree(t, "hugetlb"), V1: map[string]string{}}, "", "not available"},
		{"nothing at all", Host{Why: "no cgroup v2 tree is mounted"}, "", "no cgroup v2 tree is mounted"},
	}
	for _, c := range cases {
		got, err := c.host.place(memory)
		if c.fail == "" {
			if err != nil || got != c.v1 {
				t.Errorf("%s: %q, %v, want %q", c.name, got, err, c.v1)
			}
			continue
		}
		var u *UnsupportedError
		if !errors.As(err, &u) || !strings.Contains(u.Reason, c.fail) || u.Hint == "" || u.Limit != "memory_limit_mb" {
			t.Errorf("%s: %#v, want a reason with %q and a hint", c.name, err, c.fail)
		}
	}
}

func TestSettings(t *testing.T) {
	t.Parallel()
	say := func(list []setting) (out []string) {
		for _, s := range list {
			out = append(out, s.file+"="+s.value)
		}
		return out
	}
	cases := []struct {
		got, want []string
	}{
		{say(memory.v2(48)), []string{"memory.max=50331648", "memory.swap.max=0"}},
		{say(memory.v2(0)), []string{"memory.max=max", "memory.swap.max=max"}},
		{say(memory.v1(48)), []string{"memory.memsw.limit_in_bytes=-1", "memory.limit_in_bytes=50331648", "memory.memsw.limit_in_bytes=50331648"}},
		{say(memory.v2(1 << 20)), []string{"memory.max=1099511627776", "memory.swap.max=0"}}, // beyond 32 bits
		{say(cpu.v2(50)), []string{"cpu.weight=50"}},
		{say(cpu.v2(0)), []string{"cpu.weight=100"}},
		{say(cpu.v1(50)), []string{"cpu.shares=512"}},
		{say(cpu.v1(0)), []string{"cpu.shares=1024"}},
		{say(cpu.v1(1)), []string{"cpu.shares=10"}},
		{say(cpu.v1(10000)), []string{"cpu.shares=102400"}},
	}
	for _, c := range cases {
		if !slices.Equal(c.got, c.want) {
			t.Errorf("settings %v, want %v", c.got, c.want)
		}
	}
}

// TestGroups goes through the life of a group on this machine.
func TestGroups(t *testing.T) {
	t.Parallel()
	host, err := FindHost()
	if err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() != 0 || host.Mode() == "none" {
		t.Skipf("cannot make groups: mode %s, %s", host.Mode(), host.Why)
	}
	tree := host.Tree(fmt.Sprintf("ten-cgroup-test-%d", os.Getpid()))
	g, err := tree.Create(t.Context(), "a", runtimes.Limits{CPUShares: 10}, true)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	t.Cleanup(func() { tree.Remove(context.Background(), "a") })
	cmd := exec.Command("/bin/sh", "-c", "read x; while :; do sleep 1000 & sleep 1000; done")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	if err := g.Add(cmd.Process.Pid); err != nil {
		t.Fatal(err)
	}
	if host.Unified != "" { // what a clone into the group does
		if err := put(tree.dir(host.Unified, "a")+"/cgroup.procs", strconv.Itoa(cmd.Process.Pid)); err != nil {
			t.Fatal(err)
		}
	}
	in.Close()
	time.Sleep(50 * time.Millisecond)
	if names, err := tree.Names(); err != nil || !slices.Equal(names, []string{"a"}) {
		t.Errorf("groups %v, %v", names, err)
	}
	if err := tree.Kill("a"); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	if cmd.ProcessState.ExitCode() >= 0 {
		t.Errorf("the process ended with %v, want a kill", cmd.ProcessState)
	}
	if err := tree.Remove(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if err := tree.Remove(t.Context(), "a"); err != nil {
		t.Errorf("removing what is not there: %v", err)
	}
	if err := tree.Kill("a"); err != nil {
		t.Errorf("killing what is not there: %v", err)
	}
	for _, dir := range tree.dirs("a") {
		if _, err := os.Stat(filepath.Dir(dir)); err == nil {
			t.Errorf("%s is left", filepath.Dir(dir))
		}
	}
	if g, err := tree.Create(t.Context(), "b", runtimes.Limits{}, false); g != nil || err != nil {
		t.Errorf("a group for nothing: %v, %v", g, err)
	}
}

// killEach is what Kill does in a v1 tree.
func TestKillEach(t *testing.T) {
	t.Parallel()
	host, err := FindHost()
	if err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() != 0 || host.V1["cpu"] == "" {
		t.Skip("no v1 tree that may be written to")
	}
	tree := host.Tree(fmt.Sprintf("ten-cgroup-test-each-%d", os.Getpid()))
	dir := tree.dir(host.V1["cpu"], "a")
	if err := tree.makeDir(dir); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tree.Remove(context.Background(), "a"); err != nil {
			t.Error(err)
		}
	})
	var cmds []*exec.Cmd
	for range 3 {
		cmd := exec.Command("sleep", "1000")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		defer cmd.Process.Kill()
		if err := put(dir+"/cgroup.procs", strconv.Itoa(cmd.Process.Pid)); err != nil {
			t.Fatal(err)
		}
		cmds = append(cmds, cmd)
		go cmd.Wait()
	}
	if err := killEach(dir); err != nil {
		t.Error(err)
	}
	if left := words(dir + "/cgroup.procs"); len(left) != 0 {
		t.Errorf("processes %v are left of %d", left, len(cmds))
	}
}
