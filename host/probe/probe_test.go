package probe

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func portOf(t testing.TB, l net.Listener) int {
	t.Helper()
	return l.Addr().(*net.TCPAddr).Port
}

// talk listens on loopback and hands each connection to reply, after the
// request was read as far as its first empty line.
func talk(t testing.TB, reply func(net.Conn)) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				r := bufio.NewReader(c)
				for {
					line, err := r.ReadString('\n')
					if err != nil || strings.TrimSpace(line) == "" {
						break
					}
				}
				reply(c)
			}()
		}
	}()
	return portOf(t, l)
}

func TestVerdictOfHTTPIsItsStatus(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name    string
		reply   string
		healthy bool
		text    string
	}{
		{"200", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", true, "GET /up = 200"},
		{"204", "HTTP/1.1 204 No Content\r\n\r\n", true, "GET /up = 204"},
		{"redirect is not followed", "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", true, "GET /up = 302"},
		{"500 that talks of 200", "HTTP/1.1 500 Oops\r\nX-Code: 200\r\nContent-Length: 6\r\n\r\n200 OK", false, "GET /up = 500"},
		{"404", "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", false, "GET /up = 404"},
		{"HTTP/1.0", "HTTP/1.0 200 OK\r\n\r\nhello", true, "GET /up = 200"},
		{"early hints first", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 503 Later\r\nContent-Length: 0\r\n\r\n", false, "GET /up = 503"},
		{"upgrade", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", false, "GET /up = 101"},
		{"body never ends", "HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\nx", true, "GET /up = 200"},
		{"garbage", "200 200 200\r\n\r\n", false, "GET /up: malformed"},
		{"closed without a word", "", false, "GET /up: connection closed without an answer"},
		{"closed within the header", "HTTP/1.1 200 OK\r\nX: ", false, "GET /up: connection closed without an answer"},
		{"header without end", "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("200 ", 50_000), false, "GET /up: "},
		{"interim answers without end", strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 10_000), false, "GET /up: "},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			port := talk(t, func(conn net.Conn) { io.WriteString(conn, c.reply) })
			r := Prober{}.Probe(t.Context(), Target{Port: port, Path: "/up"})
			if r.Healthy != c.healthy || !strings.HasPrefix(r.Text, c.text) {
				t.Errorf("got %+v, want %v %q", r, c.healthy, c.text)
			}
			if want := fmt.Sprintf("127.0.0.1:%d", port); r.Address != want {
				t.Errorf("address %q, want %q", r.Address, want)
			}
		})
	}
}

func TestSlowAnswerIsUnhealthyInTime(t *testing.T) {
	t.Parallel()
	port := talk(t, func(conn net.Conn) {
		for range 100 { // a header that drips for 5 s
			if _, err := io.WriteString(conn, "H"); err != nil {
				return
			}
			time.Sleep(50 * time.Millisecond)
		}
	})
	begun := time.Now()
	r := Prober{Timeout: 200 * time.Millisecond}.Probe(t.Context(), Target{Port: port, Path: "/"})
	if r.Healthy || r.Text != "GET /: no answer within 200ms" {
		t.Errorf("got %+v", r)
	}
	if took := time.Since(begun); took > 3*time.Second {
		t.Errorf("took %s", took)
	}
}

func TestProbeEndsWithItsContext(t *testing.T) {
	t.Parallel()
	port := talk(t, func(conn net.Conn) { time.Sleep(3 * time.Second) })
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	begun := time.Now()
	if r := (Prober{}).Probe(ctx, Target{Port: port, Path: "/"}); r.Healthy || r.Text != "GET /: given up" {
		t.Errorf("got %+v", r)
	}
	if took := time.Since(begun); took > 2*time.Second {
		t.Errorf("took %s", took)
	}
}

func TestRequestIsPlain(t *testing.T) {
	t.Parallel()
	seen := make(chan *http.Request, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { seen <- r }))
	t.Cleanup(srv.Close)
	port := portOf(t, srv.Listener)
	if r := (Prober{}).Probe(t.Context(), Target{Port: port, Path: "/up?deep=1"}); !r.Healthy {
		t.Fatalf("got %+v", r)
	}
	r := <-seen
	if r.UserAgent() != "ten-probe" || r.Host != fmt.Sprintf("localhost:%d", port) || r.RequestURI != "/up?deep=1" || !r.Close {
		t.Errorf("asked %s of %s as %s, close %v", r.RequestURI, r.Host, r.UserAgent(), r.Close)
	}
}

func TestWhereItListens(t *testing.T) {
	t.Parallel()
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(204) })}
	go srv.Serve(l)
	t.Cleanup(func() { srv.Close() })
	port := talk(t, func(net.Conn) {})
	shut, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := portOf(t, shut)
	shut.Close()

	cases := []struct {
		name   string
		target Target
		want   Result
	}{
		{"socket", Target{Socket: socket, Path: "/up"}, Result{true, "unix:" + socket, "GET /up = 204"}},
		{"socket before port", Target{Socket: socket, Port: port}, Result{true, "unix:" + socket, "unix:" + socket + " accepts connections"}},
		{"port where there is no socket", Target{Socket: socket + "x", Port: port},
			Result{true, fmt.Sprintf("127.0.0.1:%d", port), fmt.Sprintf("127.0.0.1:%d accepts connections", port)}},
		{"nowhere", Target{Socket: socket + "x", Port: nobody},
			Result{Text: fmt.Sprintf("connect unix:%sx: no such file or directory; connect 127.0.0.1:%d: connection refused", socket, nobody)}},
		{"nothing asked", Target{Path: "/"}, Result{Text: "no port and no socket to ask"}},
	}
	for _, c := range cases {
		if got := (Prober{}).Probe(t.Context(), c.target); got != c.want {
			t.Errorf("%s: got %+v, want %+v", c.name, got, c.want)
		}
	}

	six, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Skipf("no IPv6 loopback here: %v", err)
	}
	t.Cleanup(func() { six.Close() })
	want := fmt.Sprintf("[::1]:%d", portOf(t, six))
	if got := (Prober{}).Probe(t.Context(), Target{Port: portOf(t, six)}); !got.Healthy || got.Address != want {
		t.Errorf("only ::1: got %+v", got)
	}
}

func TestDialIsTheTargets(t *testing.T) {
	t.Parallel()
	port := talk(t, func(c net.Conn) { io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n") })
	var asked []string
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		asked = append(asked, network+" "+address)
		return (&net.Dialer{}).DialContext(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", port))
	}
	r := Prober{}.Probe(t.Context(), Target{Port: 80, Path: "/", Dial: dial})
	if !r.Healthy || r.Address != "127.0.0.1:80" || len(asked) != 1 || asked[0] != "tcp 127.0.0.1:80" {
		t.Errorf("got %+v after %q", r, asked)
	}
}

func TestWaitReady(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	socket := filepath.Join(dir, "s")
	listening := make(chan time.Time, 1)
	time.AfterFunc(100*time.Millisecond, func() {
		l, err := net.Listen("unix", socket)
		if err != nil {
			t.Error(err)
			close(listening)
			return
		}
		t.Cleanup(func() { l.Close() })
		listening <- time.Now()
	})
	r, err := Prober{}.WaitReady(t.Context(), Target{Socket: socket}, 0)
	if err != nil || !r.Healthy || r.Address != "unix:"+socket {
		t.Fatalf("got %+v, %v", r, err)
	}
	if late := time.Since(<-listening); late > 500*time.Millisecond {
		t.Errorf("noticed %s late", late)
	}

	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	port := talk(t, func(c net.Conn) { io.WriteString(c, "HTTP/1.1 503 Wait\r\nContent-Length: 0\r\n\r\n") })
	r, err = Prober{}.WaitReady(ctx, Target{Port: port, Path: "/up"}, time.Millisecond)
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "GET /up = 503") || r.Text != "GET /up = 503" {
		t.Errorf("got %+v, %v", r, err)
	}
}

func BenchmarkProbeHTTP(b *testing.B) {
	port := talk(b, func(c net.Conn) { io.WriteString(c, "HTTP/1.1 204 No Content\r\n\r\n") })
	b.ReportAllocs()
	for b.Loop() {
		if r := (Prober{}).Probe(b.Context(), Target{Port: port, Path: "/up"}); !r.Healthy {
			b.Fatal(r.Text)
		}
	}
}

func BenchmarkProbeNobody(b *testing.B) {
	target := Target{Socket: filepath.Join(b.TempDir(), "none")}
	for b.Loop() {
		if r := (Prober{}).Probe(b.Context(), target); r.Healthy {
			b.Fatal(r.Text)
		}
	}
}
