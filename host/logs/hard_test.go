package logs

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tenement/ten/runtimes"
)

// safeBuffer is a buffer that several goroutines write to.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func TestFullDiskNeverBlocksTheInstance(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skipf("no full disk to be had here: %v", err)
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "web", "prod.log")
	must(t, os.MkdirAll(filepath.Dir(path), 0o700))
	must(t, os.Symlink("/dev/full", path))
	var said safeBuffer
	c := newCollector(t, Config{Dir: dir, Log: slog.New(slog.NewTextHandler(&said, nil))})
	p := start(t, c, key("web", "prod", 1))
	const lost = 5000 // 500 KB, far more than a pipe holds
	for i := range lost {
		p.print("%d %s\n", i, strings.Repeat("x", 100))
	}
	waitFor(t, func() bool { return strings.Contains(said.String(), "no space left") })
	// The pipe empties although nothing can be written.
	time.Sleep(2 * retryEvery)
	must(t, os.Remove(path))
	for i := 0; ; i++ {
		p.print("space again %d\n", i)
		time.Sleep(10 * time.Millisecond)
		if strings.Contains(said.String(), "kept again") {
			break
		}
		if i > 1000 {
			t.Fatal("the log was not kept again")
		}
	}
	p.exit()
	got := texts(tail(t, c, "web", "prod", 1<<20))
	if len(got) < 2 {
		t.Fatalf("got %q", got)
	}
	var n int
	if _, err := fmt.Sscanf(got[0], "[ten: %d lines lost here", &n); err != nil || n < lost {
		t.Errorf("the log begins with %q, at least %d lines were lost", got[0], lost)
	}
	if !strings.HasPrefix(got[1], "space again") {
		t.Errorf("then comes %q", got[1])
	}
	if n := strings.Count(said.String(), "log lines dropped"); n != 1 {
		t.Errorf("it was said %d times:\n%s", n, said.String())
	}
}

func TestNoDirectoryCanBeMade(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(dir, nil, 0o600))
	c := newCollector(t, Config{Dir: dir})
	p := start(t, c, key("web", "prod", 1))
	for range 5000 {
		p.print("%s\n", strings.Repeat("x", 100))
	}
	p.exit() // returns only when all of it was read
}

func TestRolloutSharesTheLog(t *testing.T) {
	t.Parallel()
	c := newCollector(t, Config{MaxFile: 50_000, Files: 20})
	var done sync.WaitGroup
	const lines = 3000
	for generation := range uint64(2) {
		p := start(t, c, key("web", "prod", generation+1))
		done.Go(func() {
			for i := range lines {
				p.print("%d says %d\n", p.key.Generation, i)
			}
			p.exit()
		})
	}
	done.Wait()
	next := map[int]int{}
	for _, text := range texts(tail(t, c, "web", "prod", 1<<20)) {
		var generation, i int
		if _, err := fmt.Sscanf(text, "%d says %d", &generation, &i); err != nil || i != next[generation] {
			t.Fatalf("line %q after %d lines of it", text, next[generation])
		}
		next[generation]++
	}
	if next[1] != lines || next[2] != lines {
		t.Errorf("lines kept: %v", next)
	}
}

// attachMany attaches n silent instances and returns what each costs in memory
// and goroutines.
func attachMany(t testing.TB, n int) (bytesEach int64, goroutinesEach float64) {
	c := newCollector(t, Config{})
	var readers [][2]*os.File
	var writers []*os.File
	for range n {
		outR, outW, err := os.Pipe()
		must(t, err)
		errR, errW, err := os.Pipe()
		must(t, err)
		readers = append(readers, [2]*os.File{outR, errR})
		writers = append(writers, outW, errW)
	}
	t.Cleanup(func() {
		for _, w := range writers {
			w.Close()
		}
	})
	var before, after runtime.MemStats
	goroutines := runtime.NumGoroutine()
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i, r := range readers {
		must(t, c.Attach(t.Context(), key("web", fmt.Sprint("i", i), 1), r[0], r[1]))
		fmt.Fprintln(writers[2*i], "hello") // has its file open, as a real one
	}
	last := fmt.Sprint("i", n-1)
	waitFor(t, func() bool { return len(tail(t, c, "web", last, 1)) == 1 })
	runtime.GC()
	for range 6 { // empties the pools and lets the stacks shrink
		runtime.GC()
	}
	runtime.ReadMemStats(&after)
	used := int64(after.HeapInuse+after.StackInuse) - int64(before.HeapInuse+before.StackInuse)
	return used / int64(n), float64(runtime.NumGoroutine()-goroutines) / float64(n)
}

func TestSilentInstanceIsCheap(t *testing.T) {
	const n = 600 // at 4 pipe ends and a log each
	memory, goroutines := attachMany(t, n)
	t.Logf("%d bytes, %.2f goroutines each", memory, goroutines)
	most, few := int64(4<<10), 0.1
	if runtime.GOOS != "linux" { // a goroutine and a buffer a pipe
		most, few = 32<<10, 2.1
	}
	if memory > most && !raced || goroutines > few {
		t.Errorf("a silent instance costs %d bytes and %.2f goroutines", memory, goroutines)
	}
}

func BenchmarkCopy(b *testing.B) {
	for _, size := range []int{20, 100, 1000} {
		b.Run(fmt.Sprintf("line=%d", size), func(b *testing.B) {
			c := newCollector(b, Config{})
			p := start(b, c, key("web", "prod", 1))
			chunk := []byte(strings.Repeat(strings.Repeat("x", size-1)+"\n", 32<<10/size))
			b.SetBytes(int64(len(chunk)))
			for b.Loop() {
				if _, err := p.out.Write(chunk); err != nil {
					b.Fatal(err)
				}
			}
			p.exit()
		})
	}
}

// BenchmarkPeer is what a plain io.Copy from a pipe into a file takes.
func BenchmarkPeer(b *testing.B) {
	r, w, err := os.Pipe()
	must(b, err)
	f, err := os.Create(filepath.Join(b.TempDir(), "log"))
	must(b, err)
	defer f.Close()
	done := make(chan struct{})
	go func() { io.Copy(struct{ io.Writer }{f}, r); close(done) }()
	chunk := bytes.Repeat([]byte("x"), 32<<10)
	b.SetBytes(int64(len(chunk)))
	for b.Loop() {
		if _, err := w.Write(chunk); err != nil {
			b.Fatal(err)
		}
	}
	w.Close()
	<-done
}

func BenchmarkTail20Of10MB(b *testing.B) {
	dir := b.TempDir()
	must(b, os.MkdirAll(filepath.Join(dir, "web"), 0o700))
	line := append(appendStamp(nil, time.Unix(1, 0)), (" out " + strings.Repeat("x", 80) + "\n")...)
	must(b, os.WriteFile(filepath.Join(dir, "web", "prod.log"), bytes.Repeat(line, 10<<20/len(line)), 0o600))
	c := newCollector(b, Config{Dir: dir})
	for b.Loop() {
		if lines, err := c.Tail("web", "prod", 20); err != nil || len(lines) != 20 {
			b.Fatal(len(lines), err)
		}
	}
}

func FuzzLines(f *testing.F) {
	f.Add([]byte("a\nb\r\n\xff\n"), uint16(3))
	f.Add([]byte(strings.Repeat("x", maxLine+1)+"\ny"), uint16(1000))
	f.Fuzz(func(t *testing.T, printed []byte, piece uint16) {
		s := lines{stream: "out"}
		now := time.Unix(1, 0)
		s.begin(nil, now)
		for chunk := range slices.Chunk(printed, int(piece)+1) {
			for len(chunk) > 0 {
				n := s.take(chunk)
				if n <= 0 || n > len(chunk) {
					t.Fatalf("took %d of %d", n, len(chunk))
				}
				chunk = chunk[n:]
			}
			if len(s.rest) > maxLine {
				t.Fatalf("%d bytes are held", len(s.rest))
			}
		}
		s.finish()
		want := bytes.Count(printed, []byte("\n"))
		if len(printed) > 0 && printed[len(printed)-1] != '\n' {
			want++
		}
		got := 0
		for raw := range bytes.Lines(s.out) {
			got++
			if len(raw) > longest {
				t.Fatalf("a line of %d bytes", len(raw))
			}
			if l, ok := parse(runtimes.ID{}, bytes.TrimSuffix(raw, []byte("\n"))); !ok || l.Stream != "stdout" || !l.Time.Equal(now) {
				t.Fatalf("line %q does not read back", raw)
			}
		}
		if got != want || got != s.count {
			t.Fatalf("%d lines stored, %d counted, %d printed", got, s.count, want)
		}
	})
}
