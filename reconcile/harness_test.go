package reconcile

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tenement/ten/host/api"
	"github.com/tenement/ten/host/router"
	"github.com/tenement/ten/reconcile/source"
	"github.com/tenement/ten/reconcile/store"
	"github.com/tenement/ten/runtimes"
	"github.com/tenement/ten/runtimes/fake"
)

// machine is what of a host outlives its daemon, and the daemon on it. Its time
// is that of a synctest bubble, whose end also proves that a daemon that was
// stopped left no goroutine.
type machine struct {
	t      *testing.T
	dir    string
	tree   source.Tree
	world  *fake.World
	feed   *feed
	probes *probes
	lists  atomic.Int64 // calls of List
	daemon *daemon
	ready  map[string]bool // services whose instances say that they are ready

	mu       sync.Mutex
	hook     func(when string, key runtimes.Key)
	blind    map[runtimes.Level]error // levels whose List fails
	lens     func(*runtimes.Instance) // what the daemon is shown in place of what is
	attached map[runtimes.Key]bool    // output that is being read
	logged   bytes.Buffer
	door     *door // of the daemon
	port     int
}

// longestTest bounds one test in the time of the wall: far above what one takes
// on a busy machine with the race detector.
const longestTest = 4 * time.Minute

// daemon is one run of the Loop.
type daemon struct {
	*Loop
	store  *store.Store
	cancel context.CancelFunc
	ended  chan struct{}
	err    error
	killed atomic.Bool
}

// onMachine runs a test on a machine in a bubble of its own.
func onMachine(t *testing.T, test func(t *testing.T, m *machine)) {
	t.Helper()
	t.Parallel()
	src := t.TempDir()
	if err := os.WriteFile(filepath.Join(src, "prog"), []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	snap, err := source.OpenDir(src, source.DirOptions{})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	// The clock of a bubble is no bound on what its goroutines burn. Only a panic
	// ends them, and it shows where they are.
	real := time.AfterFunc(longestTest, func() { panic(t.Name() + " is still busy after " + longestTest.String()) })
	defer real.Stop()
	synctest.Test(t, func(t *testing.T) {
		m := &machine{
			t: t, dir: dir, tree: snap.Tree, feed: newFeed(), probes: &probes{specs: map[int]runtimes.Spec{}},
			attached: map[runtimes.Key]bool{}, port: 100_000,
		}
		m.world = fake.NewWorld(nil)
		defer func() {
			m.stop()
			if t.Failed() {
				t.Logf("log:\n%s\ncalls: %s", m.logged.String(), m.world.Calls())
			}
		}()
		test(t, m)
	})
}

// start starts a daemon over what is on the machine.
func (m *machine) start() {
	m.t.Helper()
	if err := os.MkdirAll(filepath.Join(m.dir, ".ten"), 0o755); err != nil {
		m.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(m.t.Context())
	st, err := store.Open(ctx, filepath.Join(m.dir, ".ten", "ten.db"))
	if err != nil {
		m.t.Fatal(err)
	}
	d := &daemon{store: st, cancel: cancel, ended: make(chan struct{})}
	m.mu.Lock()
	clear(m.attached)
	m.mu.Unlock()
	levels := map[runtimes.Level]runtimes.Runtime{}
	for _, level := range []runtimes.Level{runtimes.Process, runtimes.Namespace} {
		levels[level] = &hooked{m.world.Runtime(level), level, m, d}
	}
	front := newDoor(m, d)
	d.Loop = New(Config{
		Host: "test", DataDir: m.dir, Version: "test", Origin: "a test",
		Source: m.feed, Loader: loader{}, Store: st, Runtimes: levels,
		Prober: m.probes, Output: &output{m: m, texts: map[runtimes.ID][]string{}},
		Log:      slog.New(slog.NewTextHandler(m, &slog.HandlerOptions{Level: slog.LevelDebug})),
		FreePort: m.freePort,
		OpenDir:  m.feed.open,
		Publish:  front.publish, Traffic: front, Busy: front.isBusy, Ready: front.isReady,
	})
	m.daemon, m.door = d, front
	go func() {
		d.err = d.Run(ctx)
		close(d.ended)
	}()
}

// route is what a router knows of an instance.
func (m *machine) route(id string) router.Endpoint {
	m.door.mu.Lock()
	defer m.door.mu.Unlock()
	return m.door.routes[id]
}

// stop ends the daemon and waits for all of it.
func (m *machine) stop() {
	m.t.Helper()
	d := m.daemon
	if d == nil {
		return
	}
	d.cancel()
	select {
	case <-d.ended:
	case <-time.After(30 * time.Second):
		m.t.Error("Run did not return within 30 s after its context ended")
		<-d.ended // else the bubble can't end
	}
	if d.err != nil {
		m.t.Errorf("Run returned %v", d.err)
	}
	if err := d.store.Close(); err != nil {
		m.t.Error(err)
	}
	m.daemon = nil
}

// kill ends the daemon in the middle of what it does: from now on nothing that
// it does reaches the machine.
func (d *daemon) kill() {
	d.killed.Store(true)
	d.cancel()
}

// Write takes the daemon's log.
func (m *machine) Write(b []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.logged.Write(b)
}

func (m *machine) freePort(used map[int]bool) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.port++ // beyond all real ones, so that nobody on this host listens there
	if used[m.port] {
		return 0, fmt.Errorf("port %d is promised already", m.port)
	}
	return m.port, nil
}

// on has f called around every operation: "before start", "after start",
// "before stop", "after stop".
func (m *machine) on(f func(when string, key runtimes.Key)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.hook = f
}

// see has the daemon be shown every instance as f leaves it.
func (m *machine) see(f func(*runtimes.Instance)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lens = f
}

func (m *machine) at(when string, key runtimes.Key) {
	m.mu.Lock()
	f := m.hook
	m.mu.Unlock()
	if f != nil {
		f(when, key)
	}
}

// await lets time pass until ok, and says what was waited for when it doesn't.
func (m *machine) await(what string, ok func() bool) {
	m.t.Helper()
	m.awaitFor(time.Minute, what, ok)
}

func (m *machine) awaitFor(most time.Duration, what string, ok func() bool) {
	m.t.Helper()
	began := time.Now()
	for step := 5 * time.Millisecond; !ok(); time.Sleep(step) {
		if waited := time.Since(began); waited > 20*time.Second {
			step = 500 * time.Millisecond
		} else if waited > time.Second/2 {
			step = 50 * time.Millisecond
		}
		if time.Since(began) > most {
			s, err := m.daemon.Status(m.t.Context())
			m.t.Fatalf("not within %s: %s\nstatus: %+v %v\nalive: %v", most, what, s, err, m.alive())
		}
	}
}

// settles waits until a revision is in force and the host is in sync.
func (m *machine) settles(revision string) {
	m.t.Helper()
	m.await(revision+" in sync", func() bool {
		s := m.status()
		return s.Revision.Applied == revision && s.State == api.InSync
	})
}

func (m *machine) state(want api.State) api.Status {
	m.t.Helper()
	m.await("state "+string(want), func() bool { return m.status().State == want })
	return m.status()
}

func (m *machine) status() api.Status {
	m.t.Helper()
	s, err := m.daemon.Status(m.t.Context())
	if err != nil {
		m.t.Fatal(err)
	}
	return s
}

func (m *machine) do(c api.Command) string {
	m.t.Helper()
	text, err := m.daemon.Do(m.t.Context(), c)
	if err != nil {
		m.t.Fatalf("%s: %v", c.Verb, err)
	}
	return text
}

// instances are all incarnations on the machine, by key.
func (m *machine) instances() []runtimes.Instance {
	m.t.Helper()
	var all []runtimes.Instance
	for _, level := range []runtimes.Level{runtimes.Process, runtimes.Namespace} {
		list, err := m.world.Runtime(level).List(m.t.Context())
		if err != nil {
			m.t.Fatal(err)
		}
		all = append(all, list...)
	}
	return all
}

// alive gives the living incarnations: "web:a#1".
func (m *machine) alive() []string {
	var keys []string
	for _, in := range m.instances() {
		if in.Phase.Alive() {
			keys = append(keys, in.Spec.Key.String())
		}
	}
	slices.Sort(keys)
	return keys
}

// key gives the one living incarnation of an instance.
func (m *machine) key(id string) runtimes.Key {
	m.t.Helper()
	var found []runtimes.Key
	for _, in := range m.instances() {
		if in.Phase.Alive() && in.Spec.Key.ID.String() == id {
			found = append(found, in.Spec.Key)
		}
	}
	if len(found) != 1 {
		m.t.Fatalf("%s lives as %v, want one incarnation", id, found)
	}
	return found[0]
}

// starts counts the starts of an instance, "" = of all.
func (m *machine) starts(id string) int {
	n := 0
	for _, call := range m.world.Calls() {
		if strings.HasPrefix(call, "start "+id) {
			n++
		}
	}
	return n
}

func (m *machine) crash(id string) {
	m.t.Helper()
	if !m.world.End(runtimes.Process, m.key(id), runtimes.Exit{Known: true, Code: 1}) {
		m.t.Fatalf("%s was not running", id)
	}
}
