package reconcile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tenement/ten/host/logs"
	"github.com/tenement/ten/host/probe"
	"github.com/tenement/ten/reconcile/plan"
	"github.com/tenement/ten/reconcile/source"
	"github.com/tenement/ten/reconcile/store"
	"github.com/tenement/ten/runtimes"
	"github.com/tenement/ten/runtimes/launch"
	"github.com/tenement/ten/runtimes/namespace"
	"github.com/tenement/ten/runtimes/runtimetest"
	"github.com/tenement/ten/schema"
)

// greeter listens on file 3 where it is given one, else on PORT, and says a byte
// to whoever comes.
const greeter = `package main

import (
	"net"
	"os"
)

func main() {
	var l net.Listener
	var err error
	if os.Getenv("LISTEN_FDS") != "" {
		l, err = net.FileListener(os.NewFile(3, "socket"))
	} else {
		l, err = net.Listen("tcp4", "127.0.0.1:"+os.Getenv("PORT"))
	}
	for err == nil {
		var c net.Conn
		if c, err = l.Accept(); err == nil {
			c.Write([]byte("."))
			c.Close()
		}
	}
	println(err.Error())
	os.Exit(1)
}
`

// still is a front door through which nobody comes.
type still struct{}

func (still) Activity(runtimes.ID) (int, time.Time)     { return 0, time.Time{} }
func (still) Drain(context.Context, runtimes.Key) error { return nil }
func (still) Outcome(runtimes.Key) (uint64, uint64)     { return 0, 0 }

// greeted connects and waits for the program's byte.
func greeted(ctx context.Context, address string) error {
	network := "tcp"
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		network, address = "unix", path
	}
	var d net.Dialer
	c, err := d.DialContext(ctx, network, address)
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = io.ReadFull(c, make([]byte, 1))
	return err
}

// sleepers is a daemon on this machine with 10,000 instances that sleep.
type sleepers struct {
	*Loop
	rt   runtimes.Runtime
	peer runtimes.Runtime // the same level, of which the daemon knows nothing
	d    *desired
}

func newSleepers(b *testing.B, change func(*schema.Service)) *sleepers {
	dir := b.TempDir()
	rt := level(b, filepath.Join(dir, "run"))
	src := filepath.Join(dir, "src")
	program := filepath.Join(src, "greeter")
	for _, err := range []error{os.Mkdir(src, 0o755), os.WriteFile(filepath.Join(src, "main.go"), []byte(greeter), 0o644)} {
		if err != nil {
			b.Fatal(err)
		}
	}
	build := exec.Command("go", "build", "-o", program, filepath.Join(src, "main.go"))
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if msg, err := build.CombinedOutput(); err != nil {
		b.Skipf("no Go toolchain: %v\n%s", err, msg)
	}
	names := make([]string, 10_000)
	for i := range names {
		names[i] = fmt.Sprintf("i%05d", i)
	}
	s := service("box", ids(names...), idle(time.Hour), func(s *schema.Service) {
		s.Command, s.Isolation, s.MaxInstances, s.OnDemand = "./greeter", schema.Isolation(runtimes.Namespace), len(names), true
	}, change)
	snap, err := source.OpenDir(src, source.DirOptions{})
	if err != nil {
		b.Fatal(err)
	}
	feed := newFeed()
	feed.set(&source.Snapshot{Revision: "r1", Tree: config{Tree: snap.Tree, model: model(s)}}, nil)
	if err := os.MkdirAll(filepath.Join(dir, ".ten"), 0o755); err != nil {
		b.Fatal(err)
	}
	st, err := store.Open(b.Context(), filepath.Join(dir, ".ten", "ten.db"))
	if err != nil {
		b.Fatal(err)
	}
	loop := New(Config{
		Host: "bench", DataDir: dir, Version: "test", Origin: "a bench", Source: feed, Loader: loader{}, Store: st,
		Runtimes: map[runtimes.Level]runtimes.Runtime{runtimes.Namespace: rt}, Prober: probe.Prober{},
		Output: logs.New(logs.Config{Dir: filepath.Join(dir, "logs"), Log: slog.New(slog.DiscardHandler)}),
		Log:    slog.New(slog.DiscardHandler), OpenDir: feed.open, Traffic: still{},
		FreePort: func(used map[int]bool) (int, error) { return probe.FreePort(30000, 32000, used) },
	})
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan error, 1)
	go func() { ended <- loop.Run(ctx) }()
	b.Cleanup(func() {
		cancel()
		if err := errors.Join(<-ended, st.Close()); err != nil {
			b.Error(err)
		}
		if _, err := StopAll(context.Background(), loop.cfg.Runtimes); err != nil {
			b.Error(err)
		}
	})
	for {
		loop.mu.Lock()
		d := loop.good
		loop.mu.Unlock()
		if d != nil {
			return &sleepers{Loop: loop, rt: rt, peer: level(b, filepath.Join(dir, "peer")), d: d}
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// level is the namespace level over a run directory.
func level(b *testing.B, dir string) runtimes.Runtime {
	init, err := runtimetest.Init()
	if err != nil {
		b.Fatal(err)
	}
	l, err := launch.New(launch.Config{RunDir: dir, CgroupParent: runtimetest.CgroupParent(dir), Init: init, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { l.Close() })
	rt := namespace.New(l)
	if err := rt.Check(b.Context()); err != nil {
		b.Skip(err)
	}
	return rt
}

// wake wakes an instance, is greeted by it, and says how long that took.
func (s *sleepers) wake(b *testing.B, id runtimes.ID) time.Duration {
	began := time.Now()
	if err := s.Wake(b.Context(), id); err != nil {
		b.Fatal(err)
	}
	s.mu.Lock()
	address := s.byID[id][0].address
	s.mu.Unlock()
	if err := greeted(b.Context(), address); err != nil {
		b.Fatal(err)
	}
	return time.Since(began)
}

// lull puts an instance to sleep.
func (s *sleepers) lull(b *testing.B, id runtimes.ID, freeze bool) {
	for {
		s.mu.Lock()
		mine := s.claim(id, nil)
		s.mu.Unlock()
		if mine {
			break
		}
		time.Sleep(time.Millisecond)
	}
	defer s.release(id)
	key := s.byID[id][0].key
	a := plan.Action{ID: id, Op: plan.OpSleep, Freeze: freeze, Old: []runtimes.Key{key}}
	if err := s.act(b.Context(), s.d, a, nil, make(chan struct{}, 1), func() {}); err != nil {
		b.Fatal(err)
	}
}

// bare starts the same program by the level alone and is greeted by it.
func (s *sleepers) bare(b *testing.B, id runtimes.ID, like runtimes.Spec) time.Duration {
	generation, err := s.cfg.Store.NextGeneration(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	like.Key.Generation = generation
	if err := os.MkdirAll(filepath.Dir(like.Socket), 0o755); err != nil {
		b.Fatal(err)
	}
	began := time.Now()
	if _, err := s.peer.Start(b.Context(), like); err != nil {
		b.Fatal(err)
	}
	for greeted(b.Context(), addressOf(like)) != nil {
		time.Sleep(50 * time.Microsecond)
	}
	took := time.Since(began)
	if err := errors.Join(s.peer.Stop(b.Context(), like.Key), os.RemoveAll(filepath.Dir(like.Socket))); err != nil {
		b.Fatal(err)
	}
	return took
}

func p50(list []time.Duration) float64 {
	slices.Sort(list)
	return float64(list[len(list)/2].Microseconds()) / 1000
}

// BenchmarkWake measures from the call to the program's first byte, with 10,000
// others asleep. Its peer in the same run is the bare start at the same level;
// what is added to that is what counts.
func BenchmarkWake(b *testing.B) {
	ways := map[string]func(*schema.Service){
		"PORT":       func(*schema.Service) {},
		"LISTEN_FDS": func(s *schema.Service) { s.ListenFDs = true },
	}
	for name, way := range ways {
		b.Run(name, func(b *testing.B) {
			s := newSleepers(b, way)
			id := runtimes.ID{Service: "box", Instance: "i04711"}
			s.wake(b, id)
			var wakes, bares []time.Duration
			for b.Loop() {
				s.mu.Lock()
				like := s.byID[id][0].spec
				s.mu.Unlock()
				s.lull(b, id, false)
				bares = append(bares, s.bare(b, id, like))
				wakes = append(wakes, s.wake(b, id))
			}
			b.ReportMetric(p50(wakes), "wake-p50-ms")
			b.ReportMetric(p50(bares), "bare-p50-ms")
			b.ReportMetric(p50(wakes)-p50(bares), "added-p50-ms")
		})
	}
}

// BenchmarkWakeFromFreeze measures from the call to the first byte of a program
// that was frozen.
func BenchmarkWakeFromFreeze(b *testing.B) {
	s := newSleepers(b, freezes)
	if _, ok := s.rt.(runtimes.Suspender); !ok {
		b.Skip("the level can't freeze")
	}
	id := runtimes.ID{Service: "box", Instance: "i04711"}
	s.wake(b, id)
	var wakes []time.Duration
	for b.Loop() {
		s.lull(b, id, true)
		wakes = append(wakes, s.wake(b, id))
	}
	b.ReportMetric(p50(wakes), "wake-p50-ms")
}
