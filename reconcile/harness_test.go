package reconcile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tenement/ten/host/api"
	"github.com/tenement/ten/host/logs"
	"github.com/tenement/ten/host/probe"
	"github.com/tenement/ten/reconcile/source"
	"github.com/tenement/ten/reconcile/store"
	"github.com/tenement/ten/runtimes"
	"github.com/tenement/ten/runtimes/fake"
	"github.com/tenement/ten/schema"
	"github.com/tenement/ten/schema/load"
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

	mu       sync.Mutex
	hook     func(when string, key runtimes.Key)
	blind    map[runtimes.Level]error // levels whose List fails
	lens     func(*runtimes.Instance) // what the daemon is shown in place of what is
	attached map[runtimes.Key]bool    // output that is being read
	logged   bytes.Buffer
	port     int
}

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
	d.Loop = New(Config{
		Host: "test", DataDir: m.dir, Version: "test", Origin: "a test",
		Source: m.feed, Loader: loader{}, Store: st, Runtimes: levels,
		Prober: m.probes, Output: &output{m: m, texts: map[runtimes.ID][]string{}},
		Log:      slog.New(slog.NewTextHandler(m, &slog.HandlerOptions{Level: slog.LevelDebug})),
		FreePort: m.freePort,
		OpenDir:  m.feed.open,
	})
	m.daemon = d
	go func() {
		d.err = d.Run(ctx)
		close(d.ended)
	}()
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

func (m *machine) log() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.logged.String()
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
		if time.Since(began) > time.Second/2 {
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

// hooked is a level that a test can break into.
type hooked struct {
	*fake.Runtime
	level runtimes.Level
	m     *machine
	d     *daemon
}

var errNoNetwork = &source.FetchError{Class: source.ClassNetwork, URL: "u", Err: errors.New("no route to host"), Hint: "look at the network"}

var errKilled = errors.New("the daemon was killed")

func (r *hooked) Start(ctx context.Context, spec runtimes.Spec) (runtimes.Instance, error) {
	r.m.at("before start", spec.Key)
	if r.d.killed.Load() {
		return runtimes.Instance{}, errKilled
	}
	r.m.probes.learn(spec)
	in, err := r.Runtime.Start(ctx, spec)
	r.m.at("after start", spec.Key)
	return in, err
}

func (r *hooked) Stop(ctx context.Context, key runtimes.Key) error {
	r.m.at("before stop", key)
	if r.d.killed.Load() {
		return errKilled
	}
	err := r.Runtime.Stop(ctx, key)
	r.m.at("after stop", key)
	return err
}

func (r *hooked) List(ctx context.Context) ([]runtimes.Instance, error) {
	r.m.lists.Add(1)
	r.m.mu.Lock()
	err := r.m.blind[r.level]
	r.m.mu.Unlock()
	if err != nil {
		return nil, err
	}
	list, err := r.Runtime.List(ctx)
	for i := range list {
		r.m.mu.Lock()
		if r.m.lens != nil {
			r.m.lens(&list[i])
		}
		r.m.mu.Unlock()
	}
	return list, err
}

// feed is a source that a test pushes to.
type feed struct {
	mu   sync.Mutex
	snap *source.Snapshot
	err  error
	all  map[string]*source.Snapshot
	hint chan struct{}
}

func newFeed() *feed {
	return &feed{
		all: map[string]*source.Snapshot{}, hint: make(chan struct{}, 1),
		err: &source.FetchError{Class: source.ClassConfig, URL: "test", Err: source.ErrEmptyRemote, Hint: "push"},
	}
}

func (f *feed) set(snap *source.Snapshot, err error) {
	f.mu.Lock()
	f.snap, f.err = snap, err
	if snap != nil {
		f.all[snap.Revision] = snap
	}
	f.mu.Unlock()
	f.Hint()
}

func (f *feed) Latest(context.Context, source.Anchor) (*source.Snapshot, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.snap, f.err
}

func (f *feed) At(_ context.Context, revision string) (*source.Snapshot, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if s := f.all[revision]; s != nil {
		return s, nil
	}
	return nil, source.ErrNoRevision
}

func (f *feed) open(dir string) (*source.Snapshot, error) {
	return f.At(context.Background(), dir)
}

func (f *feed) Wait(ctx context.Context) error {
	select {
	case <-f.hint:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (f *feed) Hint() {
	select {
	case f.hint <- struct{}{}:
	default:
	}
}

// config is a tree that carries what a Loader is to make of it.
type config struct {
	source.Tree
	model    *schema.Model
	problems []schema.Problem
	err      error
}

// push makes a model the newest revision.
func (m *machine) push(revision string, services ...*schema.Service) {
	m.pushModel(revision, model(services...))
}

func (m *machine) pushModel(revision string, mod *schema.Model) {
	m.feed.set(m.snapshot(revision, config{model: mod}), nil)
}

func (m *machine) snapshot(revision string, c config) *source.Snapshot {
	c.Tree = m.tree
	return &source.Snapshot{Revision: revision, Subject: "about " + revision, Anchor: revision, Tree: c}
}

// output keeps nothing but what a test puts in.
type output struct {
	m     *machine
	texts map[runtimes.ID][]string
}

func (o *output) Attach(_ context.Context, key runtimes.Key, stdout, stderr io.ReadCloser) error {
	o.m.mu.Lock()
	defer o.m.mu.Unlock()
	if o.m.attached[key] {
		o.m.t.Errorf("the output of %s is read twice", key)
	}
	o.m.attached[key] = true
	return errors.Join(stdout.Close(), stderr.Close())
}

func (o *output) Drained(context.Context, runtimes.Key) error { return nil }

func (o *output) Tail(service, id string, _ int) ([]logs.Line, error) {
	return []logs.Line{{Text: "last words of " + service + ":" + id}}, nil
}

// probes answers as a test says.
type probes struct {
	mu    sync.Mutex
	specs map[int]runtimes.Spec // by port
	sick  func(runtimes.Spec) string
}

func (p *probes) learn(spec runtimes.Spec) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.specs[spec.Port] = spec
}

// fail has incarnations for which sick gives a text be unhealthy.
func (p *probes) fail(sick func(runtimes.Spec) string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sick = sick
}

func (p *probes) Probe(_ context.Context, t probe.Target) probe.Result {
	p.mu.Lock()
	defer p.mu.Unlock()
	spec, ok := p.specs[t.Port]
	if !ok {
		return probe.Result{Text: "connection refused"}
	}
	if p.sick != nil {
		if text := p.sick(spec); text != "" {
			return probe.Result{Text: text}
		}
	}
	return probe.Result{Healthy: true, Address: "127.0.0.1:" + strconv.Itoa(t.Port)}
}

func (p *probes) WaitReady(ctx context.Context, t probe.Target, _ time.Duration) (probe.Result, error) {
	r := probe.Result{Text: "never asked"}
	for wait := time.Millisecond; ; wait = 50 * time.Millisecond { // what ended at once is seen first
		select {
		case <-ctx.Done():
			return r, ctx.Err()
		case <-time.After(wait):
		}
		if r = p.Probe(ctx, t); r.Healthy {
			return r, nil
		}
	}
}

// loader finds what the test put into the tree.
type loader struct{}

func (loader) Load(_ context.Context, t load.Tree) (*schema.Model, []schema.Problem, error) {
	c := t.(config)
	return c.model, c.problems, c.err
}

func service(name string, changes ...func(*schema.Service)) *schema.Service {
	s := &schema.Service{
		Name: name, Command: "{data_dir}/prog", Source: ".", Isolation: schema.Isolation(runtimes.Process),
		Restart: schema.RestartAlways, StartupTimeout: 5 * time.Second, StopSignal: "SIGTERM", StopTimeout: time.Second,
		StoragePersist: true, Instances: []string{"a"}, MaxInstances: 100, Env: map[string]string{},
		Fields: map[string]string{"command": `"prog"`, "source.tree": `"00ff"`},
	}
	for _, change := range changes {
		change(s)
	}
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(s.Fields)) {
		fmt.Fprintf(&b, "%s=%s;", k, s.Fields[k])
	}
	s.Digest = "v1:" + b.String()
	return s
}

// env makes a service differ, so that it has to be restarted.
func env(value string) func(*schema.Service) {
	return func(s *schema.Service) {
		s.Env["V"], s.Fields["env.V"] = value, strconv.Quote(value)
	}
}

func ids(list ...string) func(*schema.Service) {
	return func(s *schema.Service) { s.Instances = list }
}

func model(services ...*schema.Service) *schema.Model {
	slices.SortFunc(services, func(a, b *schema.Service) int { return strings.Compare(a.Name, b.Name) })
	return &schema.Model{Services: services, Settings: schema.Settings{
		HealthCheckInterval: 10 * time.Second, MaxRestarts: 5, RestartWindow: 5 * time.Minute,
		BackoffBase: time.Second, BackoffMax: time.Minute,
	}}
}
