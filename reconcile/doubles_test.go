package reconcile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/tenement/ten/host/logs"
	"github.com/tenement/ten/host/probe"
	"github.com/tenement/ten/reconcile/source"
	"github.com/tenement/ten/runtimes"
	"github.com/tenement/ten/runtimes/fake"
	"github.com/tenement/ten/schema"
	"github.com/tenement/ten/schema/load"
)

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

// put has At give another snapshot of its revision.
func (f *feed) put(snap *source.Snapshot) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.all[snap.Revision] = snap
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
	loading  func() // what happens while it is loaded
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
	return probe.Result{Healthy: true, Address: "unix:" + t.Socket}
}

func (p *probes) WaitReady(ctx context.Context, t probe.Target, _ time.Duration) (probe.Result, error) {
	r := probe.Result{Text: "never asked"}
	for wait := 2 * time.Millisecond; ; wait = 50 * time.Millisecond { // what ended at once is seen first
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
	if c.loading != nil {
		c.loading()
	}
	return c.model, c.problems, c.err
}

func service(name string, changes ...func(*schema.Service)) *schema.Service {
	s := &schema.Service{
		Name: name, Command: "{data_dir}/prog", Source: ".", Isolation: schema.Isolation(runtimes.Process),
		Restart: schema.RestartAlways, StartupTimeout: 5 * time.Second, StopSignal: "SIGTERM", StopTimeout: time.Second,
		StoragePersist: true, Weight: 100, Instances: []string{"a"}, MaxInstances: 100, Env: map[string]string{},
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
