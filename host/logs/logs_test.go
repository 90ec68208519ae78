package logs

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tenement/ten/runtimes"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newCollector(t testing.TB, cfg Config) *Collector {
	t.Helper()
	if cfg.Dir == "" {
		cfg.Dir = t.TempDir()
	}
	c := New(cfg)
	t.Cleanup(func() { must(t, c.Close(context.Background())) })
	return c
}

func key(service, id string, generation uint64) runtimes.Key {
	return runtimes.Key{ID: runtimes.ID{Service: service, Instance: id}, Generation: generation}
}

// program is the writing end of an attached instance.
type program struct {
	t        testing.TB
	c        *Collector
	key      runtimes.Key
	out, err *os.File
}

func start(t testing.TB, c *Collector, k runtimes.Key) *program {
	t.Helper()
	outR, outW, err := os.Pipe()
	must(t, err)
	errR, errW, err := os.Pipe()
	must(t, err)
	p := &program{t, c, k, outW, errW}
	t.Cleanup(func() { outW.Close(); errW.Close() })
	must(t, c.Attach(t.Context(), k, outR, errR))
	return p
}

func (p *program) print(format string, args ...any) {
	p.t.Helper()
	_, err := fmt.Fprintf(p.out, format, args...)
	must(p.t, err)
}

// exit ends the program and waits until its output is on disk.
func (p *program) exit() {
	p.t.Helper()
	must(p.t, p.out.Close())
	must(p.t, p.err.Close())
	ctx, cancel := context.WithTimeout(p.t.Context(), 20*time.Second)
	defer cancel()
	must(p.t, p.c.Drained(ctx, p.key))
}

func texts(lines []Line) []string {
	var all []string
	for _, l := range lines {
		all = append(all, l.Text)
	}
	return all
}

func tail(t testing.TB, c *Collector, service, id string, n int) []Line {
	t.Helper()
	lines, err := c.Tail(service, id, n)
	must(t, err)
	return lines
}

func TestEveryLineArrivesAsItWas(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", maxLine)
	cases := []struct {
		name, printed string
		want          []string
	}{
		{"plain", "one\ntwo\n", []string{"one", "two"}},
		{"no newline at the end", "one\ntwo", []string{"one", "two"}},
		{"empty lines", "\n\nx\n", []string{"", "", "x"}},
		{"carriage return", "one\r\ntwo\r\n", []string{"one", "two"}},
		{"nothing", "", nil},
		{"bytes that are no UTF-8", "a\xffb\xc3\nstill here\n", []string{`a\xffb\xc3`, "still here"}},
		{"NUL and escapes are kept", "a\x00b\x1b[1m\n", []string{"a\x00b\x1b[1m"}},
		{"longest line", long + "\nnext\n", []string{long, "next"}},
		{"one byte too long", long + "y\nnext\n", []string{long + " [ten: cut at 16384 bytes]", "next"}},
		{"far too long", strings.Repeat("x", 1<<20) + "\nnext\n", []string{long + " [ten: cut at 16384 bytes]", "next"}},
		{"far too long without end", strings.Repeat("x", 1<<20), []string{long + " [ten: cut at 16384 bytes]"}},
		{"spaces", "  a  b  \n", []string{"  a  b  "}},
		{"longest line of bytes that are no UTF-8", strings.Repeat("\xff", maxLine) + "\nnext\n",
			[]string{strings.Repeat(`\xff`, maxLine), "next"}},
	}
	for _, c := range cases {
		for _, piece := range []int{1 << 20, 1000, 7} {
			if len(c.printed) > 1000 && piece == 7 {
				continue
			}
			t.Run(fmt.Sprintf("%s in pieces of %d", c.name, piece), func(t *testing.T) {
				t.Parallel()
				col := newCollector(t, Config{})
				p := start(t, col, key("web", "prod", 1))
				for part := range slices.Chunk([]byte(c.printed), piece) {
					_, err := p.out.Write(part)
					must(t, err)
				}
				p.exit()
				got := texts(tail(t, col, "web", "prod", 10))
				if !slices.Equal(got, c.want) {
					t.Errorf("got %.200q, want %.200q", got, c.want)
				}
			})
		}
	}
}

func TestStoredForm(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := newCollector(t, Config{Dir: dir})
	p := start(t, c, key("web", "prod", 1))
	p.print("hello\n")
	_, err := p.err.WriteString("oh no\n")
	must(t, err)
	p.exit()
	data, err := os.ReadFile(filepath.Join(dir, "web", "prod.log"))
	must(t, err)
	stamp := `\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z`
	for _, want := range []string{stamp + " out hello\n", stamp + " err oh no\n"} {
		if !regexp.MustCompile(want).Match(data) {
			t.Errorf("%q lacks %s", data, want)
		}
	}
	for path, want := range map[string]os.FileMode{"web": 0o700, "web/prod.log": 0o600} {
		info, err := os.Stat(filepath.Join(dir, path))
		must(t, err)
		if info.Mode().Perm() != want {
			t.Errorf("%s has mode %o", path, info.Mode().Perm())
		}
	}
}

func TestReadersThatAreNoFiles(t *testing.T) {
	t.Parallel()
	c := newCollector(t, Config{})
	outR, outW := io.Pipe()
	must(t, c.Attach(t.Context(), key("web", "prod", 1), outR, io.NopCloser(strings.NewReader("err line"))))
	if !c.Attached(key("web", "prod", 1)) {
		t.Error("not attached")
	}
	io.WriteString(outW, "out line\n")
	outW.Close()
	must(t, c.Drained(t.Context(), key("web", "prod", 1)))
	got := texts(tail(t, c, "web", "prod", 10))
	slices.Sort(got)
	if !slices.Equal(got, []string{"err line", "out line"}) || c.Attached(key("web", "prod", 1)) {
		t.Errorf("got %q", got)
	}
}

func TestAttachRefuses(t *testing.T) {
	t.Parallel()
	c := newCollector(t, Config{})
	start(t, c, key("web", "prod", 1))
	bad := []runtimes.Key{
		key("web", "prod", 1), // is being read
		key("..", "prod", 1), key("web", "../../etc/passwd", 1), key("a/b", "c", 1),
		key("", "x", 1), key("x", "", 1), key("x", ".hidden", 1), key("x", "a\x00b", 1), key(strings.Repeat("x", 300), "x", 1),
	}
	for _, k := range bad {
		r, w, err := os.Pipe()
		must(t, err)
		if err := c.Attach(t.Context(), k, r, io.NopCloser(strings.NewReader(""))); err == nil {
			t.Errorf("%s was attached", k)
		}
		if _, err := r.Read(make([]byte, 1)); err == nil || err == io.EOF {
			t.Errorf("the reader of %s was left open", k)
		}
		w.Close()
	}
	must(t, c.Close(t.Context()))
	if err := c.Attach(t.Context(), key("web", "late", 1), io.NopCloser(strings.NewReader("")), io.NopCloser(strings.NewReader(""))); err == nil {
		t.Error("attached after Close")
	}
}

func TestEndOfContextLeavesThePipeToTheNext(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r, w, err := os.Pipe()
	must(t, err)
	defer w.Close()
	again, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", r.Fd()))
	if err != nil {
		t.Skipf("a pipe can't be opened twice here: %v", err)
	}
	r.Close()
	first, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", again.Fd()))
	must(t, err)

	ctx, cancel := context.WithCancel(t.Context())
	c := newCollector(t, Config{Dir: dir})
	must(t, c.Attach(ctx, key("web", "prod", 1), first, io.NopCloser(strings.NewReader(""))))
	fmt.Fprintln(w, "before")
	waitFor(t, func() bool { return len(tail(t, c, "web", "prod", 9)) == 1 })
	cancel()
	must(t, c.Drained(t.Context(), key("web", "prod", 1)))
	fmt.Fprintln(w, "between")

	c = newCollector(t, Config{Dir: dir})
	must(t, c.Attach(t.Context(), key("web", "prod", 1), again, io.NopCloser(strings.NewReader(""))))
	fmt.Fprintln(w, "after")
	waitFor(t, func() bool { return len(tail(t, c, "web", "prod", 9)) == 3 })
	if got := texts(tail(t, c, "web", "prod", 9)); !slices.Equal(got, []string{"before", "between", "after"}) {
		t.Errorf("got %q", got)
	}
}

func waitFor(t testing.TB, done func() bool) {
	t.Helper()
	for range 2000 {
		if done() {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatal("it did not happen within 10 s")
}

func TestRotationBoundsEachInstance(t *testing.T) {
	t.Parallel()
	const maxFile = 200_000
	for _, files := range []int{1, 2, 4} {
		dir := t.TempDir()
		c := newCollector(t, Config{Dir: dir, MaxFile: maxFile, Files: files})
		quiet := start(t, c, key("web", "quiet", 1))
		quiet.print("I was here\n")
		noisy := start(t, c, key("web", "noisy", 1))
		const lines = 20_000
		for i := range lines {
			noisy.print("line %d of many that push each other out\n", i)
		}
		noisy.exit()
		quiet.exit()
		entries, err := os.ReadDir(filepath.Join(dir, "web"))
		must(t, err)
		if len(entries) != files+1 {
			t.Errorf("%d files, want %d and the quiet one's", len(entries), files)
		}
		for _, e := range entries {
			if info, err := e.Info(); err != nil || info.Size() > maxFile {
				t.Errorf("%s has %d bytes (%v)", e.Name(), info.Size(), err)
			}
		}
		got := texts(tail(t, c, "web", "noisy", 1<<20))
		for i, text := range got {
			if want := fmt.Sprintf("line %d of many that push each other out", lines-len(got)+i); text != want {
				t.Fatalf("with %d files: line %d is %q, want %q", files, i, text, want)
			}
		}
		if got := texts(tail(t, c, "web", "quiet", 9)); !slices.Equal(got, []string{"I was here"}) {
			t.Errorf("the quiet one has %q", got)
		}
	}
}

func TestTornLineOfACrash(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(dir, "web"), 0o700))
	torn := "2026-01-02T03:04:05.000000000Z out whole\n2026-01-02T03:04:05.00000"
	must(t, os.WriteFile(filepath.Join(dir, "web", "prod.log"), []byte(torn), 0o600))
	c := newCollector(t, Config{Dir: dir})
	p := start(t, c, key("web", "prod", 1))
	p.print("next\n")
	p.exit()
	if got := texts(tail(t, c, "web", "prod", 9)); !slices.Equal(got, []string{"whole", "2026-01-02T03:04:05.00000", "next"}) {
		t.Errorf("got %q", got)
	}
}

func TestTailReadsFromTheEnd(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(dir, "web"), 0o700))
	var b bytes.Buffer
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := 0; b.Len() < 10<<20; i++ {
		b.Write(appendStamp(nil, at.Add(time.Duration(i))))
		fmt.Fprintf(&b, " out line %d %s\n", i, strings.Repeat("x", i%100))
	}
	must(t, os.WriteFile(filepath.Join(dir, "web", "prod.log"), b.Bytes(), 0o600))
	c := newCollector(t, Config{Dir: dir})
	lines := tail(t, c, "web", "prod", 20)
	all := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
	for i, l := range lines {
		if want := all[len(all)-20+i][len(stampForm)+5:]; l.Text != want {
			t.Fatalf("line %d is %q, want %q", i, l.Text, want)
		}
	}
	b2, _, err := c.backward(runtimes.ID{Service: "web", Instance: "prod"})
	must(t, err)
	defer b2.close()
	for range 20 {
		if _, err := b2.next(); err != nil {
			t.Fatal(err)
		}
	}
	if read := int64(b.Len()) - b2.pos; read > 64<<10 {
		t.Errorf("%d bytes read for 20 lines", read)
	}
	if got := tail(t, c, "web", "prod", 1<<30); len(got) != len(all) {
		t.Errorf("%d lines of %d", len(got), len(all))
	}
}

func TestRemove(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := newCollector(t, Config{Dir: dir, MaxFile: 100})
	p := start(t, c, key("web", "prod", 1))
	for i := range 20 {
		p.print("line %d\n", i)
		time.Sleep(time.Millisecond)
	}
	waitFor(t, func() bool { l := tail(t, c, "web", "prod", 1); return len(l) == 1 && l[0].Text == "line 19" })
	must(t, c.Remove("web", "prod"))
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
	p.print("anew\n")
	p.exit()
	if got := texts(tail(t, c, "web", "prod", 9)); !slices.Equal(got, []string{"anew"}) {
		t.Errorf("got %q", got)
	}
	must(t, c.Remove("web", "never-was"))
	if err := c.Remove("web", "../x"); err == nil {
		t.Error("removed outside")
	}
	if err := c.Remove("..", "x"); err == nil {
		t.Error("removed outside")
	}
}

func TestAttachAndCloseAtOnce(t *testing.T) {
	t.Parallel()
	for range 50 {
		c := New(Config{Dir: t.TempDir()})
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		for i := range uint64(4) {
			all.Go(func() {
				r, w, err := os.Pipe()
				if err != nil {
					t.Error(err)
					return
				}
				defer w.Close()
				fmt.Fprintln(w, "hello")
				c.Attach(ctx, key("web", "prod", i), r, io.NopCloser(strings.NewReader("there")))
			})
		}
		all.Go(cancel)
		all.Go(func() {
			if err := c.Close(t.Context()); err != nil {
				t.Error(err)
			}
		})
		all.Wait()
		must(t, c.Close(t.Context()))
		if len(c.attached) != 0 || len(c.files) != 0 {
			t.Fatalf("left over: %v, %v", c.attached, c.files)
		}
	}
}
