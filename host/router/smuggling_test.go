package router

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
)

// TestHostileRequests is the corpus of request smuggling and its relatives. Each
// is refused before any backend sees a byte, and the connection ends, so that
// what follows is never taken for a request.
func TestHostileRequests(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	var smuggled atomic.Bool
	s.serves(s.backend(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/smuggled" {
			smuggled.Store(true)
		}
	}))
	const tail = "GET /smuggled HTTP/1.1\r\nHost: web.localhost\r\n\r\n"
	post := func(fields, body string) string {
		return "POST /x HTTP/1.1\r\nHost: web.localhost\r\n" + fields + "\r\n" + body
	}
	tests := []struct{ name, give, want string }{
		{"length and chunks", post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), "400"},
		{"chunks and length", post("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n"), "400"},
		{"two lengths", post("Content-Length: 5\r\nContent-Length: 6\r\n", "hello"), "400"},
		{"the same length twice", post("Content-Length: 5\r\nContent-Length: 5\r\n", "hello"), "400"},
		{"a list of lengths", post("Content-Length: 5, 5\r\n", "hello"), "400"},
		{"a negative length", post("Content-Length: -1\r\n", ""), "400"},
		{"a signed length", post("Content-Length: +5\r\n", "hello"), "400"},
		{"a hex length", post("Content-Length: 0x5\r\n", "hello"), "400"},
		{"an empty length", post("Content-Length:\r\n", ""), "400"},
		{"a length beyond all", post("Content-Length: 99999999999999999999\r\n", ""), "400"},
		{"another coding", post("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n"), "501"},
		{"a coding in disguise", post("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n"), "501"},
		{"two codings", post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), "400"},
		{"chunks in HTTP/1.0", "POST /x HTTP/1.0\r\nHost: web.localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400"},
		{"space before the colon", post("Content-Length : 5\r\n", "hello"), "400"},
		{"space before the coding's colon", post("Transfer-Encoding : chunked\r\n", "0\r\n\r\n"), "400"},
		{"a folded line", post("X: a\r\n b\r\n", ""), "400"},
		{"a folded first line", "GET / HTTP/1.1\r\n X: a\r\nHost: web.localhost\r\n\r\n", "400"},
		{"a bare LF", "GET /x HTTP/1.1\nHost: web.localhost\n\n", "400"},
		{"a bare LF between fields", "GET /x HTTP/1.1\r\nX: a\nHost: web.localhost\r\n\r\n", "400"},
		{"a bare CR in a value", post("X: a\rb\r\n", ""), "400"},
		{"a bare CR before a field", post("X: a\r\r\n", ""), "400"},
		{"NUL in a value", post("X: a\x00b\r\n", ""), "400"},
		{"NUL in a name", post("X\x00: a\r\n", ""), "400"},
		{"a name that is no token", post("X(y): a\r\n", ""), "400"},
		{"no name", post(": a\r\n", ""), "400"},
		{"no colon", post("Xa\r\n", ""), "400"},
		{"two hosts", "GET /x HTTP/1.1\r\nHost: web.localhost\r\nHost: web.localhost\r\n\r\n", "400"},
		{"no host", "GET /x HTTP/1.1\r\n\r\n", "400"},
		{"a host that is none", "GET /x HTTP/1.1\r\nHost: web localhost\r\n\r\n", "400"},
		{"a host with a path", "GET /x HTTP/1.1\r\nHost: web.localhost/x\r\n\r\n", "400"},
		{"an absolute target for another host", "GET http://web.localhost/x HTTP/1.1\r\nHost: other.localhost\r\n\r\n", "400"},
		{"an absolute target of another scheme", "GET ftp://web.localhost/x HTTP/1.1\r\nHost: web.localhost\r\n\r\n", "400"},
		{"CONNECT", "CONNECT web.localhost:80 HTTP/1.1\r\nHost: web.localhost:80\r\n\r\n", "405"},
		{"no target", "GET HTTP/1.1\r\nHost: web.localhost\r\n\r\n", "400"},
		{"a space in the target", "GET /a b HTTP/1.1\r\nHost: web.localhost\r\n\r\n", "400"},
		{"a control byte in the target", "GET /a\x01b HTTP/1.1\r\nHost: web.localhost\r\n\r\n", "400"},
		{"a tab for a space", "GET\t/x HTTP/1.1\r\nHost: web.localhost\r\n\r\n", "400"},
		{"a method that is no token", "G(T /x HTTP/1.1\r\nHost: web.localhost\r\n\r\n", "400"},
		{"HTTP/1.2", "GET /x HTTP/1.2\r\nHost: web.localhost\r\n\r\n", "505"},
		{"HTTP/2.0 by name", "GET /x HTTP/2.0\r\nHost: web.localhost\r\n\r\n", "505"},
		{"a version in lower case", "GET /x http/1.1\r\nHost: web.localhost\r\n\r\n", "400"},
		{"HTTP/0.9", "GET /x\r\n\r\n", "400"},
		{"TLS to a port without", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "400"},
		{"too many fields", post(strings.Repeat("X: a\r\n", 200), ""), "431"},
		{"too large a field", post("X: "+strings.Repeat("a", 70_000)+"\r\n", ""), "431"},
		{"too long a target", "GET /" + strings.Repeat("a", 70_000) + " HTTP/1.1\r\nHost: web.localhost\r\n\r\n", "431"},
		{"a chunk size that is none", post("Transfer-Encoding: chunked\r\n", "zz\r\nhello\r\n0\r\n\r\n"), "400"},
		{"a signed chunk size", post("Transfer-Encoding: chunked\r\n", "+5\r\nhello\r\n0\r\n\r\n"), "400"},
		{"a chunk size with 0x", post("Transfer-Encoding: chunked\r\n", "0x5\r\nhello\r\n0\r\n\r\n"), "400"},
		{"a space behind a chunk size", post("Transfer-Encoding: chunked\r\n", "5 \r\nhello\r\n0\r\n\r\n"), "400"},
		{"a chunk size beyond 64 bits", post("Transfer-Encoding: chunked\r\n", "fffffffffffffffff\r\nhello\r\n0\r\n\r\n"), "400"},
		{"a chunk longer than it says", post("Transfer-Encoding: chunked\r\n", "3\r\nhello\r\n0\r\n\r\n"), "400"},
		{"a chunk line with a bare LF", post("Transfer-Encoding: chunked\r\n", "5\nhello\r\n0\r\n\r\n"), "400"},
		{"a chunk's end with a bare LF", post("Transfer-Encoding: chunked\r\n", "5\r\nhello\n0\r\n\r\n"), "400"},
		{"an extension with a bare LF", post("Transfer-Encoding: chunked\r\n", "5;a\nb\r\nhello\r\n0\r\n\r\n"), "400"},
		{"endless extensions", post("Transfer-Encoding: chunked\r\n", "5;"+strings.Repeat("a", 5000)+"\r\nhello\r\n0\r\n\r\n"), "400"},
		{"a trailer that is no field", post("Transfer-Encoding: chunked\r\n", "0\r\nX y: a\r\n\r\n"), "400"},
		{"a trailer with a bare LF", post("Transfer-Encoding: chunked\r\n", "0\r\nX: a\n\r\n"), "400"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			answer := s.say(tt.give + tail)
			if !strings.HasPrefix(answer, "HTTP/1.1 "+tt.want+" ") || strings.Count(answer, "HTTP/1.1 ") != 1 {
				t.Errorf("got %q, want one %s", answer, tt.want)
			}
			if smuggled.Load() {
				t.Fatal("what followed was taken for a request")
			}
		})
	}
}

// TestSmugglingWorksWithoutTheWall shows the attack that the corpus refuses: a
// lax front that goes by the length and hands both on leaves a second request in
// the connection.
func TestSmugglingWorksWithoutTheWall(t *testing.T) {
	t.Parallel()
	const request = "POST /x HTTP/1.1\r\nHost: web.localhost\r\nContent-Length: 45\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
	br := bufio.NewReader(strings.NewReader(request))
	var paths []string
	for { // what a backend that goes by the chunks reads out of the same bytes
		r, err := http.ReadRequest(br)
		if err != nil {
			break
		}
		io.Copy(io.Discard, r.Body)
		paths = append(paths, r.URL.Path)
	}
	if fmt.Sprint(paths) != "[/x /smuggled]" {
		t.Fatalf("read %v: the attack is none any more", paths)
	}
	s := newStage(t)
	s.serves(s.backend(hello))
	if got := s.say(request); !strings.HasPrefix(got, "HTTP/1.1 400 ") {
		t.Errorf("got %q", got)
	}
}

// FuzzRequest: whatever is accepted reads the same to net/http, which is what
// most programs behind it are made of.
func FuzzRequest(f *testing.F) {
	f.Add("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	f.Add("POST /x?y HTTP/1.1\r\nHost: a:80\r\nTransfer-Encoding: chunked\r\nConnection: close, x\r\nX: y\r\n\r\n")
	f.Add("GET http://a/b HTTP/1.0\r\nContent-Length: 5\r\nForwarded: for=x\r\n\r\n")
	f.Fuzz(func(t *testing.T, head string) {
		end := headEnd([]byte(head), 0)
		if end == 0 {
			return
		}
		var q request
		if q.parse([]byte(head[:end]), 128) != nil {
			return
		}
		o := origin{addr: "1.2.3.4"}
		out := q.appendHead(nil, &o)
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(string(out))))
		if err != nil {
			if _, herr := parseHost(string(q.host), new(hostScratch)); herr != nil || strings.Contains(err.Error(), "invalid URI") || strings.Contains(err.Error(), "parse ") || strings.Contains(err.Error(), "invalid method") {
				return // refused by the table, or left to the backend to refuse
			}
			t.Fatalf("%q became %q, which net/http refuses: %v", head, out, err)
		}
		if r.Method != string(q.method) || q.length > 0 && r.ContentLength != q.length || (q.length < 0) != (len(r.TransferEncoding) > 0) || r.Header.Get("X-Forwarded-For") != "1.2.3.4" {
			t.Fatalf("%q: read as %s, length %d, coding %v, from %s", out, r.Method, r.ContentLength, r.TransferEncoding, r.Header.Get("X-Forwarded-For"))
		}
	})
}

// FuzzChunked: a body decoded in any pieces is the same, and what net/http takes
// for the body is what we do.
func FuzzChunked(f *testing.F) {
	f.Add("5\r\nhello\r\n0\r\n\r\n", 3)
	f.Add("5;a=b\r\nhello\r\n1\r\nx\r\n0\r\nX: y\r\n\r\nGET /", 1)
	f.Fuzz(func(t *testing.T, body string, step int) {
		whole, used, ok := decodeBy(body, len(body)+1)
		pieces, usedPieces, okPieces := decodeBy(body, 1+max(0, step)%16)
		if ok != okPieces || ok && (whole != pieces || used != usedPieces) {
			t.Fatalf("%q: at once %q, %d, %v; in pieces %q, %d, %v", body, whole, used, ok, pieces, usedPieces, okPieces)
		}
		if !ok {
			return
		}
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + body)))
		if err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(r.Body); err == nil && string(b) != whole {
			t.Fatalf("%q: we read %q, net/http %q", body, whole, b)
		}
	})
}

func decodeBy(body string, step int) (data string, used int, ok bool) {
	var d chunked
	for rest := body; d.state != atEnd && rest != ""; {
		b := []byte(rest[:min(step, len(rest))])
		n, u, err := d.decode(b)
		data += string(b[:n])
		used += u
		if err != nil {
			return data, used, false
		}
		rest = rest[u:]
	}
	if d.state == atEnd {
		_, err := d.appendTrailer(nil)
		return data, used, err == nil
	}
	return data, used, false
}
