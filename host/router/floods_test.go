package router

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// TestFloods: each is many clients that take and give nothing. While one lasts,
// others are served at once; when it is over, goroutines, open requests and memory
// are where they were. It measures the process, so it runs alone.
func TestFloods(t *testing.T) {
	s := newStage(t, func(c *Config) {
		c.Limits = Limits{Header: 700 * time.Millisecond, Progress: 700 * time.Millisecond, Idle: time.Second}
	})
	event := bytes.Repeat([]byte("data: x\n\n"), 4096)
	in := s.backend(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/socket":
			echoSocket(w, r)
		case "/events":
			w.Header().Set("Content-Type", "text/event-stream")
			for r.Context().Err() == nil {
				if _, err := w.Write(event); err != nil {
					return
				}
			}
		default:
			io.Copy(w, r.Body)
		}
	})
	s.serves(in)
	const many = 300
	head := "GET /%s HTTP/1.1\r\nHost: a.web.localhost\r\n"
	floods := []struct {
		name string
		open func() func()
	}{
		{"slowloris: heads that never end", func() func() {
			return s.open(many, fmt.Sprintf(head, "x")+"X-Slow: ")
		}},
		{"a byte of the head now and then", func() func() {
			return s.drip(many/10, fmt.Sprintf(head, "x"))
		}},
		{"bodies that never come", func() func() {
			return s.open(many, "POST /x HTTP/1.1\r\nHost: a.web.localhost\r\nContent-Length: 1000000\r\n\r\nabc")
		}},
		{"connections that ask nothing", func() func() { return s.open(many, "") }},
		{"streams of events that nobody reads", func() func() {
			return s.open(many/3, fmt.Sprintf(head, "events")+"\r\n")
		}},
		{"WebSockets", s.sockets},
	}
	s.ask("a.web.localhost", "GET")
	for _, f := range floods {
		t.Run(f.name, func(t *testing.T) {
			goroutines, before := runtime.NumGoroutine(), heap()
			end := f.open()
			began := time.Now()
			for range 20 {
				if code := s.ask("a.web.localhost", "GET"); code != 200 {
					t.Fatalf("another client got %d", code)
				}
			}
			if d := time.Since(began); d > 5*time.Second {
				t.Errorf("20 requests of another client took %s", d)
			}
			if during := int64(heap()) - int64(before); during > 64<<20 {
				t.Errorf("the heap grew by %d MB in it", during>>20)
			}
			end()
			b := s.find(in.Key)
			eventually(t, "nothing is under way and all goroutines have ended", func() bool {
				return b.open.Load() == 0 && s.under() == 0 && runtime.NumGoroutine() <= goroutines+4
			})
			if grown := int64(heap()) - int64(before); grown > 8<<20 {
				t.Errorf("%d KB more than before are held after it", grown>>10)
			}
		})
	}
}

// open makes connections that send a part of a request and then do nothing. The
// router must end them by itself: what it gives back waits for that.
func (s *stage) open(n int, part string) func() {
	conns := make([]net.Conn, n)
	for i := range conns {
		conns[i] = s.dial()
		conns[i].(*net.TCPConn).SetReadBuffer(4096)
		io.WriteString(conns[i], part)
	}
	return func() {
		eventually(s.t, "the router has ended all of them", func() bool { return s.under() == 0 })
		for _, c := range conns {
			c.Close()
		}
	}
}

// drip sends a byte at a time, so that no single read takes long.
func (s *stage) drip(n int, part string) func() {
	var all sync.WaitGroup
	for range n {
		c := s.dial()
		io.WriteString(c, part)
		all.Go(func() {
			defer c.Close()
			for range 500 {
				if _, err := io.WriteString(c, "X"); err != nil {
					return
				}
				time.Sleep(10 * time.Millisecond)
			}
			s.t.Error("it went on for five seconds")
		})
	}
	return all.Wait
}

// sockets opens WebSockets that are used once, and closes them.
func (s *stage) sockets() func() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	client := s.client()
	var conns []*websocket.Conn
	for range 200 {
		c, _, err := websocket.Dial(ctx, "ws://a.web.localhost/socket", &websocket.DialOptions{HTTPClient: client})
		if err != nil {
			s.t.Fatal(err)
		}
		if err := c.Write(ctx, websocket.MessageText, []byte(strings.Repeat("x", 4000))); err != nil {
			s.t.Fatal(err)
		}
		if _, _, err := c.Read(ctx); err != nil {
			s.t.Fatal(err)
		}
		conns = append(conns, c)
	}
	return func() {
		for _, c := range conns {
			c.CloseNow()
		}
		cancel()
		client.CloseIdleConnections()
	}
}
