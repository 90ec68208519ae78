package logs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// store writes a log file by hand: "second stream text" a line.
func store(t *testing.T, dir, name string, lines ...string) {
	t.Helper()
	path := filepath.Join(dir, name)
	must(t, os.MkdirAll(filepath.Dir(path), 0o700))
	var b strings.Builder
	for _, l := range lines {
		var second int
		var stream, text string
		if _, err := fmt.Sscan(l, &second, &stream, &text); err != nil {
			t.Fatal(err)
		}
		b.Write(appendStamp(nil, time.Unix(int64(second), 0)))
		fmt.Fprintf(&b, " %s %s\n", stream, text)
	}
	must(t, os.WriteFile(path, []byte(b.String()), 0o600))
}

// shown runs a query and gives back what stands after the time.
func shown(t *testing.T, c *Collector, q Query) []string {
	t.Helper()
	var b bytes.Buffer
	must(t, c.Write(t.Context(), &b, q))
	var all []string
	for l := range strings.Lines(b.String()) {
		stamp, rest, _ := strings.Cut(strings.TrimSuffix(l, "\n"), " ")
		if _, err := time.Parse(time.RFC3339Nano, stamp); err != nil {
			t.Errorf("line %q: %v", l, err)
		}
		all = append(all, rest)
	}
	return all
}

func TestQuery(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	store(t, dir, "web/a.log.1", "1 out a1", "3 err a3")
	store(t, dir, "web/a.log", "5 out a5", "7 out a7")
	store(t, dir, "web/b.log", "2 out b2", "4 out b4", "6 err b6")
	store(t, dir, "web/only-old.log.1", "0 out o0")
	store(t, dir, "back/a.log", "9 out a9", "2 out a2-after-the-clock-went-back", "3 out a3")
	store(t, dir, "web/notes.txt", "1 out no-log")
	c := newCollector(t, Config{Dir: dir})
	cases := []struct {
		name string
		q    Query
		want []string
	}{
		{"all of a service, by time", Query{Service: "web"}, []string{
			"stdout web:only-old o0", "stdout web:a a1", "stdout web:b b2", "stderr web:a a3", "stdout web:b b4", "stdout web:a a5", "stderr web:b b6", "stdout web:a a7"}},
		{"the last three", Query{Service: "web", Limit: 3}, []string{"stdout web:a a5", "stderr web:b b6", "stdout web:a a7"}},
		{"one instance, over rotation", Query{Service: "web", Instance: "a", Limit: 3}, []string{"stderr web:a a3", "stdout web:a a5", "stdout web:a a7"}},
		{"one stream", Query{Service: "web", Level: "stderr"}, []string{"stderr web:a a3", "stderr web:b b6"}},
		{"search", Query{Service: "web", Search: "a", Limit: 2}, []string{"stdout web:a a5", "stdout web:a a7"}},
		{"search finds nothing", Query{Service: "web", Search: "A"}, nil},
		{"clock set back keeps the order", Query{Service: "back"}, []string{
			"stdout back:a a9", "stdout back:a a2-after-the-clock-went-back", "stdout back:a a3"}},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			if got := shown(t, c, tc.q); !slices.Equal(got, tc.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(tc.want, "\n"))
			}
		})
	}
}

func TestQueryRefuses(t *testing.T) {
	t.Parallel()
	c := newCollector(t, Config{})
	for _, q := range []Query{
		{Service: "../x"}, {Instance: "../x"}, {Service: "web", Instance: "a/b"}, {Service: "web", Level: "info"},
		{Service: "web", Limit: -1}, {Service: "web", Limit: maxLimit + 1},
	} {
		if err := c.Write(t.Context(), &bytes.Buffer{}, q); err == nil || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%+v: %v", q, err)
		}
	}
	for _, q := range []Query{{}, {Instance: "prod"}, {Service: "web"}, {Service: "web", Instance: "prod"}} {
		if err := c.Write(t.Context(), &bytes.Buffer{}, q); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), q.target()) {
			t.Errorf("%+v without a log: %v", q, err)
		}
	}
}

// screen is a writer that can be looked at meanwhile, and held up.
type screen struct {
	mu   sync.Mutex
	buf  bytes.Buffer
	held chan struct{} // nil, or closed to go on
}

func (s *screen) Write(p []byte) (int, error) {
	if s.held != nil {
		<-s.held
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.Write(p)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.String()
}

func TestFollowHasNoGapAndNoDouble(t *testing.T) {
	t.Parallel()
	c := newCollector(t, Config{MaxFile: 20_000, Files: 3})
	programs := []*program{start(t, c, key("web", "a", 1)), start(t, c, key("web", "b", 1)), start(t, c, key("other", "a", 1))}
	const lines = 400
	var writers sync.WaitGroup
	for _, p := range programs {
		writers.Go(func() {
			for i := range lines {
				p.print("%s line %d.\n", p.key.ID, i)
				time.Sleep(50 * time.Microsecond)
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var screens [6]screen
	var readers sync.WaitGroup
	for i := range screens {
		readers.Go(func() {
			time.Sleep(time.Duration(i) * 5 * time.Millisecond)
			if err := c.Write(ctx, &screens[i], Query{Service: "web", Follow: true, Limit: maxLimit}); err != nil {
				t.Error(err)
			}
		})
	}
	writers.Wait()
	for i := range screens {
		waitFor(t, func() bool {
			s := screens[i].String()
			return strings.Contains(s, fmt.Sprintf("web:a line %d.", lines-1)) && strings.Contains(s, fmt.Sprintf("web:b line %d.", lines-1))
		})
	}
	cancel()
	readers.Wait()
	for i := range screens {
		text := screens[i].String()
		for _, id := range []string{"web:a", "web:b"} {
			for n := range lines {
				if got := strings.Count(text, fmt.Sprintf("%s line %d.", id, n)); got != 1 {
					t.Fatalf("reader %d has line %d of %s %d times", i, n, id, got)
				}
			}
		}
		if strings.Contains(text, "other:a") {
			t.Error("another service's lines are shown")
		}
	}
	if left := *c.followers.list.Load(); len(left) != 0 {
		t.Errorf("%d followers left behind", len(left))
	}
}

func TestFollowBeginsBeforeTheInstance(t *testing.T) {
	t.Parallel()
	c := newCollector(t, Config{})
	ctx, cancel := context.WithCancel(t.Context())
	var s screen
	done := make(chan error, 1)
	go func() {
		done <- c.Write(ctx, &s, Query{Service: "web", Level: "stdout", Search: "wanted", Follow: true})
	}()
	waitFor(t, func() bool { l := c.followers.list.Load(); return l != nil && len(*l) == 1 })
	for generation := range uint64(3) { // each attachment begins and ends a file
		p := start(t, c, key("web", "prod", generation))
		p.print("wanted %d\nnot this\n", generation)
		p.exit()
	}
	waitFor(t, func() bool { return strings.Count(s.String(), "\n") == 3 })
	cancel()
	must(t, <-done)
	if got := s.String(); strings.Contains(got, "not this") || !strings.Contains(got, "stdout web:prod wanted 2\n") {
		t.Errorf("got %q", got)
	}
}

func TestSlowFollowerLosesLinesAndIsTold(t *testing.T) {
	t.Parallel()
	c := newCollector(t, Config{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s := &screen{held: make(chan struct{})}
	done := make(chan error, 1)
	go func() { done <- c.Write(ctx, s, Query{Service: "web", Follow: true}) }()
	waitFor(t, func() bool { l := c.followers.list.Load(); return l != nil && len(*l) == 1 })
	p := start(t, c, key("web", "prod", 1))
	const lines = 3000
	for range lines { // 3 MB, three times what may wait
		p.print("%s\n", strings.Repeat("x", 1000))
	}
	p.exit()
	close(s.held)
	var lost, got int
	waitFor(t, func() bool {
		got, lost = 0, 0
		for l := range strings.Lines(s.String()) {
			if i := strings.Index(l, "[ten: "); i >= 0 {
				n := 0
				fmt.Sscanf(l[i:], "[ten: %d lines lost", &n)
				lost += n
			} else {
				got++
			}
		}
		return got+lost >= lines
	})
	if got+lost != lines || lost == 0 || got == 0 {
		t.Errorf("%d lines shown, %d lost, of %d", got, lost, lines)
	}
	if kept := tail(t, c, "web", "prod", lines+1); len(kept) != lines {
		t.Errorf("a slow follower cost the log %d lines", lines-len(kept))
	}
	cancel()
	must(t, <-done)
}
