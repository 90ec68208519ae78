package router

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tenement/ten/runtimes"
	"github.com/tenement/ten/schema"
)

// dialer reaches backends where they say they are.
type dialer struct{}

func (dialer) Dial(ctx context.Context, in Incarnation) (net.Conn, error) {
	network, address := "tcp", in.Address
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		network, address = "unix", path
	}
	var d net.Dialer
	return d.DialContext(ctx, network, address)
}

// stage is a router with one service "web", whose instance "a" is a handler on a
// unix socket, and a listener in front.
type stage struct {
	*Router
	t       testing.TB
	model   *schema.Model
	web     *schema.Service
	address string // of the front
	socket  string // of the backend
	waker   wakeFunc
	served  sync.WaitGroup
}

type wakeFunc func(ctx context.Context, id runtimes.ID) error

func (f *stage) Wake(ctx context.Context, id runtimes.ID) error {
	if f.waker == nil {
		return fmt.Errorf("%s is not to be woken", id)
	}
	return f.waker(ctx, id)
}

func newStage(t testing.TB, configure ...func(*Config)) *stage {
	t.Helper()
	s := &stage{t: t, web: &schema.Service{Name: "web", StartupTimeout: 5 * time.Second, RequestTimeout: 5 * time.Second}}
	s.model = &schema.Model{Services: []*schema.Service{s.web}}
	cfg := Config{Waker: s, Dialer: dialer{}, Log: slog.New(slog.NewTextHandler(t.Output(), nil))}
	for _, f := range configure {
		f(&cfg)
	}
	s.Router = New(cfg)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { s.Run(ctx); close(done) }()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.address = l.Addr().String()
	s.served.Add(1)
	go func() {
		defer s.served.Done()
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.served.Add(1)
			go func() { defer s.served.Done(); s.ServeConn(ctx, c, ConnInfo{}) }()
		}
	}()
	t.Cleanup(func() {
		l.Close()
		cancel()
		s.served.Wait()
		<-done
	})
	s.Publish(Update{Model: s.model, Whole: true})
	return s
}

// backend serves a handler on a unix socket of its own.
func (s *stage) backend(h http.HandlerFunc) Incarnation {
	s.t.Helper()
	s.socket = filepath.Join(s.t.TempDir(), "s")
	l, err := net.Listen("unix", s.socket)
	if err != nil {
		s.t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(h)
	srv.Listener.Close()
	srv.Listener = l
	srv.Start()
	s.t.Cleanup(func() { srv.CloseClientConnections(); srv.Close() })
	return s.incarnation("a", 1, "unix:"+s.socket)
}

// raw serves connections as they come.
func (s *stage) raw(serve func(net.Conn)) Incarnation {
	s.t.Helper()
	s.socket = filepath.Join(s.t.TempDir(), "s")
	l, err := net.Listen("unix", s.socket)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { defer c.Close(); serve(c) }()
		}
	}()
	return s.incarnation("a", 1, "unix:"+s.socket)
}

func (s *stage) incarnation(id string, generation uint64, address string) Incarnation {
	return Incarnation{Key: runtimes.Key{ID: runtimes.ID{Service: "web", Instance: id}, Generation: generation}, Address: address, Share: 100}
}

// serves publishes incarnations of one instance.
func (s *stage) serves(ins ...Incarnation) {
	s.Publish(Update{Model: s.model, Endpoints: []Endpoint{{ID: ins[0].Key.ID, Weight: 100, Wakes: true, Serving: ins}}})
}

func (s *stage) sleeps(id string) {
	s.Publish(Update{Model: s.model, Endpoints: []Endpoint{{ID: runtimes.ID{Service: "web", Instance: id}, Weight: 100, Wakes: true}}})
}

func (s *stage) dial() net.Conn {
	s.t.Helper()
	c, err := net.Dial("tcp", s.address)
	if err != nil {
		s.t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(20 * time.Second))
	s.t.Cleanup(func() { c.Close() })
	return c
}

// say sends bytes as they are and gives all that comes back until the end.
func (s *stage) say(request string) string {
	s.t.Helper()
	c := s.dial()
	io.WriteString(c, request)
	b, _ := io.ReadAll(c)
	return string(b)
}

// client is an HTTP client for web.localhost.
func (s *stage) client() *http.Client {
	tr := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", s.address)
	}, DisableCompression: true, MaxIdleConnsPerHost: 100}
	s.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 30 * time.Second}
}

func (s *stage) get(path string) (int, string) {
	s.t.Helper()
	res, err := s.client().Get("http://web.localhost" + path)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

// eventually waits until a condition holds.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !holds(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("never: " + what)
		}
	}
}

func hello(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello world\n") }

func TestKeepAliveAndPipelining(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	in := s.backend(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "%s %s", r.Method, r.URL) })
	s.serves(in)
	c := s.dial()
	var ask strings.Builder
	for i := range 50 {
		fmt.Fprintf(&ask, "GET /%d HTTP/1.1\r\nHost: web.localhost\r\n\r\n", i)
		fmt.Fprintf(&ask, "POST /%d HTTP/1.1\r\nHost: web.localhost\r\nContent-Length: 4\r\n\r\nbody", i)
		fmt.Fprintf(&ask, "POST /%d HTTP/1.1\r\nHost: web.localhost\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n", i)
	}
	go io.WriteString(c, ask.String())
	br := bufio.NewReader(c)
	for i := range 50 {
		for _, method := range []string{"GET", "POST", "POST"} {
			res, err := http.ReadResponse(br, nil)
			if err != nil {
				t.Fatalf("%d: %v", i, err)
			}
			b, _ := io.ReadAll(res.Body)
			if want := fmt.Sprintf("%s /%d", method, i); string(b) != want {
				t.Fatalf("got %q, want %q", b, want)
			}
		}
	}
}

func TestBodiesBothWays(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.serves(s.backend(func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		fmt.Fprintf(w, "%d %v %v", n, err, r.Trailer)
	}))
	for _, size := range []int{0, 1, 4095, 4096, 5000, 1 << 20, 10 << 20} {
		for _, chunked := range []bool{false, true} {
			var body io.Reader = strings.NewReader(strings.Repeat("x", size))
			if chunked {
				body = io.MultiReader(body)
			}
			res, err := s.client().Post("http://web.localhost/", "text/plain", body)
			if err != nil {
				t.Fatal(err)
			}
			b, _ := io.ReadAll(res.Body)
			res.Body.Close()
			if want := fmt.Sprintf("%d <nil> map[]", size); string(b) != want {
				t.Errorf("size %d chunked %v: got %q", size, chunked, b)
			}
		}
	}
}

// newTLSServer serves a handler with TLS and HTTP/2, as the daemon's listener does.
func newTLSServer(h http.Handler, l net.Listener) *httptest.Server {
	srv := httptest.NewUnstartedServer(h)
	srv.Listener.Close()
	srv.Listener = l
	srv.EnableHTTP2 = true
	srv.StartTLS()
	return srv
}
