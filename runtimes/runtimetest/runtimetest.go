// Package runtimetest is the contract of runtimes.Runtime as a test suite.
// Every level passes Run; levels that start real programs pass Machine too,
// which looks at the processes, mounts and files behind the interface.
package runtimetest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/tenement/ten/runtimes"
)

// Open gives a Runtime over the state kept in dir, and what frees it. Called
// again with the same dir it stands for a daemon that was restarted: it must
// see what runs.
type Open func(dir string) (r runtimes.Runtime, free func() error, err error)

// patience bounds every wait of the suite; nothing in it should take a tenth.
const patience = 20 * time.Second

// The programs the suite runs. A Runtime that runs none, such as fake, gives
// these command lines the meaning of their names.
var (
	Forever = []string{"/bin/sh", "-c", "exec sleep 1000"}
	// Stubborn ignores SIGTERM.
	Stubborn = []string{"/bin/sh", "-c", "trap '' TERM; sleep 1000 & wait; sleep 1000"}
)

// ExitWith ends at once with a status.
func ExitWith(code int) []string {
	return []string{"/bin/sh", "-c", fmt.Sprintf("exit %d", code)}
}

// bench is what one subtest works with.
type bench struct {
	*testing.T
	open  Open
	dir   string // state of the runtime
	data  string // of the instance
	level runtimes.Level
	r     runtimes.Runtime
}

func newBench(t *testing.T, open Open, level runtimes.Level) *bench {
	t.Helper()
	base := t.TempDir()
	b := &bench{T: t, open: open, dir: filepath.Join(base, "run"), data: filepath.Join(base, "data"), level: level}
	if err := os.Mkdir(b.data, 0o755); err != nil {
		t.Fatal(err)
	}
	b.reopen()
	if err := b.r.Check(t.Context()); err != nil {
		var u *runtimes.UnsupportedError
		if errors.As(err, &u) {
			t.Skipf("%v; %s", err, u.Hint)
		}
		t.Fatal(err)
	}
	t.Cleanup(b.stopAll)
	return b
}

// reopen stands for a restart of the daemon.
func (b *bench) reopen() {
	b.Helper()
	r, free, err := b.open(b.dir)
	if err != nil {
		b.Fatal(err)
	}
	b.r = r
	b.Cleanup(func() {
		if err := free(); err != nil {
			b.Error(err)
		}
	})
}

// stopAll leaves nothing behind, whatever the subtest did.
func (b *bench) stopAll() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	list, err := b.r.List(ctx)
	if err != nil {
		b.Errorf("list at the end: %v", err)
	}
	stopNow, end := context.WithCancel(ctx)
	end()
	for _, in := range list {
		if err := b.r.Stop(stopNow, in.Spec.Key); err != nil {
			b.Errorf("stop at the end: %v", err)
		}
	}
}

func (b *bench) ctx() context.Context {
	ctx, cancel := context.WithTimeout(b.Context(), patience)
	b.Cleanup(cancel)
	return ctx
}

// spec is a plain spec of the first generation of web:prod.
func (b *bench) spec(command ...string) runtimes.Spec {
	return runtimes.Spec{
		Key:         runtimes.Key{ID: runtimes.ID{Service: "web", Instance: "prod"}, Generation: 1},
		Level:       b.level,
		Revision:    "0123456789abcdef0123456789abcdef01234567",
		Digest:      "v1:test",
		Fields:      map[string]string{"command": `"sleep"`, "env.LOG": `"debug"`},
		Command:     command,
		Env:         []string{"LOG=debug", "PATH=/usr/local/bin:/usr/bin:/bin"},
		Dir:         b.data,
		Mounts:      []runtimes.Mount{{Path: b.data, Writable: true}},
		StopSignal:  "SIGTERM",
		StopTimeout: 5 * time.Second,
	}
}

func (b *bench) start(spec runtimes.Spec) runtimes.Instance {
	b.Helper()
	in, err := b.r.Start(b.ctx(), spec)
	if err != nil {
		b.Fatalf("start: %v", explain(err))
	}
	return in
}

// explain adds the hint of a start error.
func explain(err error) error {
	var s *runtimes.StartError
	if errors.As(err, &s) && s.Hint != "" {
		return fmt.Errorf("%w (hint: %s)", err, s.Hint)
	}
	return err
}

func (b *bench) stop(key runtimes.Key) {
	b.Helper()
	if err := b.r.Stop(b.ctx(), key); err != nil {
		b.Fatalf("stop: %v", err)
	}
}

func (b *bench) wait(key runtimes.Key) runtimes.Exit {
	b.Helper()
	exit, err := b.r.Wait(b.ctx(), key)
	if err != nil {
		b.Fatalf("wait: %v", err)
	}
	return exit
}

func (b *bench) list() []runtimes.Instance {
	b.Helper()
	list, err := b.r.List(b.ctx())
	if err != nil {
		b.Fatalf("list: %v", err)
	}
	return list
}

// only returns the single instance that List shows.
func (b *bench) only() runtimes.Instance {
	b.Helper()
	list := b.list()
	if len(list) != 1 {
		b.Fatalf("List shows %d instances, want 1: %+v", len(list), list)
	}
	return list[0]
}

// eventually polls until ok holds.
func (b *bench) eventually(what string, ok func() bool) {
	b.Helper()
	deadline := time.Now().Add(patience)
	for !ok() {
		if time.Now().After(deadline) {
			b.Fatalf("%s: not within %v", what, patience)
		}
		time.Sleep(2 * time.Millisecond)
	}
}
