package cgroup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// counter runs a program that counts in a file, and gives its pid and how to
// read it.
func counter(t *testing.T) (pid int, count func() string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "n")
	cmd := exec.Command("/bin/sh", "-c", "i=0; while :; do i=$((i+1)); echo $i > "+file+"; done") // without a child: what it forked before is not in the group
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	count = func() string {
		b, err := os.ReadFile(file)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		return string(b)
	}
	moves(t, "it counts", count, "")
	return cmd.Process.Pid, count
}

func moves(t *testing.T, what string, count func() string, from string) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); count() == from; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: it stands still at %q", what, from)
		}
	}
}

// freezers are the two ways to freeze of this host, each as if it were the only one.
func freezers(t *testing.T) map[string]*Host {
	t.Helper()
	h, err := FindHost()
	if err != nil {
		t.Fatal(err)
	}
	hosts := map[string]*Host{}
	if h.Unified != "" {
		hosts["v2"] = &Host{Unified: h.Unified}
	}
	if h.Freezer != "" && unix.Access(h.Freezer, unix.W_OK) == nil {
		hosts["v1"] = &Host{Freezer: h.Freezer, Why: "this test has none"}
	}
	if len(hosts) == 0 {
		t.Skip("this user can make groups in no tree")
	}
	return hosts
}

func TestFreeze(t *testing.T) {
	t.Parallel()
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	for name, host := range freezers(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tree := host.Tree(fmt.Sprintf("ten-freeze-%d-%s", os.Getpid(), name))
			t.Cleanup(func() { tree.Kill("x"); tree.Remove(context.Background(), "x") })
			pid, count := counter(t)
			for range 3 {
				if err := tree.Freeze(t.Context(), "x", func() []int { return []int{pid} }); err != nil {
					t.Fatal(err)
				}
				at := count()
				time.Sleep(30 * time.Millisecond)
				if now := count(); now != at || !tree.Frozen("x") {
					t.Errorf("frozen %v, it counted from %q to %q", tree.Frozen("x"), at, now)
				}
				if err := tree.Thaw("x"); err != nil {
					t.Fatal(err)
				}
				if tree.Frozen("x") {
					t.Error("thawed, it is frozen still")
				}
				moves(t, "thawed", count, at)
			}
			late, end := context.WithCancel(t.Context())
			end()
			if err := tree.Freeze(late, "x", func() []int { return []int{pid} }); err == nil {
				at := count() // it came to rest before anybody had to wait
				if err := tree.Thaw("x"); err != nil {
					t.Fatal(err)
				}
				moves(t, "thawed", count, at)
			} else {
				moves(t, "not frozen after all", count, count())
			}
			if err := tree.Freeze(t.Context(), "x", func() []int { return []int{pid} }); err != nil {
				t.Fatal(err)
			}
			if err := tree.Kill("x"); err != nil {
				t.Fatal(err)
			}
			if err := tree.Remove(t.Context(), "x"); err != nil {
				t.Fatal(err)
			}
			if names, err := tree.Names(); err != nil || len(names) != 0 {
				t.Errorf("left behind: %v, %v", names, err)
			}
			if left, _ := filepath.Glob("/sys/fs/cgroup/*/" + tree.parent); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
			if now, err := os.ReadFile("/proc/self/cgroup"); err != nil || string(now) != string(own) {
				t.Errorf("the daemon itself was moved: %s, %v", now, err)
			}
		})
	}
}

func TestFreezeIsRefused(t *testing.T) {
	t.Parallel()
	closed := t.TempDir()
	if err := os.Chmod(closed, 0o500); err != nil {
		t.Fatal(err)
	}
	hosts := map[string]*Host{"nothing": {Why: "no cgroup v2 tree is mounted"}}
	if os.Geteuid() != 0 { // who may write anywhere
		hosts["closed"] = &Host{Freezer: closed}
	}
	for name, h := range hosts {
		tree := h.Tree("ten-none")
		var u *UnsupportedError
		if err := tree.Freeze(t.Context(), "x", nil); !errors.As(err, &u) || u.Reason == "" || !strings.Contains(u.Hint, "sleep") {
			t.Errorf("%s: %v, want what to do", name, err)
		}
		if err := tree.Thaw("x"); err != nil || tree.Frozen("x") {
			t.Errorf("%s: thaw says %v, frozen %v", name, err, tree.Frozen("x"))
		}
	}
}

// The kernel is asked for what the group has, in steps, and no longer than the
// caller waits.
func TestReclaim(t *testing.T) {
	t.Parallel()
	tree := (&Host{Unified: fakeTree(t, "memory")}).Tree("ten")
	dir := tree.dir(tree.host.Unified, "x")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if tree.Reclaim(t.Context(), "x") {
		t.Error("a group without memory was asked")
	}
	for file, content := range map[string]string{"memory.current": "100663296\n", "memory.reclaim": ""} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if !tree.Reclaim(t.Context(), "x") {
		t.Error("a group with memory was not asked")
	}
	if got, err := os.ReadFile(dir + "/memory.reclaim"); err != nil || string(got) != "33554432" {
		t.Errorf("asked for %q last, %v, want the 32 MB that were left", got, err)
	}
	gone, end := context.WithCancel(t.Context())
	end()
	if tree.Reclaim(gone, "x") {
		t.Error("asked for somebody who has left")
	}
}
