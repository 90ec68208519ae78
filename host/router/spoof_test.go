package router

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
)

// heads serves and hands out the head of each request as it came.
func (s *stage) heads() (in Incarnation, heads chan string) {
	heads = make(chan string, 8)
	return s.raw(func(c net.Conn) {
		for r := bufio.NewReader(c); ; {
			var head strings.Builder
			for {
				line, err := r.ReadString('\n')
				if err != nil {
					return
				}
				if line == "\r\n" {
					break
				}
				head.WriteString(line)
			}
			heads <- head.String()
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		}
	}), heads
}

// TestWhatClientsSayOfThemselves: a stranger's word on who and where it is reaches
// no program, in no spelling and by neither way; a trusted proxy's does.
func TestWhatClientsSayOfThemselves(t *testing.T) {
	t.Parallel()
	names := []string{
		"X-Forwarded-For", "x_forwarded_for", "X-Forwarded_For", "X-Forwarded-Proto", "X-Forwarded-Protocol", "X-Forwarded-Prefix",
		"X-Forwarded-Host", "X-Forwarded-Port", "X-Forwarded-Server", "X-Forwarded-By", "X-Forwarded-User", "X-Forwarded-Client-Cert",
		"X-Forwarded-Ssl", "X-Real-Ip", "X_REAL_IP", "Forwarded", "X-Request-Id",
	}
	for _, trusted := range []bool{false, true} {
		s := newStage(t, func(c *Config) {
			c.Root = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {})
			if trusted {
				c.Trusted = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
			}
		})
		in, heads := s.heads()
		s.serves(in)
		for _, first := range []string{"", "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"} { // the second hands the connection to net/http
			for _, name := range names {
				s.say(first + "GET / HTTP/1.1\r\nHost: web.localhost\r\nConnection: close\r\n" + name + ": forged\r\n\r\n")
				head := <-heads
				plain := !strings.Contains(name, "_")
				if got := strings.Contains(head, "forged"); got != (trusted && plain) {
					t.Errorf("%s, trusted %v, by net/http %v: handed on %v\n%s", name, trusted, first != "", got, head)
				}
			}
		}
	}
}

// TestNoUpgradeToHTTP2: a tunnel in which a backend speaks HTTP/2 would carry
// requests that nobody looked at. None is opened, in no spelling and by neither way.
func TestNoUpgradeToHTTP2(t *testing.T) {
	t.Parallel()
	s := newStage(t, func(c *Config) { c.Root = http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}) })
	in, heads := s.heads()
	s.serves(in)
	for _, first := range []string{"", "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"} {
		for _, upgrade := range []string{"h2c", "H2C", "websocket, h2c", "h2c,websocket", " h2c ,x", "h2", "HTTP/2.0"} {
			for _, connection := range []string{"Upgrade, HTTP2-Settings", "Upgrade", "upgrade, close"} {
				s.say(first + fmt.Sprintf("GET / HTTP/1.1\r\nHost: web.localhost\r\nConnection: %s\r\nUpgrade: %s\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\nGET / HTTP/1.1\r\nHost: nobody.localhost\r\nConnection: close\r\n\r\n", connection, upgrade))
				head := strings.ToLower(<-heads)
				if strings.Contains(head, "upgrade") || strings.Contains(head, "http2-settings") {
					t.Errorf("Connection: %s, Upgrade: %s, by net/http %v: the backend is asked for it:\n%s", connection, upgrade, first != "", head)
				}
			}
		}
		s.say(first + "GET / HTTP/1.1\r\nHost: web.localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nGET / HTTP/1.1\r\nHost: nobody.localhost\r\nConnection: close\r\n\r\n")
		if head := <-heads; !strings.Contains(head, "Upgrade: websocket") {
			t.Errorf("a WebSocket is not asked for any more:\n%s", head)
		}
	}
}
