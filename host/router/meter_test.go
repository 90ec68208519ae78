package router

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/tenement/ten/runtimes"
)

var webA = runtimes.ID{Service: "web", Instance: "a"}

// TestRequestsAreCounted: whatever way they come, once each, through every swap
// of the table; what never reached an instance is nobody's.
func TestRequestsAreCounted(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	answer := func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/socket":
			echoSocket(w, r)
		case "/fault":
			w.WriteHeader(500)
		default:
			hello(w, r)
		}
	}
	in := s.backend(answer)
	s.serves(in)
	want := func(n uint64, when string) {
		t.Helper()
		if got := s.Requests(webA).Total; got != n {
			t.Errorf("%s: %d requests, want %d", when, got, n)
		}
	}
	want(0, "at first")
	for _, path := range []string{"/", "/fault", "/"} {
		s.get(path)
	}
	want(3, "HTTP/1.1")
	h2 := s.client()
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	h2.Transport.(*http.Transport).Protocols = protocols
	for range 2 {
		res, err := h2.Get("http://web.localhost/")
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.ProtoMajor != 2 {
			t.Fatal(res.Proto)
		}
	}
	want(5, "HTTP/2")
	ws, _, err := websocket.Dial(t.Context(), "ws://web.localhost/socket", &websocket.DialOptions{HTTPClient: s.client()})
	if err != nil {
		t.Fatal(err)
	}
	want(6, "a WebSocket that is open")
	ws.CloseNow()
	s.say("GET / HTTP/1.1\r\nHost: nobody.localhost\r\nConnection: close\r\n\r\n")
	want(6, "one for nobody")

	s.sleeps("a")
	want(6, "asleep")
	next := s.backend(answer)
	next.Key.Generation = 2
	s.waker = func(context.Context, runtimes.ID) error { s.serves(next); return nil }
	s.get("/")
	want(7, "woken")
	s.Publish(Update{Model: s.model, Whole: true, Endpoints: []Endpoint{{ID: webA, Weight: 100, Serving: []Incarnation{next}}}})
	s.get("/")
	want(8, "after all was told anew")

	dead := s.incarnation("a", 3, "unix:/nowhere")
	s.serves(dead, next)
	s.get("/") // the first can't be reached, the second answers: one request
	want(9, "tried again")
	if q := s.Requests(webA); q.Average <= 0 || q.P99 <= 0 || q.P99 > time.Minute {
		t.Errorf("%+v", q)
	}
}

// TestMeter: the figures are those of what was added.
func TestMeter(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name       string
		micros     func(i int) uint64
		avg, p99   time.Duration
		exactRatio float64
	}{
		{"all the same", func(int) uint64 { return 700 }, 700 * time.Microsecond, 700 * time.Microsecond, 0.5},
		{"one in a hundred is slow", func(i int) uint64 {
			if i%100 < 2 {
				return 2_000_000
			}
			return 100
		}, 40098 * time.Microsecond, 2 * time.Second, 0.5},
		{"evenly to a second", func(i int) uint64 { return uint64(i) * 100 }, 499950 * time.Microsecond, 990 * time.Millisecond, 0.2},
		{"longer than it can tell", func(int) uint64 { return 1 << 40 }, time.Microsecond << 40, time.Hour, 0.5},
		{"nothing at all", func(int) uint64 { return 0 }, 0, time.Microsecond, 1},
	} {
		m := new(meter)
		for i := range 10_000 {
			m.add(tt.micros(i))
		}
		q := m.read()
		if q.Total != 10_000 || q.Average != tt.avg || math.Abs(float64(q.P99)/float64(tt.p99)-1) > tt.exactRatio {
			t.Errorf("%s: %+v; want %v, and about %v", tt.name, q, tt.avg, tt.p99)
		}
	}
	for slot := range meterSlots - 1 {
		if from := uint64(slotFrom(slot)); slot > 1 && (slotOf(from) != slot || slotOf(from-1) != max(slot-1, 0) && slot > 2) {
			t.Errorf("slot %d begins at %d, which is in %d; the one before in %d", slot, from, slotOf(from), slotOf(from-1))
		}
	}
}

// TestWhoLeavesIsNoFailure: a client can't make an instance look bad by leaving,
// nor by what it sends: else anybody could have a canary taken back.
func TestWhoLeavesIsNoFailure(t *testing.T) {
	t.Parallel()
	s := newStage(t, func(c *Config) { c.Limits.Progress = 300 * time.Millisecond })
	var held sync.WaitGroup
	stay := make(chan struct{})
	defer func() { close(stay); held.Wait() }()
	arrived := make(chan struct{}, 8)
	in := s.raw(func(c net.Conn) { // never answers
		held.Add(1)
		defer held.Done()
		if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
			arrived <- struct{}{}
			<-stay
		}
	})
	s.serves(in)
	for name, request := range map[string]string{
		"leaves":           "GET / HTTP/1.1\r\nHost: web.localhost\r\n\r\n",
		"leaves in a body": "POST / HTTP/1.1\r\nHost: web.localhost\r\nContent-Length: 9\r\n\r\n1",
	} {
		c := s.dial()
		io.WriteString(c, request)
		<-arrived
		c.Close()
		eventually(t, name, func() bool { return s.find(in.Key).open.Load() == 0 })
	}
	if got := s.say("POST / HTTP/1.1\r\nHost: web.localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"); got[:12] != "HTTP/1.1 400" {
		t.Errorf("no chunk: %q", got)
	}
	if got := s.say("POST / HTTP/1.1\r\nHost: web.localhost\r\nContent-Length: 9\r\n\r\n1"); got[:12] != "HTTP/1.1 408" {
		t.Errorf("a body that doesn't come: %q", got)
	}
	if answered, failed := s.Outcome(in.Key); answered != 0 || failed != 0 {
		t.Errorf("%d answered, %d failed", answered, failed)
	}
	if n := s.Requests(webA).Total; n != 0 {
		t.Errorf("%d requests", n)
	}
}

// BenchmarkMeter: what counting costs a request, all processors at one instance.
func BenchmarkMeter(b *testing.B) {
	r := New(Config{})
	a := &activity{}
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			r.metered(a, r.clock.exact()-int64(time.Millisecond))
		}
	})
	if n := a.meter.Load().read().Total; n != uint64(b.N) {
		b.Fatal(fmt.Sprint(n, " counted of ", b.N))
	}
}
