package notify_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/tenement/ten/host/notify"
	"github.com/tenement/ten/runtimes"
	"github.com/tenement/ten/runtimes/launch"
	"github.com/tenement/ten/runtimes/namespace"
	"github.com/tenement/ten/runtimes/process"
	"github.com/tenement/ten/runtimes/runtimetest"
)

const patience = 20 * time.Second

// house is a data directory with both levels and a listener over it.
type house struct {
	*testing.T
	data     string
	levels   map[runtimes.Level]runtimes.Runtime
	listener *notify.Listener
	mu       sync.Mutex
	changed  []runtimes.Key
}

func newHouse(t *testing.T) *house {
	t.Helper()
	if _, err := exec.LookPath("/usr/bin/python3"); err != nil {
		t.Skip("needs /usr/bin/python3")
	}
	data, err := os.MkdirTemp("/var/tmp", "ten-notify-") // not in /tmp, which every instance has for itself
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(data) })
	program, err := runtimetest.Init()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(data, ".ten", "notify")
	l, err := launch.New(launch.Config{
		RunDir: data + "/.ten/run", Hide: []string{data}, CgroupParent: runtimetest.CgroupParent(data),
		NotifyDir: dir, Init: program, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	h := &house{T: t, data: data, levels: map[runtimes.Level]runtimes.Runtime{runtimes.Namespace: namespace.New(l), runtimes.Process: process.New(l)}}
	h.listen(dir)
	return h
}

// listen opens the socket and hears until the test is over.
func (h *house) listen(dir string) {
	h.Helper()
	owner := func(pid int) (runtimes.Key, bool) {
		for _, level := range h.levels {
			if key, ok := level.(runtimes.Owner).Owner(pid); ok {
				return key, true
			}
		}
		return runtimes.Key{}, false
	}
	has := func(key runtimes.Key) bool {
		return slices.ContainsFunc([]runtimes.Level{runtimes.Process, runtimes.Namespace}, func(l runtimes.Level) bool { return h.levels[l].(runtimes.Owner).Has(key) })
	}
	var err error
	h.listener, err = notify.Listen(notify.Config{
		Socket: filepath.Join(dir, launch.NotifyName), Keep: h.data + "/.ten/said", Owner: owner, Has: has, Log: slog.New(slog.DiscardHandler),
		Changed: func(key runtimes.Key) { h.mu.Lock(); h.changed = append(h.changed, key); h.mu.Unlock() },
	})
	if err != nil {
		h.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	listener := h.listener
	go func() { ended <- listener.Run(ctx) }()
	h.Cleanup(func() { cancel(); <-ended })
}

// start runs a Python script as an instance until the test is over.
func (h *house) start(level runtimes.Level, instance, script string, args ...string) runtimes.Instance {
	h.Helper()
	own := filepath.Join(h.data, "web", instance)
	if err := os.MkdirAll(own, 0o755); err != nil {
		h.Fatal(err)
	}
	spec := runtimes.Spec{
		Key: runtimes.Key{ID: runtimes.ID{Service: "web", Instance: instance}, Generation: 1}, Level: level,
		Command: append([]string{"/usr/bin/python3", "-c", said + script}, args...), Env: []string{"PATH=/usr/bin:/bin"},
		Dir: own, Mounts: []runtimes.Mount{{Path: own, Writable: true}}, StopSignal: "SIGKILL", StopTimeout: time.Second,
	}
	if level == runtimes.Namespace {
		spec.Network = runtimes.NetworkNone // a path reaches through it
	}
	r := h.levels[level]
	if err := r.Check(h.Context()); err != nil {
		h.Skip(err)
	}
	in, err := r.Start(h.Context(), spec)
	if err != nil {
		h.Fatal(err)
	}
	h.Cleanup(func() {
		if err := r.Stop(context.Background(), spec.Key); err != nil {
			h.Error(err)
		}
	})
	return in
}

// said begins every script: say sends a message, then waits until it was heard.
const said = `
import os, socket, struct, sys, time
def say(text, pid=None):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    s.connect(os.environ["NOTIFY_SOCKET"])
    more = [] if pid is None else [(socket.SOL_SOCKET, 2, struct.pack("3i", pid, os.getuid(), os.getgid()))]
    r, w = os.pipe()
    s.sendmsg([text.encode()], more + [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", w))])
    os.close(w); os.read(r, 1)
def done(name):
    open(name + ".new", "w").close(); os.rename(name + ".new", name)
def until(name):
    while not os.path.exists(name): time.sleep(0.005)
`

func (h *house) eventually(what string, ok func() bool) {
	h.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			h.Fatalf("%s: not within %v", what, patience)
		}
	}
}

func (h *house) made(instance, name string) {
	h.Helper()
	h.eventually(instance+" made "+name, func() bool {
		_, err := os.Stat(filepath.Join(h.data, "web", instance, name))
		return err == nil
	})
}

func (h *house) let(instance, name string) {
	h.Helper()
	if err := os.WriteFile(filepath.Join(h.data, "web", instance, name), nil, 0o644); err != nil {
		h.Fatal(err)
	}
}

// An instance says what it does, itself and through its children, and what it
// said holds over a restart of the listener.
func TestInstancesAreHeard(t *testing.T) {
	t.Parallel()
	for _, level := range []runtimes.Level{runtimes.Process, runtimes.Namespace} {
		t.Run(string(level), func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			in := h.start(level, "one", `
say("READY=1"); done("ready"); until("work")
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0: say("BUSY=1\nX_TEN_HOLDER=orphan"); done("busy")
    os._exit(0)
until("rest"); say("BUSY=0\nX_TEN_HOLDER=orphan"); done("idle"); time.sleep(1000)
`)
			key := in.Spec.Key
			h.made("one", "ready")
			if s := h.listener.Said(key); !s.Ready || s.Busy() {
				t.Errorf("it said that it is ready, heard %+v", s)
			}
			h.let("one", "work")
			h.made("one", "busy")
			if !h.listener.Busy(key) {
				t.Error("it said that it is busy, and was not heard")
			}
			h.listen(filepath.Join(h.data, ".ten", "notify"))
			if s := h.listener.Said(key); !s.Ready || !s.Busy() {
				t.Errorf("a restarted daemon knows of %+v", s)
			}
			h.let("one", "rest")
			h.made("one", "idle")
			if h.listener.Busy(key) {
				t.Error("it said that it is idle, and is taken for busy")
			}
			h.mu.Lock()
			defer h.mu.Unlock()
			if len(h.changed) != 3 {
				t.Errorf("changes were told for %v, want three", h.changed)
			}
		})
	}
}

// Say is heard by the time it returns, and waits for nobody who is not there.
func TestSay(t *testing.T) {
	t.Parallel()
	socket := filepath.Join(t.TempDir(), "s")
	own := runtimes.Key{ID: runtimes.ID{Service: "web", Instance: "own"}, Generation: 1}
	cfg := notify.Config{
		Socket: socket, Keep: filepath.Join(t.TempDir(), "said"), Log: slog.New(slog.DiscardHandler),
		Owner: func(pid int) (runtimes.Key, bool) { return own, pid == os.Getpid() }, Has: func(runtimes.Key) bool { return true },
	}
	if err := notify.Say(t.Context(), socket, "BUSY=1"); err == nil {
		t.Error("nobody is there, and it was heard")
	}
	l, err := notify.Listen(cfg)
	if err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	if err := notify.Say(short, socket, "STATUS=nobody listens"); err == nil {
		t.Error("nobody listens, and it was heard")
	}
	ctx, end := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- l.Run(ctx) }()
	for _, busy := range []bool{true, false} {
		word := map[bool]string{true: "BUSY=1", false: "BUSY=0"}[busy]
		if err := notify.Say(t.Context(), socket, word); err != nil || l.Busy(own) != busy {
			t.Errorf("%s: %v, busy %v", word, err, l.Busy(own))
		}
	}
	end()
	<-ended
}

// systemd's own command speaks, and waits until it was heard.
func TestSystemdNotifyIsHeard(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("systemd-notify"); err != nil {
		t.Skip("needs systemd-notify")
	}
	h := newHouse(t)
	in := h.start(runtimes.Namespace, "one", `
import subprocess
subprocess.check_call(["systemd-notify", "--ready", "BUSY=1"]); done("said"); time.sleep(1000)
`)
	h.made("one", "said")
	if s := h.listener.Said(in.Spec.Key); !s.Ready || !s.Busy() {
		t.Errorf("heard %+v", s)
	}
}

// A tenant cannot speak for a neighbour, nor can a stranger speak for anybody.
// Without walls root may give itself out as another process, which shows that the
// attack is one.
func TestNobodySpeaksForAnother(t *testing.T) {
	t.Parallel()
	for _, level := range []runtimes.Level{runtimes.Process, runtimes.Namespace} {
		t.Run(string(level), func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			victim := h.start(level, "victim", `done("up"); time.sleep(1000)`)
			h.made("victim", "up")
			script := `
for pid in (int(sys.argv[1]), 1, 2, os.getppid()):
    try: say("BUSY=1\nX_TEN_HOLDER=forged\nMAINPID=%d" % pid, pid)
    except OSError as e: pass
say("STATUS=done"); done("tried"); time.sleep(1000)
`
			h.start(level, "attacker", script, fmt.Sprint(victim.Pid))
			h.made("attacker", "tried")
			forged := h.listener.Busy(victim.Spec.Key)
			if want := level == runtimes.Process && os.Geteuid() == 0; forged != want {
				t.Errorf("level %s: a neighbour's word was taken for its own: %v, want %v", level, forged, want)
			}
			before := h.listener.Said(victim.Spec.Key)
			stranger := exec.Command("/usr/bin/python3", "-c", said+`say("BUSY=1\nREADY=1")`)
			stranger.Env = []string{"NOTIFY_SOCKET=" + filepath.Join(h.data, ".ten", "notify", launch.NotifyName)}
			if msg, err := stranger.CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, bytes.TrimSpace(msg))
			}
			if after := h.listener.Said(victim.Spec.Key); after.Ready || after.Busy() != before.Busy() {
				t.Errorf("a stranger was taken for an instance: %+v", after)
			}
		})
	}
}

// Everything holds for an ordinary user too.
func TestUnprivileged(t *testing.T) {
	t.Parallel()
	runtimetest.Unprivileged(t, "TestInstancesAreHeard", "TestNobodySpeaksForAnother", "TestSystemdNotifyIsHeard")
}
