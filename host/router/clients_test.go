package router

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"

	"github.com/tenement/ten/runtimes"
)

// echoSocket is a WebSocket echo.
func echoSocket(w http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
	if err != nil {
		return
	}
	defer c.CloseNow()
	c.SetReadLimit(1 << 20)
	for {
		kind, b, err := c.Read(r.Context())
		if err != nil || c.Write(r.Context(), kind, b) != nil {
			return
		}
	}
}

func TestWebSocket(t *testing.T) {
	t.Parallel()
	s := newStage(t, func(c *Config) {
		c.Root = http.HandlerFunc(hello)
	})
	s.serves(s.backend(echoSocket))
	id := runtimes.ID{Service: "web", Instance: "a"}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	c, _, err := websocket.Dial(ctx, "ws://a.web.localhost/", &websocket.DialOptions{HTTPClient: s.client()})
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	c.SetReadLimit(1 << 20)
	for _, size := range []int{0, 5, 125, 70_000, 500_000} {
		want := bytes.Repeat([]byte("w"), size)
		if err := c.Write(ctx, websocket.MessageBinary, want); err != nil {
			t.Fatal(err)
		}
		if _, got, err := c.Read(ctx); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%d bytes: %d, %v", size, len(got), err)
		}
	}
	if open, last := s.Activity(id); open != 1 || last.IsZero() {
		t.Errorf("an open WebSocket counts as %d, last at %s", open, last)
	}
	if err := c.Close(websocket.StatusNormalClosure, "done"); err != nil {
		t.Error(err)
	}
	eventually(t, "nothing is open", func() bool { open, _ := s.Activity(id); return open == 0 })
}

// viaTLS serves the router through net/http as well: TLS with HTTP/2.
func (s *stage) viaTLS() (address string, config *tls.Config) {
	s.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	srv := newTLSServer(s.Router, l)
	s.t.Cleanup(srv.Close)
	return l.Addr().String(), srv.Client().Transport.(*http.Transport).TLSClientConfig
}

func TestHTTP2(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.serves(s.backend(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		w.Header().Set("Trailer", "X-Sum")
		fmt.Fprintf(w, "%s %s %s %s %s", r.Host, r.Header.Get("X-Forwarded-Proto"), r.Header.Get("X-Forwarded-For"), r.Header.Get("Authorization"), b)
		w.Header().Set("X-Sum", "7")
	}))
	address, config := s.viaTLS()
	config.ServerName = "example.com" // what the test's certificate is for
	secure := &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true, DialTLSContext: nil, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", address)
	}}
	clear := &http.Transport{Protocols: &http.Protocols{}, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", s.address)
	}}
	clear.Protocols.SetUnencryptedHTTP2(true) // over the same port as HTTP/1.1
	defer secure.CloseIdleConnections()
	defer clear.CloseIdleConnections()
	for scheme, tr := range map[string]*http.Transport{"https": secure, "http": clear} {
		req, _ := http.NewRequest("POST", scheme+"://a.web.localhost/", strings.NewReader("body"))
		req.Header.Set("Authorization", "Bearer x")
		req.Header.Set("X-Forwarded-For", "9.9.9.9")
		res, err := (&http.Client{Transport: tr}).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if want := "a.web.localhost " + scheme + " 127.0.0.1 Bearer x body"; string(b) != want || res.ProtoMajor != 2 || res.Trailer.Get("X-Sum") != "7" {
			t.Errorf("HTTP/%d %q, trailer %v; want %q", res.ProtoMajor, b, res.Trailer, want)
		}
		for host, want := range map[string]int{"nosuch.localhost": 404, "b.web.localhost": 404} {
			res, err := (&http.Client{Transport: tr}).Get(scheme + "://" + host + "/")
			if err != nil {
				t.Fatal(err)
			}
			b, _ := io.ReadAll(res.Body)
			res.Body.Close()
			if res.StatusCode != want || string(b) != "Not Found\n" {
				t.Errorf("%s: %d %q", host, res.StatusCode, b)
			}
		}
	}
}

func TestGRPC(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server, checks := grpc.NewServer(), health.NewServer()
	healthpb.RegisterHealthServer(server, checks)
	go server.Serve(l)
	t.Cleanup(server.Stop)
	s.serves(s.incarnation("a", 1, "unix:"+socket))
	conn, err := grpc.NewClient("passthrough:///a.web.localhost", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "tcp", s.address)
		}))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(context.Background(), "authorization", "x"), 20*time.Second)
	defer cancel()
	client := healthpb.NewHealthClient(conn)
	if res, err := client.Check(ctx, &healthpb.HealthCheckRequest{}); err != nil || res.Status != healthpb.HealthCheckResponse_SERVING {
		t.Fatalf("unary: %v, %v", res, err)
	}
	if _, err := client.Check(ctx, &healthpb.HealthCheckRequest{Service: "nosuch"}); err == nil || !strings.Contains(err.Error(), "NotFound") {
		t.Errorf("an error comes in trailers only: %v", err)
	}
	watch, err := client.Watch(ctx, &healthpb.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for _, status := range []healthpb.HealthCheckResponse_ServingStatus{healthpb.HealthCheckResponse_SERVING, healthpb.HealthCheckResponse_NOT_SERVING} {
		checks.SetServingStatus("", status)
		if res, err := watch.Recv(); err != nil || res.Status != status {
			t.Fatalf("stream: %v, %v", res, err)
		}
	}
}

// TestRootPages: the daemon's own pages share a connection with the services.
func TestRootPages(t *testing.T) {
	t.Parallel()
	s := newStage(t, func(c *Config) {
		c.Root = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "root %s %s", r.URL, r.RemoteAddr) })
	})
	s.serves(s.backend(hello))
	c := s.dial()
	fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: a.web.localhost\r\n\r\nGET /health HTTP/1.1\r\nHost: localhost\r\n\r\nGET / HTTP/1.1\r\nHost: a.web.localhost\r\nConnection: close\r\n\r\n")
	b, _ := io.ReadAll(c)
	if text := string(b); strings.Count(text, "hello world") != 2 || !strings.Contains(text, "root /health "+c.LocalAddr().String()) {
		t.Errorf("got %q", text)
	}
	for host, want := range map[string]int{"127.0.0.1": 200, "[::1]:80": 200, "nosuch.test": 404, "nosuch.localhost": 404} {
		if code := s.ask(host, "GET"); code != want {
			t.Errorf("%s: %d, want %d", host, code, want)
		}
	}
}

func TestCurl(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("curl is not installed (make deps)")
	}
	s := newStage(t)
	s.serves(s.backend(func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		fmt.Fprintf(w, "%s %d %s", r.Method, n, r.Proto)
	}))
	big := strings.Repeat("x", 3<<20) // curl asks with Expect: 100-continue
	tests := []struct {
		args []string
		want string
	}{
		{nil, "GET 0 HTTP/1.1"},
		{[]string{"--http1.0"}, "GET 0 HTTP/1.1"},
		{[]string{"--data-binary", "@-"}, fmt.Sprintf("POST %d HTTP/1.1", len(big))},
		{[]string{"--data-binary", "@-", "-H", "Transfer-Encoding: chunked"}, fmt.Sprintf("POST %d HTTP/1.1", len(big))},
		{[]string{"--http2-prior-knowledge", "--data-binary", "@-"}, fmt.Sprintf("POST %d HTTP/1.1", len(big))},
	}
	for _, tt := range tests {
		cmd := exec.Command("curl", append([]string{"-sS", "--noproxy", "*", "-m", "20", "--connect-to", "::" + s.address, "http://a.web.localhost/"}, tt.args...)...)
		cmd.Stdin = strings.NewReader(big)
		out, err := cmd.CombinedOutput()
		if err != nil || string(out) != tt.want {
			t.Errorf("curl %v: %q, %v; want %q", tt.args, out, err, tt.want)
		}
	}
}

// TestDrain: what is short ends by itself, what is long is told and cut.
func TestDrain(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	short, arrived := make(chan struct{}), make(chan struct{})
	in := s.backend(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/socket":
			echoSocket(w, r)
		case "/events":
			w.Header().Set("Content-Type", "text/event-stream")
			io.WriteString(w, "data: 1\n\n")
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		case "/short":
			close(arrived)
			<-short
			io.WriteString(w, "whole")
		default:
			io.WriteString(w, "old")
		}
	})
	s.serves(in)
	if _, body := s.get("/"); body != "old" {
		t.Fatal(body)
	}
	next := s.backend(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "new") })
	next.Key.Generation = 2

	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	ws, _, err := websocket.Dial(ctx, "ws://a.web.localhost/socket", &websocket.DialOptions{HTTPClient: s.client()})
	if err != nil {
		t.Fatal(err)
	}
	defer ws.CloseNow()
	events, err := s.client().Get("http://a.web.localhost/events")
	if err != nil {
		t.Fatal(err)
	}
	defer events.Body.Close()
	got := make(chan string, 1)
	go func() { _, body := s.get("/short"); got <- body }()
	<-arrived
	b := s.find(in.Key)
	eventually(t, "three are under way", func() bool { return b.open.Load() == 3 }) // the first one has left

	in.Draining, in.Share = true, 0
	s.serves(in, next)
	for range 20 {
		if _, body := s.get("/"); body != "new" {
			t.Fatalf("%q while it drains", body)
		}
	}
	close(short)
	if body := <-got; body != "whole" {
		t.Errorf("a request under way got %q", body)
	}
	limit, stop := context.WithTimeout(ctx, 300*time.Millisecond)
	defer stop()
	if err := s.Drain(limit, in.Key); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("drain with long ones left: %v", err)
	}
	if n := b.open.Load(); n != 0 {
		t.Errorf("%d are left after the drain", n)
	}
	if text, err := io.ReadAll(events.Body); err != nil || string(text) != "data: 1\n\n" {
		t.Errorf("a stream of events ended with %q, %v; its client should see a proper end", text, err)
	}
	if _, _, err := ws.Read(ctx); websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Errorf("the WebSocket ended with %v; want it told that the server goes away", err)
	}
	if err := s.Drain(ctx, in.Key); err != nil {
		t.Errorf("drain of what is empty: %v", err)
	}
	if answered, failed := s.Outcome(next.Key); answered != 20 || failed != 0 {
		t.Errorf("the new one: %d answered, %d failed", answered, failed)
	}
}
