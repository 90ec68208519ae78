package api

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
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

// A socket of the service manager's stays when the daemon goes, and who asks
// meanwhile waits for the next.
func TestPassedSocket(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	manager, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: SocketPath(dir)})
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	passed := func() net.Listener {
		f, err := manager.File()
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		l, err := net.FileListener(f)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	if _, err := ListenOn(t.TempDir(), passed()); err == nil || !strings.Contains(err.Error(), "ListenStream=") {
		t.Errorf("a socket of another place: %v", err)
	}
	first, err := ListenOn(dir, passed())
	if err != nil {
		t.Fatal(err)
	}
	_, err = ListenOn(dir, passed())
	if running, ok := errors.AsType[*RunningError](err); !ok || running.Pid != os.Getpid() {
		t.Errorf("second daemon: %v, want RunningError with pid %d", err, os.Getpid())
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	c := NewLocalClient(dir)
	defer c.Close()
	answered := make(chan error, 1)
	go func() {
		_, err := c.Status(t.Context())
		answered <- err
	}()
	second, err := ListenOn(dir, passed())
	if err != nil {
		t.Fatal(err)
	}
	serve(t, &world{}, second)
	if err := <-answered; err != nil {
		t.Errorf("asked while no daemon ran: %v", err)
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

func TestStrangersMayLookButNotAct(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can connect as somebody else")
	}
	t.Parallel()
	const stranger = 54321
	v := &world{}
	_, dir := start(t, v)
	// The test's directories are closed to others; what is tested is who may do
	// what after the connection is made.
	conn := dialAs(t, stranger, SocketPath(dir))
	c := NewLocalClient(dir)
	c.http.Transport = &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return conn, nil }}
	defer c.Close()
	if _, err := c.Status(t.Context()); err != nil {
		t.Errorf("Status = %v", err)
	}
	_, err := c.Do(t.Context(), Command{Verb: VerbDown})
	if e, ok := errors.AsType[*Error](err); !ok || e.Code != CodeForbidden || !strings.Contains(e.Message, "uid 54321") || !strings.Contains(e.Hint, "root") {
		t.Errorf("Do = %#v, want forbidden to uid 54321", err)
	}
	err = c.Apply(t.Context(), ApplyRequest{}, func(Event) {})
	if e, ok := errors.AsType[*Error](err); !ok || e.Code != CodeForbidden {
		t.Errorf("Apply = %v, want forbidden", err)
	}
	if len(v.commands) > 0 {
		t.Errorf("a stranger's command was carried out: %+v", v.commands)
	}
}

// dialAs connects with another effective user, on a thread that ends with it:
// the kernel keeps the credentials of the connecting thread.
func dialAs(t *testing.T, uid int, path string) net.Conn {
	t.Helper()
	dir, err := unix.Open(filepath.Dir(path), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(dir)
	if err := os.Chmod(path, 0o666); err != nil {
		t.Fatal(err)
	}
	type result struct {
		conn net.Conn
		err  error
	}
	made := make(chan result)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread must not be used again
		if _, _, errno := syscall.RawSyscall(syscall.SYS_SETRESUID, uintptr(uid), uintptr(uid), uintptr(uid)); errno != 0 {
			made <- result{nil, errno}
			return
		}
		conn, err := net.Dial("unix", fmt.Sprintf("/proc/self/task/%d/fd/%d/%s", unix.Gettid(), dir, filepath.Base(path)))
		made <- result{conn, err}
	}()
	r := <-made
	if r.err != nil {
		t.Fatal(r.err)
	}
	return r.conn
}
