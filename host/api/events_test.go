package api

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"
)

func TestAStreamEndsWithItsTokenAndItsDaemon(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*front){
		"revoked": func(f *front) { f.server.Tokens.Revoke(context.Background(), f.id(t, "acme")) },
		"daemon":  func(f *front) { f.stopServing() },
	} {
		for _, target := range []string{"/api/events", "/api/logs/stream", "/v1/logs?follow=1&service=web"} {
			t.Run(name+target, func(t *testing.T) {
				t.Parallel()
				f := openFront(t, &world{write: func(ctx context.Context, w io.Writer, _ LogQuery) error {
					fmt.Fprintln(w, "2026-03-04T05:06:07Z stdout web:acme first")
					<-ctx.Done()
					return nil
				}})
				resp := f.open(t, "GET", target, f.token(t, "acme"), "")
				defer resp.Body.Close()
				if resp.StatusCode != 200 {
					t.Fatal(resp.Status)
				}
				ended := make(chan struct{})
				go func() { io.Copy(io.Discard, resp.Body); close(ended) }()
				select {
				case <-ended:
					t.Fatal("it ended by itself")
				case <-time.After(50 * time.Millisecond):
				}
				end(f)
				select {
				case <-ended:
				case <-time.After(10 * time.Second):
					t.Error("it goes on")
				}
			})
		}
	}
}

func TestLogStream(t *testing.T) {
	t.Parallel()
	f := openFront(t, &world{write: func(ctx context.Context, w io.Writer, q LogQuery) error {
		fmt.Fprintln(w, "2026-03-04T05:06:07Z stdout web:prod from before")
		at := time.Now().Add(time.Second)
		fmt.Fprintf(w, "%s stderr web:prod now  \u00e9\n", at.Format(time.RFC3339Nano))
		<-ctx.Done()
		return nil
	}})
	resp := f.open(t, "GET", "/api/logs/stream?process=web&id=prod&level=stderr", f.token(t, "prod"), "")
	defer resp.Body.Close()
	if got := resp.Header.Get("Content-Type"); got != "text/event-stream" {
		t.Errorf("Content-Type %q", got)
	}
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok {
			continue
		}
		var l logLine
		if err := json.Unmarshal([]byte(data), &l); err != nil || l.Message != "now  \u00e9" || l.Level != "stderr" || l.Process != "web" || l.Instance != "prod" || l.Timestamp == 0 {
			t.Errorf("the first event is %q (%v)", data, err)
		}
		break
	}
	if q := f.world.queries[0]; q.Service != "web" || q.Instance != "prod" || q.Level != "stderr" || !q.Follow {
		t.Errorf("query %+v", q)
	}
}

// TestClientsThatReadNoEvents opens streams that nobody reads: others go on, and
// when the clients are gone nothing is left of them.
func TestClientsThatReadNoEvents(t *testing.T) {
	f := openFront(t, &world{write: func(ctx context.Context, w io.Writer, _ LogQuery) error {
		line := time.Now().Add(time.Hour).Format(time.RFC3339Nano) + " stdout web:prod " + strings.Repeat("x", 8<<10) + "\n"
		for ctx.Err() == nil {
			if _, err := io.WriteString(w, line); err != nil {
				return err
			}
		}
		return nil
	}})
	before := runtime.NumGoroutine()
	var conns []net.Conn
	for range 20 {
		conn, err := net.Dial("tcp", f.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "GET /api/logs/stream HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n", f.token(t, "admin"))
		conns = append(conns, conn)
	}
	for range 50 {
		begun := time.Now()
		if got, _ := f.ask(t, "GET", "/api/instances", f.token(t, "admin"), ""); got != 200 || time.Since(begun) > 5*time.Second {
			t.Fatalf("beside them a request = %d in %s", got, time.Since(begun))
		}
	}
	for _, conn := range conns {
		conn.Close()
	}
	f.Client().CloseIdleConnections()
	for end := time.Now().Add(20 * time.Second); runtime.NumGoroutine() > before+2; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), before)
		}
	}
}

// TestEventsSayHowAllStandsAndThenWhatChanges watches while the host changes.
func TestEventsSayHowAllStandsAndThenWhatChanges(t *testing.T) {
	t.Parallel()
	f := openFront(t, &world{})
	next := func(lines *bufio.Scanner) (c Change) {
		t.Helper()
		for lines.Scan() {
			if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
				if err := json.Unmarshal([]byte(data), &c); err != nil {
					t.Fatal(err)
				}
				return c
			}
		}
		t.Fatal("the stream ended")
		return c
	}
	all := bufio.NewScanner(f.open(t, "GET", "/api/events", f.token(t, "admin"), "").Body)
	tenant := bufio.NewScanner(f.open(t, "GET", "/api/events", f.token(t, "prod"), "").Body)
	seen := map[string]string{}
	for range 3 {
		c := next(all)
		seen[c.Kind+c.ID] = "seen"
	}
	if len(seen) != 3 || seen["instanceweb:prod"] == "" || seen["instanceweb:old"] == "" || seen["status"] == "" {
		t.Errorf("at first: %v", seen)
	}
	if c := next(tenant); c.ID != "web:prod" || c.Instance.Phase != "running" {
		t.Errorf("a tenant sees %+v first", c)
	}
	began := time.Now()
	f.world.change(func() { f.world.gone = true })
	if c := next(tenant); c.Kind != "gone" || c.ID != "web:prod" {
		t.Errorf("then a tenant sees %+v", c)
	}
	if c := next(all); c.Kind != "gone" || c.ID != "web:prod" {
		t.Errorf("then %+v", c)
	}
	if took := time.Since(began); took > lookEvery/2 {
		t.Errorf("they heard of it after %s, as if they had to look for it", took)
	}
}

// TestASlowWatcherGetsTheLatest: what came while nobody read is kept by what it
// is of, so it takes no more memory than the host has instances, and whoever
// tells does not wait.
func TestASlowWatcherGetsTheLatest(t *testing.T) {
	t.Parallel()
	s := NewServer(Config{})
	me := newWatcher()
	s.watch.watchers = map[*watcher]struct{}{me: {}} // who joins also looks
	for n := range 10_000 {
		all := map[string]Instance{}
		for _, id := range []string{"web:a", "web:b"} {
			all[id] = Instance{Service: "web", ID: id[4:], Restarts: n + 1}
		}
		s.tell(picture{instances: all})
	}
	<-me.some
	got := s.take(me)
	if len(got) < 2 || got[len(got)-2].ID != "web:a" || got[len(got)-1].Instance.Restarts != 10_000 {
		t.Errorf("%d changes: %+v", len(got), got)
	}
	if rest := s.take(me); len(rest) != 0 {
		t.Errorf("twice: %+v", rest)
	}
}

// TestWatchingCostsLittle: however much goes on, looking takes its rest, and
// nobody looks once nobody watches.
func TestWatchingCostsLittle(t *testing.T) {
	t.Parallel()
	v := &world{}
	s := NewServer(Config{Herald: v, Viewer: v})
	me, _ := s.join(t.Context(), picture{})
	began := time.Now()
	for time.Since(began) < 20*lookRest {
		v.change(func() {})
		time.Sleep(time.Millisecond)
	}
	took := time.Since(began)
	s.leave(me)
	v.mu.Lock()
	looks := v.looks
	v.mu.Unlock()
	if most := int(took/lookRest) + 2; looks < 1 || looks > most {
		t.Errorf("%d looks in %s, want at most %d", looks, took, most)
	}
	v.change(func() {})
	time.Sleep(2 * lookRest)
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.looks != looks {
		t.Error("it looks though nobody watches")
	}
}
