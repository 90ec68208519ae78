package reconcile

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tenement/ten/host/logs"
	"github.com/tenement/ten/host/probe"
	"github.com/tenement/ten/host/router"
	"github.com/tenement/ten/reconcile/plan"
	"github.com/tenement/ten/reconcile/source"
	"github.com/tenement/ten/reconcile/store"
	"github.com/tenement/ten/runtimes"
	"github.com/tenement/ten/runtimes/fake"
	"github.com/tenement/ten/schema"
)

// bytesPerSleeper is the bar of what an instance that sleeps costs the daemon.
const bytesPerSleeper = 2048

// TestWhatASleeperCosts counts all that the daemon keeps in memory of instances
// that were awake once: the loop's books, the router's table, the store and the
// logs. What the test's own machine remembers of them is counted too.
func TestWhatASleeperCosts(t *testing.T) {
	if testing.Short() || raced {
		t.Skip("takes seconds, and counts memory")
	}
	for _, declared := range []bool{false, true} {
		if cost := costOfSleepers(t, 2000, declared); cost > bytesPerSleeper {
			t.Errorf("one that sleeps (declared: %v) costs %.0f bytes, more than %d", declared, cost, bytesPerSleeper)
		}
	}
}

func BenchmarkSleepers(b *testing.B) {
	for b.Loop() {
		b.ReportMetric(costOfSleepers(b, 10_000, false), "B/sleeper")
		b.ReportMetric(costOfSleepers(b, 10_000, true), "B/declared-sleeper")
	}
}

// quickly answers that everybody is well.
type quickly struct{}

func (quickly) Probe(_ context.Context, t probe.Target) probe.Result {
	return probe.Result{Healthy: true, Address: "unix:" + t.Socket}
}

func (q quickly) WaitReady(ctx context.Context, t probe.Target, _ time.Duration) (probe.Result, error) {
	return q.Probe(ctx, t), nil
}

// costOfSleepers wakes n instances, has them fall asleep, and gives the bytes
// that each has left in memory.
func costOfSleepers(t testing.TB, n int, declared bool) float64 {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, ".ten"), 0o755); err != nil {
		t.Fatal(err)
	}
	st, err := store.Open(t.Context(), filepath.Join(dir, ".ten", "ten.db"))
	if err != nil {
		t.Fatal(err)
	}
	before := inUse() // an instance's name is part of what it costs
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("tenant-%05d", i)
	}
	snap, err := source.OpenDir(t.TempDir(), source.DirOptions{})
	if err != nil {
		t.Fatal(err)
	}
	box := service("box", idle(time.Hour), patient(time.Minute), func(s *schema.Service) {
		s.MaxInstances, s.OnDemand, s.Instances = 2*n, true, nil
		if declared {
			s.Instances = names
		}
	})
	feed := newFeed()
	feed.set(&source.Snapshot{Revision: "r1", Tree: config{Tree: snap.Tree, model: model(box)}}, nil)
	door := router.New(router.Config{Options: router.Options{Domain: "example.com"}})
	port := 100_000 // beyond all real ones
	loop := New(Config{
		Host: "test", DataDir: dir, Version: "test", Origin: "a test", Source: feed, Loader: loader{}, Store: st,
		Runtimes: map[runtimes.Level]runtimes.Runtime{runtimes.Process: fake.NewWorld(nil).Runtime(runtimes.Process)},
		Prober:   quickly{}, Log: slog.New(slog.DiscardHandler), OpenDir: feed.open,
		Output:  logs.New(logs.Config{Dir: filepath.Join(dir, "logs"), Log: slog.New(slog.DiscardHandler)}),
		Publish: door.Publish, Traffic: door,
		FreePort: func(map[int]bool) (int, error) { port++; return port, nil },
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- loop.Run(ctx) }()
	defer func() {
		cancel()
		if err := errors.Join(<-ended, st.Close()); err != nil {
			t.Error(err)
		}
	}()
	until(t, "r1 is in force", func() bool { loop.mu.Lock(); defer loop.mu.Unlock(); return loop.good != nil })
	var all errgroup.Group
	all.SetLimit(16) // few are awake at a time, for it is not they who are counted
	for _, name := range names {
		all.Go(func() error {
			id := runtimes.ID{Service: "box", Instance: name}
			if err := loop.Wake(t.Context(), id); err != nil {
				return err
			}
			return loop.lullNow(t.Context(), id)
		})
	}
	if err := all.Wait(); err != nil {
		t.Fatal(err)
	}
	until(t, "all sleep", func() bool {
		loop.mu.Lock()
		defer loop.mu.Unlock()
		return len(loop.world) == 0 && len(loop.claimed) == 0 && len(loop.dirty) == 0 && len(loop.rests) == n
	})
	cost := (inUse() - before) / float64(n)
	t.Logf("%.0f bytes each (declared: %v)", cost, declared)
	return cost
}

// lullNow puts an instance to sleep as supervision does.
func (l *Loop) lullNow(ctx context.Context, id runtimes.ID) error {
	var key runtimes.Key
	for {
		l.mu.Lock()
		mine := l.claim(id, nil)
		if mine {
			key = l.byID[id][0].key
		}
		l.mu.Unlock()
		if mine {
			break
		}
		l.pause(ctx, time.Millisecond)
	}
	defer l.release(id)
	l.mu.Lock()
	d := l.force
	l.mu.Unlock()
	return l.act(ctx, d, plan.Action{ID: id, Op: plan.OpSleep, Old: []runtimes.Key{key}}, nil, make(chan struct{}, 1), func() {})
}

// inUse is the memory that is in use, stacks too.
func inUse() float64 {
	var m runtime.MemStats
	debug.FreeOSMemory()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc) + float64(m.StackInuse)
}

func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within two minutes: %s", what)
		}
	}
}

// TestFewFallAsleepAtATime: where many are idle together, all sleep in the end,
// and never are more at work on it than the bound says.
func TestFewFallAsleepAtATime(t *testing.T) {
	onMachine(t, func(t *testing.T, m *machine) {
		names := make([]string, 5*mostLulled)
		for i := range names {
			names[i] = fmt.Sprintf("i%03d", i)
		}
		m.start()
		m.push("r1", service("web", ids(names...), idle(time.Minute), func(s *schema.Service) { s.MaxInstances = len(names) }))
		m.settles("r1")
		var now, most atomic.Int64
		m.on(func(when string, _ runtimes.Key) {
			switch when {
			case "before stop":
				n := now.Add(1)
				for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
				}
				time.Sleep(50 * time.Millisecond)
			case "after stop":
				now.Add(-1)
			}
		})
		m.awaitFor(5*time.Minute, "all sleep", func() bool { return len(m.alive()) == 0 })
		if n := most.Load(); n > mostLulled || n < 2 {
			t.Errorf("%d were stopped at a time, want up to %d", n, mostLulled)
		}
		m.nothingStuck()
	})
}
