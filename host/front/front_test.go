package front_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/tenement/ten/host/front"
)

// loopback listens on a free port of the loopback, whatever it is asked for.
func loopback(ctx context.Context, _, _ string) (net.Listener, error) {
	return new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
}

// says answers with what reached it.
func says() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %s tls=%t from=%s body=%s", r.Proto, r.Method, r.Host, r.TLS != nil, r.RemoteAddr, body)
	})
}

// run runs a door with settings and gives its addresses by name.
func run(t *testing.T, cfg front.Config, s front.Settings) (*front.Door, map[string]string) {
	t.Helper()
	if cfg.Listen == nil {
		cfg.Listen = loopback
	}
	if cfg.Handler == nil {
		cfg.Handler = says()
	}
	cfg.Log = slog.New(slog.DiscardHandler)
	d := front.New(cfg)
	ctx, cancel := context.WithCancel(t.Context())
	if err := d.Open(ctx, s); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(20 * time.Second):
			t.Error("the door did not close")
		}
	})
	addresses := map[string]string{}
	for _, l := range d.Listeners() {
		addresses[l.Name] = l.Address
	}
	return d, addresses
}

// certificate is a server's TLS with a client that trusts it.
func certificate(t *testing.T) (server, client *tls.Config) {
	t.Helper()
	s := httptest.NewUnstartedServer(nil)
	s.StartTLS()
	defer s.Close()
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	return &tls.Config{Certificates: s.TLS.Certificates, NextProtos: []string{"h2", "http/1.1"}}, &tls.Config{RootCAs: pool, ServerName: "example.com"}
}

func client(trust *tls.Config, http2 bool) *http.Client {
	p := new(http.Protocols)
	p.SetHTTP1(!http2)
	p.SetHTTP2(http2)
	p.SetUnencryptedHTTP2(http2)
	return &http.Client{
		Timeout:       10 * time.Second,
		Transport:     &http.Transport{Protocols: p, TLSClientConfig: trust.Clone(), DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func body(t *testing.T, resp *http.Response, err error) string {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestProtocols: whatever a client speaks is answered, and methods that begin
// like HTTP/2 are none of it.
func TestProtocols(t *testing.T) {
	t.Parallel()
	server, trust := certificate(t)
	_, plain := run(t, front.Config{}, front.Settings{HTTP: "x"})
	_, secure := run(t, front.Config{Secure: server}, front.Settings{HTTPS: "x"})
	for _, c := range []struct {
		name, method, url string
		http2             bool
		want              string
	}{
		{"http1", "POST", "http://" + plain["http"], false, "HTTP/1.1 POST"},
		{"put", "PUT", "http://" + plain["http"], false, "HTTP/1.1 PUT"},
		{"propfind", "PROPFIND", "http://" + plain["http"], false, "HTTP/1.1 PROPFIND"},
		{"get", "GET", "http://" + plain["http"], false, "HTTP/1.1 GET"},
		{"h2c", "POST", "http://" + plain["http"], true, "HTTP/2.0 POST"},
		{"tls http1", "POST", "https://" + secure["https"], false, "HTTP/1.1 POST"},
		{"tls h2", "POST", "https://" + secure["https"], true, "HTTP/2.0 POST"},
	} {
		t.Run(c.name, func(t *testing.T) {
			req, err := http.NewRequest(c.method, c.url+"/x", strings.NewReader("hello"))
			if err != nil {
				t.Fatal(err)
			}
			resp, err := client(trust, c.http2).Do(req)
			got := body(t, resp, err)
			if !strings.HasPrefix(got, c.want+" ") || !strings.HasSuffix(got, "body=hello") || strings.Contains(got, "tls=true") != strings.HasPrefix(c.name, "tls") {
				t.Errorf("got %q", got)
			}
		})
	}
}

// TestServeConn gets the very connection that was accepted, and over TLS no HTTP/2.
func TestServeConn(t *testing.T) {
	t.Parallel()
	kinds := make(chan string, 2)
	server, trust := certificate(t)
	cfg := front.Config{Secure: server, ServeConn: func(_ context.Context, c net.Conn) {
		defer c.Close()
		kinds <- fmt.Sprintf("%T", c)
		req, err := http.ReadRequest(bufio.NewReader(c))
		if err == nil {
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(req.Host), req.Host)
		}
	}}
	_, plain := run(t, cfg, front.Settings{HTTP: "x"})
	_, secure := run(t, cfg, front.Settings{HTTPS: "x"})
	for url, kind := range map[string]string{"http://" + plain["http"]: "*net.TCPConn", "https://" + secure["https"]: "*tls.Conn"} {
		resp, err := client(trust, false).Get(url)
		if got := body(t, resp, err); !strings.HasPrefix(got, "127.0.0.1:") {
			t.Errorf("got %q", got)
		}
		if got := <-kinds; got != kind {
			t.Errorf("ServeConn was given a %s, want the connection itself, a %s", got, kind)
		}
		if kind != "*tls.Conn" {
			continue
		}
		resp, err = client(trust, true).Get(url)
		if got := body(t, resp, err); !strings.HasPrefix(got, "HTTP/2.0 GET") {
			t.Errorf("HTTP/2 got %q", got)
		}
	}
}

// TestPlainLeadsToHTTPS: 308 keeps method and body; the authority's questions
// are answered where they are asked.
func TestPlainLeadsToHTTPS(t *testing.T) {
	t.Parallel()
	server, _ := certificate(t)
	challenges := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasPrefix(r.URL.Path, "/.well-known/acme-challenge/") {
				io.WriteString(w, "key")
				return
			}
			next.ServeHTTP(w, r)
		})
	}
	_, at := run(t, front.Config{Secure: server, Challenges: challenges}, front.Settings{HTTP: "x", HTTPS: "x"})
	_, port, _ := net.SplitHostPort(at["https"])
	for host, want := range map[string]string{
		"web.example.com":      "https://web.example.com:" + port + "/a?b=c",
		"web.example.com:8080": "https://web.example.com:" + port + "/a?b=c",
		"[::1]:80":             "https://[::1]:" + port + "/a?b=c",
		"[::1]":                "https://[::1]:" + port + "/a?b=c",
	} {
		req, _ := http.NewRequest("POST", "http://"+at["http"]+"/a?b=c", strings.NewReader("x"))
		req.Host = host
		resp, err := client(nil, false).Do(req)
		body(t, resp, err)
		if resp.StatusCode != http.StatusPermanentRedirect || resp.Header.Get("Location") != want {
			t.Errorf("%s: %s to %q, want %q", host, resp.Status, resp.Header.Get("Location"), want)
		}
	}
	resp, err := client(nil, false).Get("http://" + at["http"] + "/.well-known/acme-challenge/token")
	if got := body(t, resp, err); got != "key" {
		t.Errorf("challenge: %q", got)
	}
}

// TestProxyProtocol: who the client is stands in the header of a trusted proxy,
// which must send one, and in nobody else's.
func TestProxyProtocol(t *testing.T) {
	t.Parallel()
	v2 := "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xcb\x00\x71\x07\x7f\x00\x00\x01\x1f\x90\x00\x50"
	request := "GET / HTTP/1.0\r\nHost: a.example\r\n\r\n"
	for _, c := range []struct {
		name, trusted string
		on            bool
		send, want    string
	}{
		{"v1", "127.0.0.0/8", true, "PROXY TCP4 203.0.113.7 127.0.0.1 8080 80\r\n" + request, "from=203.0.113.7:8080"},
		{"v2", "127.0.0.0/8", true, v2 + request, "from=203.0.113.7:8080"},
		{"trusted without a header", "127.0.0.0/8", true, request, ""},
		{"half a header", "127.0.0.0/8", true, "PROXY TCP4 203.0.113.7\r\n" + request, ""},
		{"stranger", "10.0.0.0/8", true, request, "from=127.0.0.1:"},
		{"stranger with a header", "10.0.0.0/8", true, "PROXY TCP4 203.0.113.7 127.0.0.1 8080 80\r\n" + request, "400 Bad Request"},
		{"switched off", "127.0.0.0/8", false, "PROXY TCP4 203.0.113.7 127.0.0.1 8080 80\r\n" + request, "400 Bad Request"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, at := run(t, front.Config{}, front.Settings{HTTP: "x", ProxyProtocol: c.on, Trusted: []netip.Prefix{netip.MustParsePrefix(c.trusted)}})
			conn, err := net.Dial("tcp", at["http"])
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			io.WriteString(conn, c.send)
			conn.SetReadDeadline(time.Now().Add(10 * time.Second))
			got, _ := io.ReadAll(conn)
			if c.want == "" && len(got) > 0 || !strings.Contains(string(got), c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// TestListenersFollowSettings: a port that changes is opened before anything
// else notices, and one that is taken is tried again until it is free.
func TestListenersFollowSettings(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listen := func(ctx context.Context, _, address string) (net.Listener, error) {
		return new(net.ListenConfig).Listen(ctx, "tcp", address)
	}
	d, at := run(t, front.Config{Listen: listen}, front.Settings{HTTP: "127.0.0.1:0"})
	if got := body2(client(nil, false).Get("http://" + at["http"])); !strings.Contains(got, "GET") {
		t.Fatal(got)
	}
	address := taken.Addr().String()
	d.Set(front.Settings{HTTP: address})
	eventually(t, "the taken port is named", func() bool {
		l := d.Listeners()
		return len(l) == 1 && l[0].Address == address && strings.Contains(l[0].Error, "address already in use")
	})
	taken.Close()
	eventually(t, "the freed port is served", func() bool {
		return strings.Contains(body2(client(nil, false).Get("http://"+address)), "GET")
	})
	d.Set(front.Settings{})
	eventually(t, "nothing is open", func() bool { return len(d.Listeners()) == 0 })
	if c, err := net.Dial("tcp", address); err == nil {
		c.Close()
		t.Error("the port is still open")
	}
}

// TestOpenSaysWhy: whoever asks for a port that is taken is told so, with a way out.
func TestOpenSaysWhy(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	d := front.New(front.Config{Log: slog.New(slog.DiscardHandler), Handler: says(), Listen: func(ctx context.Context, _, a string) (net.Listener, error) {
		return new(net.ListenConfig).Listen(ctx, "tcp", a)
	}})
	err = d.Open(t.Context(), front.Settings{HTTP: taken.Addr().String()})
	var le *front.ListenError
	if !errors.As(err, &le) || !strings.Contains(le.Hint(), "--port") || strings.Count(err.Error(), taken.Addr().String()) != 1 {
		t.Errorf("got %v, hint %q", err, le.Hint())
	}
}

// TestEndLetsRequestsFinish: at the end a request under way is answered, and one
// that never ends is cut when the grace is over; no goroutine is left.
func TestEndLetsRequestsFinish(t *testing.T) {
	t.Parallel()
	for name, grace := range map[string]time.Duration{"finishes": 10 * time.Second, "is cut": 50 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			arrived, release := make(chan struct{}), make(chan struct{})
			d := front.New(front.Config{Listen: loopback, Grace: grace, Log: slog.New(slog.DiscardHandler), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				close(arrived)
				select {
				case <-release:
					io.WriteString(w, "late")
				case <-r.Context().Done():
				}
			})})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if err := d.Open(ctx, front.Settings{HTTP: "x"}); err != nil {
				t.Fatal(err)
			}
			done, got := make(chan error, 1), make(chan string, 1)
			go func() { done <- d.Run(ctx) }()
			at := d.Listeners()[0].Address
			go func() { got <- body2(client(nil, false).Get("http://" + at)) }()
			<-arrived
			cancel()
			eventually(t, "no connection is taken any more", func() bool {
				c, err := net.Dial("tcp", at)
				if err == nil {
					c.Close()
				}
				return err != nil
			})
			if name == "finishes" {
				close(release)
			}
			text := <-got
			if err := <-done; err != nil || (text == "late") != (name == "finishes") {
				t.Errorf("the client got %q, Run %v", text, err)
			}
		})
	}
}

// TestSilentClientsStallNobody: a thousand connections that say nothing are held
// without a request of others noticing.
func TestSilentClientsStallNobody(t *testing.T) {
	t.Parallel()
	_, at := run(t, front.Config{Grace: 50 * time.Millisecond}, front.Settings{HTTP: "x"})
	for range 300 {
		c, err := net.Dial("tcp", at["http"])
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	if got := body2(client(nil, false).Get("http://" + at["http"])); !strings.Contains(got, "GET") {
		t.Error(got)
	}
}

func body2(resp *http.Response, err error) string {
	if err != nil {
		return "error: " + err.Error()
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	return string(b)
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(15 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}
