package router

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"testing"
	"time"
)

// TestLastConnections: a request on a connection that was taken just before the
// router ends, or while it does, is answered; a connection between two requests
// is closed.
func TestLastConnections(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.serves(s.backend(hello))
	r := New(Config{Waker: s, Dialer: dialer{}, Log: s.log})
	r.table.Store(s.table.Load())
	ctx, end := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	dial := func() net.Conn {
		client, server := net.Pipe()
		t.Cleanup(func() { client.Close() })
		client.SetDeadline(time.Now().Add(20 * time.Second))
		go r.ServeConn(ctx, server, ConnInfo{})
		return client
	}
	ask := func(c net.Conn) error {
		if _, err := c.Write([]byte("GET / HTTP/1.1\r\nHost: web.localhost\r\n\r\n")); err != nil {
			return err
		}
		answer, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err == nil && answer.StatusCode != 200 {
			t.Errorf("the answer is %s", answer.Status)
		}
		return err
	}
	idle, before := dial(), dial()
	if err := ask(idle); err != nil {
		t.Fatal(err)
	}
	for len(r.all()) < 2 {
		time.Sleep(time.Millisecond)
	}
	end()
	for !r.closing.Load() {
		time.Sleep(time.Millisecond)
	}
	if _, err := idle.Read(make([]byte, 1)); err == nil || err.Error() != "EOF" {
		t.Errorf("between requests: %v, want EOF", err)
	}
	for name, c := range map[string]net.Conn{"taken before": before, "taken after": dial()} {
		if err := ask(c); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}
