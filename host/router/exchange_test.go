package router

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tenement/ten/runtimes"
)

// answers says how each framing of an answer reaches clients of both versions.
func TestAnswers(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	var now atomic.Value
	s.serves(s.raw(func(c net.Conn) {
		br := bufio.NewReader(c)
		for {
			r, err := http.ReadRequest(br)
			if err != nil {
				return
			}
			io.Copy(io.Discard, r.Body)
			answer := now.Load().(string)
			io.WriteString(c, answer)
			if !strings.Contains(answer, "Content-Length") && !strings.Contains(answer, "chunked") && !strings.Contains(answer, " 304") && !strings.Contains(answer, " 204") {
				return
			}
		}
	}))
	tests := []struct {
		name, method, version, answer, want string
	}{
		{"length", "GET", "1.1", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-App: y\r\n\r\nhi", "HTTP/1.1 200 OK\r\nX-App: y\r\nContent-Length: 2\r\n|hi"},
		{"chunks", "GET", "1.1", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nhi\r\n0\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n|2\r\nhi\r\n0\r\n\r\n"},
		{"chunks with a trailer", "GET", "1.1", "HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-Sum: 7\r\nContent-Length: 9\r\n\r\n", "HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n|2\r\nhi\r\n0\r\nX-Sum: 7\r\n\r\n"},
		{"until the end", "GET", "1.1", "HTTP/1.1 200 OK\r\n\r\nhi", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n|2\r\nhi\r\n0\r\n\r\n"},
		{"HTTP/1.0 until the end", "GET", "1.0", "HTTP/1.1 200 OK\r\n\r\nhi", "HTTP/1.1 200 OK\r\nConnection: close\r\n|hi"},
		{"chunks to HTTP/1.0", "GET", "1.0", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", "HTTP/1.1 200 OK\r\nConnection: close\r\n|hi"},
		{"HEAD", "HEAD", "1.1", "HTTP/1.1 200 OK\r\nContent-Length: 200\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 200\r\n|"},
		{"204", "GET", "1.1", "HTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.1 204 No Content\r\n|"},
		{"304", "GET", "1.1", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nETag: x\r\n\r\n", "HTTP/1.1 304 Not Modified\r\nETag: x\r\nContent-Length: 5\r\n|"},
		{"no reason", "GET", "1.1", "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 200 \r\nContent-Length: 0\r\n|"},
		{"hop-by-hop", "GET", "1.1", "HTTP/1.1 200 OK\r\nConnection: X-Mine\r\nX-Mine: a\r\nKeep-Alive: timeout=5\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 200 OK\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nContent-Length: 0\r\n|"},
		{"early hints", "GET", "1.1", "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 103 Early Hints\r\nLink: x\r\n|HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"},
		{"early hints to HTTP/1.0", "GET", "1.0", "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n|"},
		{"no HTTP", "GET", "1.1", "SSH-2.0-x Content-Length\r\n\r\n", "HTTP/1.1 502 Bad Gateway"},
		{"two lengths", "GET", "1.1", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nhi", "HTTP/1.1 502 Bad Gateway"},
		{"an upgrade nobody asked for", "GET", "1.1", "HTTP/1.1 101 Switching Protocols\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 502 Bad Gateway"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			now.Store(tt.answer)
			got := s.say(tt.method + " / HTTP/" + tt.version + "\r\nHost: web.localhost\r\nConnection: close\r\n\r\n")
			got = strings.Replace(got, "Connection: close\r\n", "", 1)
			want := strings.Replace(strings.Replace(tt.want, "Connection: close\r\n", "", 1), "|", "\r\n", 1)
			if got != want && (!strings.Contains(want, "502") || !strings.HasPrefix(got, want)) {
				t.Errorf("got  %q\nwant %q", got, want)
			}
		})
	}
}

// TestHeaders: what a backend sees of a request.
func TestHeaders(t *testing.T) {
	t.Parallel()
	for _, trusted := range []bool{false, true} {
		s := newStage(t, func(c *Config) {
			if trusted {
				c.Trusted = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
			}
		})
		heads := make(chan string, 1)
		s.serves(s.raw(func(c net.Conn) {
			b := make([]byte, 8192)
			n, _ := c.Read(b)
			heads <- string(b[:n])
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
		}))
		s.say("GET /a%2Fb?c HTTP/1.1\r\nhost: WEB.localhost:80\r\nAuthorization: Bearer x\r\naccept: */*\r\nConnection: close, X-Secret, authorization2\r\nX-Secret: 1\r\n" +
			"Keep-Alive: 5\r\nTE: trailers\r\nProxy-Connection: x\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\nCookie: a=b\r\nCookie: c=d\r\n" +
			"X-Forwarded-For: 9.9.9.9\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\nForwarded: for=9.9.9.9\r\nX-Request-Id: mine\r\nX_Forwarded_For: 8.8.8.8\r\nX-Real-IP: 7.7.7.7\r\n\r\n")
		head := <-heads
		want := "GET /a%2Fb?c HTTP/1.1\r\nHost: WEB.localhost:80\r\nAuthorization: Bearer x\r\naccept: */*\r\nCookie: a=b\r\nCookie: c=d\r\n"
		if trusted {
			want += "X-Real-IP: 7.7.7.7\r\nX-Forwarded-For: 9.9.9.9, 127.0.0.1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\nForwarded: for=9.9.9.9, for=127.0.0.1;host=\"WEB.localhost:80\";proto=http\r\nX-Request-Id: mine\r\n\r\n"
		} else {
			want += "X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: WEB.localhost:80\r\nForwarded: for=127.0.0.1;host=\"WEB.localhost:80\";proto=http\r\nX-Request-Id: "
		}
		if !strings.HasPrefix(head, want) {
			t.Errorf("trusted %v:\n got %q\nwant %q", trusted, head, want)
		}
		if _, id, _ := strings.Cut(head, "X-Request-Id: "); !trusted && len(strings.TrimSpace(id)) != 32 {
			t.Errorf("request id %q", id)
		}
	}
}

func TestExpectContinue(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.serves(s.backend(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/no" {
			w.WriteHeader(http.StatusExpectationFailed)
			return
		}
		b, _ := io.ReadAll(r.Body)
		w.Write(b)
	}))
	c := s.dial()
	br := bufio.NewReader(c)
	io.WriteString(c, "POST / HTTP/1.1\r\nHost: web.localhost\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
	line, err := br.ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "HTTP/1.1 100 ") {
		t.Fatalf("got %q, %v before the body was sent", line, err)
	}
	br.ReadString('\n')
	io.WriteString(c, "hello")
	res, err := http.ReadResponse(br, nil)
	if err != nil {
		t.Fatal(err)
	}
	if b, _ := io.ReadAll(res.Body); string(b) != "hello" {
		t.Errorf("got %q", b)
	}
	if got := s.say("POST /no HTTP/1.1\r\nHost: web.localhost\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 417 ") {
		t.Errorf("got %q", got)
	}
}

// TestStreamsBothWays: neither direction waits for the other, and nothing for a
// buffer to fill.
func TestStreamsBothWays(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.serves(s.backend(func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		rc.EnableFullDuplex()
		w.Header().Set("Trailer", "X-Lines")
		rc.Flush()
		lines := 0
		for sc := bufio.NewScanner(r.Body); sc.Scan(); lines++ {
			fmt.Fprintf(w, "echo %s\n", sc.Text())
			rc.Flush()
		}
		w.Header().Set("X-Lines", fmt.Sprint(lines))
	}))
	pr, pw := io.Pipe()
	req, _ := http.NewRequest("POST", "http://web.localhost/", pr)
	res, err := s.client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	br := bufio.NewReader(res.Body)
	for i := range 20 {
		fmt.Fprintf(pw, "%d\n", i)
		if line, err := br.ReadString('\n'); line != fmt.Sprintf("echo %d\n", i) {
			t.Fatalf("got %q, %v", line, err)
		}
	}
	pw.Close()
	if rest, err := io.ReadAll(br); len(rest) != 0 || err != nil || res.Trailer.Get("X-Lines") != "20" {
		t.Errorf("rest %q, %v, trailer %v", rest, err, res.Trailer)
	}
}

func TestLargeAnswerIsWhole(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	body := bytes.Repeat([]byte("0123456789abcdef"), 1<<18) // 4 MB: spliced
	s.serves(s.backend(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/length" {
			w.Header().Set("Content-Length", fmt.Sprint(len(body)))
		}
		w.Write(body)
	}))
	for _, path := range []string{"/length", "/chunks"} {
		for range 3 {
			if code, got := s.get(path); code != 200 || got != string(body) {
				t.Errorf("%s: %d, %d bytes", path, code, len(got))
			}
		}
	}
}

// TestCutAnswerLooksCut: an answer that the backend never finished must not look
// whole to the client.
func TestCutAnswerLooksCut(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	var now atomic.Value
	s.serves(s.raw(func(c net.Conn) {
		http.ReadRequest(bufio.NewReader(c))
		io.WriteString(c, now.Load().(string))
	}))
	for _, answer := range []string{"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"} {
		now.Store(answer)
		res, err := s.client().Get("http://web.localhost/")
		if err != nil {
			continue
		}
		if b, err := io.ReadAll(res.Body); err == nil {
			t.Errorf("%q reached the client as a whole answer %q", answer, b)
		}
		res.Body.Close()
	}
	if answered, failed := s.Outcome(runtimes.Key{ID: runtimes.ID{Service: "web", Instance: "a"}, Generation: 1}); answered != 3 || failed != 0 {
		t.Errorf("%d answered, %d failed", answered, failed)
	}
}

// TestRetry: what is safe is sent again, what is not never is.
func TestRetry(t *testing.T) {
	t.Parallel()
	var seen atomic.Int32
	s := newStage(t)
	s.serves(s.raw(func(c net.Conn) { // breaks its connection at the first request, answers the second
		r, err := http.ReadRequest(bufio.NewReader(c))
		if err != nil {
			return
		}
		if n := seen.Add(1); n == 1 {
			return
		}
		io.Copy(io.Discard, r.Body)
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
	}))
	if code, body := s.get("/"); code != 200 || body != "ok" {
		t.Errorf("GET: %d %q", code, body)
	}
	seen.Store(0)
	res, err := s.client().Post("http://web.localhost/", "text/plain", strings.NewReader("pay"))
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != 502 || seen.Load() != 1 {
		t.Errorf("POST: %d after %d attempts; want 502 after one", res.StatusCode, seen.Load())
	}
}

// TestStaleConnections: a backend that closes kept connections costs no request.
func TestStaleConnections(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	var conns []net.Conn
	var mu sync.Mutex
	s.serves(s.raw(func(c net.Conn) {
		mu.Lock()
		conns = append(conns, c)
		mu.Unlock()
		for br := bufio.NewReader(c); ; {
			r, err := http.ReadRequest(br)
			if err != nil {
				return
			}
			io.Copy(io.Discard, r.Body)
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		}
	}))
	for range 20 {
		for _, method := range []string{"GET", "POST"} {
			req, _ := http.NewRequest(method, "http://web.localhost/", strings.NewReader(strings.Repeat("x", len(method)-3)))
			res, err := s.client().Do(req)
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			if res.StatusCode != 200 {
				t.Fatalf("%s: %d", method, res.StatusCode)
			}
			mu.Lock()
			for _, c := range conns {
				c.Close()
			}
			conns = nil
			mu.Unlock()
		}
	}
}

func TestRequestTimeout(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.web.RequestTimeout = 300 * time.Millisecond
	block := make(chan struct{})
	defer close(block)
	s.serves(s.backend(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/slow":
			select {
			case <-block:
			case <-r.Context().Done():
			}
		case "/stream": // headers in time: the body may take as long as it likes
			w.(http.Flusher).Flush()
			time.Sleep(800 * time.Millisecond)
			io.WriteString(w, "late")
		}
	}))
	if code, body := s.get("/slow"); code != 504 || body != "Gateway Timeout\n" {
		t.Errorf("%d %q", code, body)
	}
	if code, body := s.get("/stream"); code != 200 || body != "late" {
		t.Errorf("%d %q", code, body)
	}
}

// TestClientLeaves: a request whose client left is ended at the backend too.
func TestClientLeaves(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	ended := make(chan struct{}, 2)
	s.serves(s.backend(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/stream" {
			w.(http.Flusher).Flush()
		}
		<-r.Context().Done()
		ended <- struct{}{}
	}))
	for _, path := range []string{"/wait", "/stream"} {
		ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
		req, _ := http.NewRequestWithContext(ctx, "GET", "http://web.localhost"+path, nil)
		if res, err := s.client().Do(req); err == nil {
			_, err = io.ReadAll(res.Body)
			res.Body.Close()
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: %v", path, err)
			}
		}
		cancel()
		select {
		case <-ended:
		case <-time.After(5 * time.Second):
			t.Errorf("%s went on after its client left", path)
		}
	}
	eventually(t, "nothing is open", func() bool {
		open, last := s.Activity(runtimes.ID{Service: "web", Instance: "a"})
		return open == 0 && !last.IsZero()
	})
}

// TestInterruptsReachNoOtherRequest: a client that leaves right after its answer
// must not spoil the backend's connection, which by then is another's.
func TestInterruptsReachNoOtherRequest(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	in := s.backend(hello)
	s.serves(in)
	b := s.find(in.Key)
	one, err := dialer{}.Dial(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	client, server := net.Pipe()
	defer client.Close()
	session := &session{r: s.Router, conn: server}
	u := &upstream{Conn: one, backend: b}
	session.use(u)
	if !session.unuse() {
		t.Fatal("nothing has reached it")
	}
	session.interrupt() // from here on it is somebody else's
	if _, err := io.WriteString(u, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Errorf("the other's request: %v", err)
	}
	session.use(u)
	session.interrupt()
	if session.unuse() {
		t.Error("one whose deadline has passed would be kept")
	}
	u.Close()
}
