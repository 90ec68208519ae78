package router

import (
	"io"
	"net"
	"testing"
)

// TestARequestAllocatesNothing: what a host serves costs its collector nothing.
// It counts the allocations of the process, so it runs alone.
func TestARequestAllocatesNothing(t *testing.T) {
	if raced {
		t.Skip("the race detector makes pools forget")
	}
	s := newStage(t)
	answer := []byte("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 12\r\n\r\nhello world\n")
	s.serves(s.raw(func(c net.Conn) {
		for b := make([]byte, 4096); ; {
			if _, err := c.Read(b); err != nil {
				return
			}
			if _, err := c.Write(answer); err != nil {
				return
			}
		}
	}))
	for _, host := range []string{"a.web.localhost", "web.localhost"} {
		c := s.dial()
		request := []byte("GET /path?query HTTP/1.1\r\nHost: " + host + "\r\nUser-Agent: x\r\nAccept: */*\r\nCookie: a=b\r\n\r\n")
		got := make([]byte, len(answer))
		once := func() {
			if _, err := c.Write(request); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(c, got); err != nil {
				t.Fatal(err)
			}
		}
		once()
		if n := testing.AllocsPerRun(2000, once); n > 0.5 {
			t.Errorf("%s: %.1f allocations a request", host, n)
		}
	}
}
