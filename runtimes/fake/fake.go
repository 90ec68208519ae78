// Package fake is an isolation level that runs nothing: a World in memory
// behaves like a machine, as its script says, so that a reconciler can be tested
// in every situation without one. It keeps the contract of runtimes.Runtime and
// is deterministic: the same calls give the same pids, phases and exits, and
// time passes only where a script asks for it, so testing/synctest moves it.
package fake

import (
	"cmp"
	"context"
	"io"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/tenement/ten/runtimes"
)

// Program is how one incarnation behaves. The zero Program starts at once, runs
// until it is stopped, and ends on the stop signal.
type Program struct {
	StartErr   error         // Start fails with it, as the cause of a StartError at step exec
	StartDelay time.Duration // how long Start takes
	// Exit, when not nil, is how it ends by itself, RunFor after its start.
	Exit     *runtimes.Exit
	RunFor   time.Duration
	Stubborn bool // ignores the stop signal, so that Stop has to kill it
	Stdout   string
	Stderr   string
	// Dial is who answers inside the incarnation's network; nil = nobody.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// How long Suspend and Resume take.
	SuspendDelay time.Duration
	ResumeDelay  time.Duration
}

// Op names a method whose next calls can be made to fail.
type Op string

// The methods that fail on demand. Start fails by its Program.
const (
	Check   Op = "check"
	List    Op = "list"
	Stop    Op = "stop"
	Wait    Op = "wait"
	Update  Op = "update"
	Suspend Op = "suspend"
	Resume  Op = "resume"
	Dial    Op = "dial"
)

// World is a machine. What runs on it outlives every Runtime over it.
type World struct {
	mu      sync.Mutex
	script  func(runtimes.Spec) Program
	running map[place]*incarnation
	fails   map[Op][]error
	calls   []string
	pids    int
}

type place struct {
	level runtimes.Level
	key   runtimes.Key
}

// incarnation is guarded by World.mu, except for its channels.
type incarnation struct {
	in       runtimes.Instance
	program  Program
	stopping bool
	overdue  *runtimes.Exit // what it would have ended with while it was suspended
	ended    chan struct{}  // closed when in.Exit is set
}

// NewWorld gives a machine on which script decides how each start goes; nil
// lets everything start and run.
func NewWorld(script func(runtimes.Spec) Program) *World {
	if script == nil {
		script = func(runtimes.Spec) Program { return Program{} }
	}
	return &World{script: script, running: map[place]*incarnation{}, fails: map[Op][]error{}, pids: 1000}
}

// Runtime gives the level of that name on this machine. A second one for the
// same level stands for a daemon that was restarted.
func (w *World) Runtime(level runtimes.Level) *Runtime { return &Runtime{w: w, level: level} }

// SetScript decides how starts from now on go.
func (w *World) SetScript(script func(runtimes.Spec) Program) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.script = script
}

// Fail makes the next calls of op fail, one per error, at any level.
func (w *World) Fail(op Op, errs ...error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fails[op] = append(w.fails[op], errs...)
}

// End makes a running incarnation end, as a crash would. It reports whether it
// was running.
func (w *World) End(level runtimes.Level, key runtimes.Key, exit runtimes.Exit) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	inc := w.running[place{level, key}]
	return inc != nil && inc.end(exit)
}

// Calls lists the calls that changed the world or failed to, in order:
// "start web:prod#1", "stop web:prod#1".
func (w *World) Calls() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.calls)
}

// enter gives the error that a call shall fail with, or nil. w.mu is held.
func (w *World) enter(op Op) error {
	list := w.fails[op]
	if len(list) == 0 {
		return nil
	}
	w.fails[op] = list[1:]
	return list[0]
}

// end sets the exit, once. World.mu is held.
func (i *incarnation) end(exit runtimes.Exit) bool {
	if i.in.Exit != nil {
		return false
	}
	if exit.At.IsZero() {
		exit.At = time.Now()
	}
	i.in.Exit, i.in.Pid, i.in.Phase = &exit, 0, runtimes.Failed
	if i.stopping || (exit.Known && exit.Code == 0) {
		i.in.Phase = runtimes.Stopped
	}
	close(i.ended)
	return true
}

// Runtime is one level of a World.
type Runtime struct {
	w     *World
	level runtimes.Level
}

// Check works unless it was told to fail.
func (r *Runtime) Check(context.Context) error {
	r.w.mu.Lock()
	defer r.w.mu.Unlock()
	return r.w.enter(Check)
}

// Start does what the script says.
func (r *Runtime) Start(ctx context.Context, spec runtimes.Spec) (runtimes.Instance, error) {
	at := place{r.level, spec.Key}
	r.w.mu.Lock()
	if old := r.w.running[at]; old != nil && old.in.Exit == nil {
		in := old.in
		r.w.mu.Unlock()
		return in, nil
	}
	delete(r.w.running, at)
	r.w.calls = append(r.w.calls, "start "+spec.Key.String())
	p := r.w.script(spec)
	r.w.mu.Unlock()

	fail := func(step string, err error) error {
		return &runtimes.StartError{Key: spec.Key, Step: step, Object: cmp.Or(slices.Concat(spec.Command, []string{""})[0], "nothing"), Err: err}
	}
	if p.StartDelay > 0 {
		select {
		case <-ctx.Done():
			return runtimes.Instance{}, fail("wait for", ctx.Err())
		case <-time.After(p.StartDelay):
		}
	}
	if p.StartErr != nil {
		return runtimes.Instance{}, fail("exec", p.StartErr)
	}
	return r.w.launch(at, spec, p), nil
}

func (w *World) launch(at place, spec runtimes.Spec, p Program) runtimes.Instance {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pids++
	inc := &incarnation{
		in:      runtimes.Instance{Spec: spec, Phase: runtimes.Running, Pid: w.pids, StartedAt: time.Now()},
		program: p,
		ended:   make(chan struct{}),
	}
	w.running[at] = inc
	started := inc.in
	switch {
	case p.Exit != nil && p.RunFor == 0:
		inc.end(*p.Exit)
	case p.Exit != nil:
		time.AfterFunc(p.RunFor, func() {
			w.mu.Lock()
			defer w.mu.Unlock()
			if inc.in.Phase == runtimes.Sleeping {
				inc.overdue = p.Exit
				return
			}
			inc.end(*p.Exit)
		})
	}
	return started
}

// Stop ends the incarnation and forgets it.
func (r *Runtime) Stop(ctx context.Context, key runtimes.Key) error {
	at := place{r.level, key}
	r.w.mu.Lock()
	if err := r.w.enter(Stop); err != nil {
		r.w.mu.Unlock()
		return err
	}
	inc := r.w.running[at]
	if inc == nil {
		r.w.mu.Unlock()
		return nil
	}
	r.w.calls = append(r.w.calls, "stop "+key.String())
	signal := 15
	if inc.in.Exit == nil {
		inc.stopping, inc.in.Phase = true, runtimes.Stopping
	}
	spec, stubborn := inc.in.Spec, inc.program.Stubborn
	r.w.mu.Unlock()

	if stubborn {
		signal = 9
		select {
		case <-inc.ended:
		case <-ctx.Done():
		case <-time.After(spec.StopTimeout):
		}
	}
	r.w.mu.Lock()
	defer r.w.mu.Unlock()
	inc.end(runtimes.Exit{Known: true, Code: 128 + signal, Signal: signal})
	delete(r.w.running, at)
	return nil
}

// List shows what is there, by key.
func (r *Runtime) List(context.Context) ([]runtimes.Instance, error) {
	r.w.mu.Lock()
	defer r.w.mu.Unlock()
	if err := r.w.enter(List); err != nil {
		return nil, err
	}
	var list []runtimes.Instance
	for at, inc := range r.w.running {
		if at.level == r.level {
			list = append(list, inc.in)
		}
	}
	slices.SortFunc(list, func(a, b runtimes.Instance) int {
		return cmp.Or(a.Spec.Key.ID.Compare(b.Spec.Key.ID), cmp.Compare(a.Spec.Key.Generation, b.Spec.Key.Generation))
	})
	return list, nil
}

// Wait blocks until the incarnation has ended.
func (r *Runtime) Wait(ctx context.Context, key runtimes.Key) (runtimes.Exit, error) {
	r.w.mu.Lock()
	err := r.w.enter(Wait)
	inc := r.w.running[place{r.level, key}]
	r.w.mu.Unlock()
	if err != nil {
		return runtimes.Exit{}, err
	}
	if inc == nil {
		return runtimes.Exit{}, runtimes.ErrNotFound
	}
	select {
	case <-ctx.Done():
		return runtimes.Exit{}, ctx.Err()
	case <-inc.ended:
		return *inc.in.Exit, nil
	}
}

// Update changes what an Updater changes.
func (r *Runtime) Update(_ context.Context, spec runtimes.Spec) error {
	r.w.mu.Lock()
	defer r.w.mu.Unlock()
	if err := r.w.enter(Update); err != nil {
		return err
	}
	inc := r.w.running[place{r.level, spec.Key}]
	if inc == nil {
		return runtimes.ErrNotFound
	}
	r.w.calls = append(r.w.calls, "update "+spec.Key.String())
	have := &inc.in.Spec
	have.Fields, have.Digest, have.Revision = spec.Fields, spec.Digest, spec.Revision
	have.StopSignal, have.StopTimeout, have.Limits = spec.StopSignal, spec.StopTimeout, spec.Limits
	return nil
}

// Output gives what the script had the program say; it ends with the program.
func (r *Runtime) Output(key runtimes.Key) (stdout, stderr io.ReadCloser, err error) {
	r.w.mu.Lock()
	defer r.w.mu.Unlock()
	inc := r.w.running[place{r.level, key}]
	if inc == nil {
		return nil, nil, runtimes.ErrNotFound
	}
	stdout, stderr = newOutput(inc, inc.program.Stdout), newOutput(inc, inc.program.Stderr)
	inc.program.Stdout, inc.program.Stderr = "", "" // what was read is not read again
	return stdout, stderr, nil
}
