package api

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestListenKeepsTheDirectoryToItself(t *testing.T) {
	dir := t.TempDir()
	// A umask wider than the mode must not widen it, a narrower one not narrow it.
	for _, umask := range []int{0, 0o077} {
		old := syscall.Umask(umask)
		l, err := Listen(dir)
		syscall.Umask(old)
		if err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(SocketPath(dir))
		if err != nil || info.Mode().Perm() != socketMode {
			t.Errorf("umask %o: socket mode %v, %v; want %o", umask, info.Mode(), err, socketMode)
		}
		_, err = Listen(dir)
		running, ok := errors.AsType[*RunningError](err)
		if !ok || running.Pid != os.Getpid() || running.DataDir != dir {
			t.Errorf("second Listen = %v, want RunningError with pid %d", err, os.Getpid())
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestSocketPathsMayBeLong(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), strings.Repeat("d", 120), strings.Repeat("e", 120))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	l, err := Listen(dir)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(SocketPath(dir))
	if err != nil || info.Mode().Perm() != socketMode {
		t.Errorf("socket: %v, %v", info, err)
	}
	serve(t, &world{}, l)
	c := NewLocalClient(dir)
	defer c.Close()
	if _, err := c.Status(t.Context()); err != nil {
		t.Errorf("Status over a path of %d bytes: %v", len(SocketPath(dir)), err)
	}
	for _, name := range openFiles(t) {
		if strings.HasSuffix(name, strings.Repeat("e", 120)) {
			t.Errorf("the directory stays open: %s", name)
		}
	}
}

func openFiles(t *testing.T) []string {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		if target, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil {
			names = append(names, target)
		}
	}
	return names
}
