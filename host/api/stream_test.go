package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestApplyStreamsEventsAndTheOutcome(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		done  *Event // what the actor itself reports last
		err   error
		texts []string
		want  error
	}{
		{"plain", nil, nil, []string{"one", "two", ""}, nil},
		{"own summary", &Event{Text: "all is well", Done: true}, nil, []string{"one", "two", "all is well"}, nil},
		{"failed", &Event{Text: "held", Logs: []string{"boom"}, Done: true}, &Error{Code: CodeStale, Message: "moved", Hint: "plan"},
			[]string{"one", "two", "held"}, &Error{Code: CodeStale, Message: "moved", Hint: "plan"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var req ApplyRequest
			v := &world{apply: func(_ context.Context, r ApplyRequest, report func(Event)) error {
				req = r
				report(Event{Text: "one", Instance: "web:prod"})
				if tt.done != nil {
					report(*tt.done)
				}
				report(Event{Text: "two"})
				return tt.err
			}}
			c, _ := start(t, v)
			var texts []string
			err := c.Apply(t.Context(), ApplyRequest{Dir: "/x", Expect: "f", By: "nobody"}, func(e Event) { texts = append(texts, e.Text) })
			if !reflect.DeepEqual(texts, tt.texts) || !reflect.DeepEqual(err, tt.want) {
				t.Errorf("got %q, %v; want %q, %v", texts, err, tt.texts, tt.want)
			}
			if req.Dir != "/x" || req.Expect != "f" || req.By == "nobody" {
				t.Errorf("the actor got %+v", req)
			}
		})
	}
}

func TestApplyGoesOnWhenItsClientLeaves(t *testing.T) {
	t.Parallel()
	left := make(chan struct{})
	finished := make(chan error, 1)
	v := &world{apply: func(ctx context.Context, _ ApplyRequest, report func(Event)) error {
		report(Event{Text: "begun"})
		<-left
		// More events than any buffer on the way holds: nobody reads them, and
		// they must not block the work.
		for range 2000 {
			report(Event{Text: strings.Repeat("x", 1000)})
		}
		finished <- ctx.Err()
		return nil
	}}
	c, _ := start(t, v)
	ctx, cancel := context.WithCancel(t.Context())
	err := c.Apply(ctx, ApplyRequest{}, func(Event) { cancel() })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Apply = %v, want canceled", err)
	}
	close(left)
	select {
	case err := <-finished:
		if err != nil {
			t.Errorf("the apply was told to stop: %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the apply hangs on a client that left")
	}
}

func TestServeWaitsForAnApplyToStop(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l, err := Listen(dir)
	if err != nil {
		t.Fatal(err)
	}
	begun := make(chan struct{})
	var mu sync.Mutex
	stopped := false
	v := &world{apply: func(ctx context.Context, _ ApplyRequest, _ func(Event)) error {
		close(begun)
		<-ctx.Done()
		mu.Lock()
		defer mu.Unlock()
		stopped = true
		return ctx.Err()
	}}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	s := NewServer(v.config(t))
	go func() { served <- s.Serve(ctx, l) }()
	outcome := make(chan error, 1)
	go func() {
		c := NewLocalClient(dir)
		defer c.Close()
		outcome <- c.Apply(t.Context(), ApplyRequest{}, func(Event) {})
	}()
	<-begun
	cancel()
	if err := <-served; err != nil {
		t.Errorf("Serve = %v", err)
	}
	mu.Lock()
	defer mu.Unlock()
	if !stopped {
		t.Error("Serve returned while an apply ran")
	}
	if err := <-outcome; err == nil {
		t.Error("the client heard of no error")
	}
}

func TestLogsStream(t *testing.T) {
	t.Parallel()
	more := make(chan struct{})
	v := &world{write: func(ctx context.Context, w io.Writer, q LogQuery) error {
		if q.Service == "none" {
			return &Error{Code: CodeNotFound, Message: "no such service"}
		}
		fmt.Fprintln(w, "first")
		if q.Service == "broken" {
			return errors.New("disk gone")
		}
		if q.Follow {
			select {
			case <-more:
			case <-ctx.Done():
				return ctx.Err()
			}
			fmt.Fprintln(w, "second")
		}
		return nil
	}}
	c, _ := start(t, v)
	var out strings.Builder
	want := LogQuery{Service: "web", Instance: "a b", Level: "stderr", Search: "x&y", Limit: 3}
	if err := c.Write(t.Context(), &out, want); err != nil || out.String() != "first\n" || v.queries[0] != want {
		t.Errorf("got %q, %v, query %+v", out.String(), err, v.queries[0])
	}
	err := c.Write(t.Context(), io.Discard, LogQuery{Service: "none"})
	if e, ok := errors.AsType[*Error](err); !ok || e.Code != CodeNotFound {
		t.Errorf("an unknown service = %v, want not-found", err)
	}
	if err := c.Write(t.Context(), io.Discard, LogQuery{Service: "broken"}); err == nil || !strings.Contains(err.Error(), "disk gone") {
		t.Errorf("an error after the first line = %v", err)
	}
	// A followed line arrives before the stream ends.
	r, w := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- c.Write(t.Context(), w, LogQuery{Service: "web", Follow: true}) }()
	buf := make([]byte, 64)
	n, _ := r.Read(buf)
	close(more)
	m, _ := r.Read(buf[n:])
	if string(buf[:n+m]) != "first\nsecond\n" {
		t.Errorf("followed %q", buf[:n+m])
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestClientsThatDoNotReadAreCut(t *testing.T) {
	if testing.Short() {
		t.Skip("takes as long as the write timeout")
	}
	t.Parallel()
	ended := make(chan error, 1)
	v := &world{write: func(_ context.Context, w io.Writer, _ LogQuery) error {
		line := []byte(strings.Repeat("x", 1<<16) + "\n")
		for range 1000 {
			if _, err := w.Write(line); err != nil {
				ended <- err
				return err
			}
		}
		ended <- nil
		return nil
	}}
	_, dir := start(t, v)
	conn, err := net.Dial("unix", SocketPath(dir))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "GET /v1/logs?service=web HTTP/1.1\r\nHost: ten\r\n\r\n")
	select {
	case err := <-ended:
		if err == nil {
			t.Error("64 MB went to a client that reads nothing")
		}
	case <-time.After(2 * writeTimeout):
		t.Error("a client that reads nothing holds the daemon")
	}
}
