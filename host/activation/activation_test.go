package activation_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tenement/ten/host/activation"
)

// TestMain is also the daemon that the tests start: it takes the socket "http",
// says that it is ready, and greets one connection after the other.
func TestMain(m *testing.M) {
	if os.Getenv("ACT_AS_DAEMON") == "" {
		os.Exit(m.Run())
	}
	manager, err := activation.New(os.Getenv, os.Getpid(), os.Unsetenv)
	if err != nil {
		panic(err)
	}
	l := manager.Take("http", 0)
	if l == nil {
		if l, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			panic(err)
		}
		if err := manager.Store("http", l); err != nil {
			panic(err)
		}
	}
	manager.CloseRest()
	if err := manager.Ready(l.Addr().String()); err != nil {
		panic(err)
	}
	go manager.Watch(context.Background(), func(context.Context) bool { return true })
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		fmt.Fprintf(c, "%s %q\n", os.Getenv("ACT_AS_DAEMON"), os.Getenv("LISTEN_FDS")+os.Getenv("NOTIFY_SOCKET"))
		c.Close()
	}
}

// boss is the service manager: it hears the daemon, keeps its files, and starts it.
type boss struct {
	t      *testing.T
	socket *net.UnixConn
	kept   []*os.File
}

func newBoss(t *testing.T) *boss {
	t.Helper()
	dir, err := os.MkdirTemp("", "ten-boss-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { socket.Close() })
	return &boss{t: t, socket: socket}
}

// start starts a daemon of a name with the files that are kept. A shell sets
// LISTEN_PID to the process that it becomes.
func (b *boss) start(name string) *exec.Cmd {
	b.t.Helper()
	self, err := os.Executable()
	if err != nil {
		b.t.Fatal(err)
	}
	cmd := exec.Command("sh", "-c", `LISTEN_PID=$$ exec "$0"`, self)
	cmd.Env = []string{"ACT_AS_DAEMON=" + name, "NOTIFY_SOCKET=" + b.socket.LocalAddr().String(), "WATCHDOG_USEC=100000", "PATH=" + os.Getenv("PATH")}
	if len(b.kept) > 0 {
		cmd.ExtraFiles = b.kept
		cmd.Env = append(cmd.Env, "LISTEN_FDS="+strconv.Itoa(len(b.kept)), "LISTEN_FDNAMES=http")
	}
	cmd.Stderr = b.t.Output()
	if err := cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	return cmd
}

// hear waits for a message that begins with a word, keeps what is sent to be
// kept, and gives the message.
func (b *boss) hear(word string) string {
	b.t.Helper()
	text, rights := make([]byte, 4096), make([]byte, 4096)
	for {
		b.socket.SetReadDeadline(time.Now().Add(10 * time.Second))
		n, r, _, _, err := b.socket.ReadMsgUnix(text, rights)
		if err != nil {
			b.t.Fatalf("never heard %s: %v", word, err)
		}
		if messages, err := syscall.ParseSocketControlMessage(rights[:r]); err == nil {
			for _, m := range messages {
				fds, _ := syscall.ParseUnixRights(&m)
				for _, fd := range fds {
					f := os.NewFile(uintptr(fd), "kept")
					b.t.Cleanup(func() { f.Close() })
					b.kept = append(b.kept, f)
				}
			}
		}
		if strings.HasPrefix(string(text[:n]), word) {
			return string(text[:n])
		}
	}
}

// TestNoConnectionIsRefused: a listener that the daemon opened is kept by the
// manager; while one daemon is killed and the next started, connections queue.
func TestNoConnectionIsRefused(t *testing.T) {
	t.Parallel()
	b := newBoss(t)
	first := b.start("first")
	_, address, _ := strings.Cut(strings.TrimSpace(b.hear("READY=1")), "STATUS=")
	if len(b.kept) != 1 {
		t.Fatalf("%d files were handed over to be kept", len(b.kept))
	}
	if got := greeting(t, address); got != `first ""`+"\n" {
		t.Errorf("got %q", got)
	}
	b.hear("WATCHDOG=1")
	first.Process.Kill()
	first.Wait()
	waiting := make(chan string, 20)
	for range cap(waiting) {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatalf("refused while no daemon runs: %v", err)
		}
		go func() {
			defer c.Close()
			c.SetReadDeadline(time.Now().Add(10 * time.Second))
			text, _ := io.ReadAll(c)
			waiting <- string(text)
		}()
	}
	b.start("second")
	for range cap(waiting) {
		if got := <-waiting; got != `second ""`+"\n" {
			t.Errorf("got %q", got)
		}
	}
}

func greeting(t *testing.T, address string) string {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetReadDeadline(time.Now().Add(10 * time.Second))
	text, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestWithoutManager: nothing was passed, nothing is said, nothing fails; and
// what was meant for another process is not taken.
func TestWithoutManager(t *testing.T) {
	t.Parallel()
	for _, env := range []map[string]string{{}, {"LISTEN_FDS": "1", "LISTEN_PID": "1"}, {"LISTEN_FDS": "x", "LISTEN_PID": "2"}, {"LISTEN_FDS": "-1", "LISTEN_PID": "2"}} {
		m, err := activation.New(func(name string) string { return env[name] }, 2, func(string) error { return nil })
		if err != nil {
			t.Fatal(err)
		}
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		for what, err := range map[string]error{"Store": m.Store("http", l), "Ready": m.Ready(""), "Stopping": m.Stopping(), "Forget": m.Forget("http"), "Watch": m.Watch(t.Context(), nil), "Retire": m.Retire(t.Context())} {
			if err != nil {
				t.Errorf("%s: %v", what, err)
			}
		}
		if got := m.Take("http", 0); got != nil {
			t.Errorf("%v: took %v", env, got)
		}
		m.CloseRest()
	}
}
