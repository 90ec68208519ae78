package router

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tenement/ten/runtimes"
)

// ask sends one request on a connection of its own and gives the status.
func (s *stage) ask(host, method string) int {
	c := s.dial()
	defer c.Close()
	fmt.Fprintf(c, "%s / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", method, host)
	b, _ := io.ReadAll(c)
	code := 0
	fmt.Sscanf(string(b), "HTTP/1.1 %d", &code)
	return code
}

// flood asks n times at once and counts the answers by status.
func (s *stage) flood(n int, host string) map[int]int {
	var mu sync.Mutex
	got := map[int]int{}
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			code := s.ask(host, "GET")
			mu.Lock()
			got[code]++
			mu.Unlock()
		})
	}
	all.Wait()
	return got
}

func TestAThousandRequestsAreOneWake(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	in := s.backend(hello)
	var wakes atomic.Int32
	s.waker = func(ctx context.Context, id runtimes.ID) error {
		wakes.Add(1)
		time.Sleep(300 * time.Millisecond) // the program's start
		s.serves(in)
		return nil
	}
	for _, host := range []string{"a.web.localhost", "web.localhost"} {
		wakes.Store(0)
		s.sleeps("a")
		if got := s.flood(1000, host); got[200] != 1000 {
			t.Errorf("%s: answers by status: %v", host, got)
		}
		if n := wakes.Load(); n != 1 {
			t.Errorf("%s: %d wakes", host, n)
		}
	}
}

func TestWakeQueueIsBounded(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.web.WakeQueue = 10
	in := s.backend(hello)
	s.sleeps("a")
	release := make(chan struct{})
	s.waker = func(ctx context.Context, id runtimes.ID) error { <-release; s.serves(in); return nil }
	var all sync.WaitGroup
	var served atomic.Int32
	for range 10 {
		all.Go(func() {
			if s.ask("a.web.localhost", "GET") == 200 {
				served.Add(1)
			}
		})
	}
	eventually(t, "ten wait", func() bool {
		s.waking.Lock()
		defer s.waking.Unlock()
		w := s.wakes[runtimes.ID{Service: "web", Instance: "a"}]
		return w != nil && w.waiting == 10
	})
	got := s.say("GET / HTTP/1.1\r\nHost: a.web.localhost\r\nConnection: close\r\n\r\n")
	if !strings.HasPrefix(got, "HTTP/1.1 503 ") || !strings.Contains(got, "\r\nRetry-After: ") {
		t.Errorf("the eleventh got %q", got)
	}
	close(release)
	all.Wait()
	if served.Load() != 10 {
		t.Errorf("%d of those in the queue were served", served.Load())
	}
}

func TestWakeThatTakesTooLong(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.web.StartupTimeout = 300 * time.Millisecond
	s.sleeps("a")
	s.waker = func(ctx context.Context, id runtimes.ID) error { <-ctx.Done(); return ctx.Err() }
	if code := s.ask("a.web.localhost", "GET"); code != 504 {
		t.Errorf("got %d, want 504", code)
	}
}

func TestAFailedWakeNeverHangsLaterOnes(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	in := s.backend(hello)
	s.sleeps("a")
	var mended atomic.Bool
	s.waker = func(context.Context, runtimes.ID) error {
		if !mended.Load() {
			return errors.New("exec: no such file")
		}
		s.serves(in)
		return nil
	}
	if code := s.ask("a.web.localhost", "GET"); code != 503 {
		t.Errorf("got %d, want 503", code)
	}
	mended.Store(true)
	if code := s.ask("a.web.localhost", "GET"); code != 200 {
		t.Errorf("after it was mended: %d", code)
	}
}

// TestALeavingClientCancelsNobody: the one whose request began the wake goes.
func TestALeavingClientCancelsNobody(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	in := s.backend(hello)
	s.sleeps("a")
	begun, release := make(chan struct{}), make(chan struct{})
	var cancelled atomic.Bool
	s.waker = func(ctx context.Context, _ runtimes.ID) error {
		close(begun)
		select {
		case <-release:
			s.serves(in)
		case <-ctx.Done():
			cancelled.Store(true)
		}
		return ctx.Err()
	}
	first := s.dial()
	io.WriteString(first, "GET / HTTP/1.1\r\nHost: a.web.localhost\r\n\r\n")
	<-begun
	second := make(chan int, 1)
	go func() { second <- s.ask("a.web.localhost", "GET") }()
	waiting := func(n int) func() bool {
		return func() bool {
			s.waking.Lock()
			defer s.waking.Unlock()
			w := s.wakes[runtimes.ID{Service: "web", Instance: "a"}]
			return w != nil && w.waiting == n
		}
	}
	eventually(t, "both wait", waiting(2))
	first.Close()
	eventually(t, "one has left", waiting(1))
	close(release)
	if code := <-second; code != 200 || cancelled.Load() {
		t.Errorf("the other got %d; the wake was cancelled: %v", code, cancelled.Load())
	}
}

// TestRequestHoldsThroughACrash: the instance is gone and nobody has noticed yet;
// then it is noticed; then it is back, elsewhere.
func TestRequestHoldsThroughACrash(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.serves(s.incarnation("a", 1, "unix:"+t.TempDir()+"/nobody"))
	s.waker = func(context.Context, runtimes.ID) error {
		time.Sleep(50 * time.Millisecond)
		in := s.backend(func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) })
		in.Key.Generation = 2
		s.serves(in)
		return nil
	}
	got := make(chan string, 1)
	go func() {
		res, err := s.client().Post("http://a.web.localhost/", "text/plain", strings.NewReader("kept"))
		if err != nil {
			got <- err.Error()
			return
		}
		b, _ := io.ReadAll(res.Body)
		res.Body.Close()
		got <- fmt.Sprint(res.StatusCode, string(b))
	}()
	time.Sleep(100 * time.Millisecond)
	s.sleeps("a")
	if text := <-got; text != "200kept" {
		t.Errorf("got %q", text)
	}
}

// TestWeightedReselects: one of two has died; its requests go to the other at once.
func TestWeightedReselects(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	other := s.backend(hello)
	other.Key.Instance = "b"
	s.serves(other)
	s.serves(s.incarnation("a", 1, "unix:"+t.TempDir()+"/nobody"))
	began := time.Now()
	for range 50 {
		if code := s.ask("web.localhost", "POST"); code != 200 {
			t.Fatalf("got %d", code)
		}
	}
	if d := time.Since(began); d > 2*time.Second {
		t.Errorf("50 requests took %s", d)
	}
	if code := s.ask("web.localhost", "GET"); code != 200 {
		t.Errorf("got %d", code)
	}
}

// TestNoWeightNoRequests: one with weight 0 gets none even when all that have
// some are dead: it may be there to be looked at, and not to be used.
func TestNoWeightNoRequests(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.web.StartupTimeout = 300 * time.Millisecond
	in := s.backend(hello)
	in.Key.Instance = "idle"
	s.Publish(Update{Model: s.model, Endpoints: []Endpoint{
		{ID: in.Key.ID, Weight: 0, Wakes: true, Serving: []Incarnation{in}},
		{ID: webA, Weight: 100, Wakes: true, Serving: []Incarnation{s.incarnation("a", 1, "unix:"+t.TempDir()+"/nobody")}},
	}})
	for range 3 {
		if code := s.ask("web.localhost", "GET"); code != 504 {
			t.Errorf("got %d, want 504", code)
		}
	}
	if code := s.ask("idle.web.localhost", "GET"); code != 200 {
		t.Errorf("asked for by name it answers %d", code)
	}
	if n := s.Requests(in.Key.ID).Total; n != 1 {
		t.Errorf("it got %d requests", n)
	}
}

// TestTenThousandUnknownIDs: nobody but an on_demand service is asked about them,
// no more at once than the bound, and nothing is left of them.
//
// It measures the heap, so it runs alone.
func TestTenThousandUnknownIDs(t *testing.T) {
	s := newStage(t)
	s.web.MaxInstances = 3
	var asked, atOnce, most atomic.Int64
	s.waker = func(ctx context.Context, id runtimes.ID) error {
		asked.Add(1)
		now := atOnce.Add(1)
		defer atOnce.Add(-1)
		most.Store(max(most.Load(), now))
		return errors.New("refused")
	}
	sweep := func(want int) {
		var all sync.WaitGroup
		for part := range 16 {
			all.Go(func() {
				c := s.dial()
				defer c.Close()
				br := bufio.NewReader(c)
				for i := range 10_000 / 16 {
					fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: x%d-%d.web.localhost\r\n\r\n", part, i)
					res, err := http.ReadResponse(br, nil)
					if err != nil {
						t.Error(err)
						return
					}
					io.Copy(io.Discard, res.Body)
					if res.StatusCode != want {
						t.Errorf("got %d, want %d", res.StatusCode, want)
						return
					}
				}
			})
		}
		all.Wait()
	}
	sweep(404)
	if n := asked.Load(); n != 0 {
		t.Errorf("the waker was asked %d times about a service that is not on_demand", n)
	}
	s.web.OnDemand = true
	before := heap()
	sweep(503)
	if most.Load() > maxStrangers {
		t.Errorf("%d at once", most.Load())
	}
	s.waking.Lock()
	left, strangers := len(s.wakes), s.strangers
	s.waking.Unlock()
	if left != 0 || strangers != 0 {
		t.Errorf("%d wakes are left, %d strangers counted", left, strangers)
	}
	if grown := int64(heap()) - int64(before); grown > 8<<20 {
		t.Errorf("the heap grew by %d KB", grown>>10)
	}
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
