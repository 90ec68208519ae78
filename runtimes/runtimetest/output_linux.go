package runtimetest

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/tenement/ten/runtimes"
)

// readers opens the output of an incarnation, or skips for a level that keeps none.
func (b *bench) readers(key runtimes.Key) (stdout, stderr io.ReadCloser) {
	b.Helper()
	o, ok := b.r.(runtimes.Outputter)
	if !ok {
		b.Skip("this level keeps no output")
	}
	stdout, stderr, err := o.Output(key)
	if err != nil {
		b.Fatalf("output: %v", err)
	}
	return stdout, stderr
}

// read takes all output, to its end.
func (b *bench) read(key runtimes.Key) (stdout, stderr string) {
	b.Helper()
	out, errs := b.readers(key)
	defer out.Close()
	defer errs.Close()
	second := make(chan string, 1)
	go func() { second <- b.drain(errs) }()
	return b.drain(out), <-second
}

func (b *bench) drain(r io.Reader) string {
	all := make(chan string, 1)
	go func() {
		content, err := io.ReadAll(r)
		if err != nil {
			content = append(content, "\nREAD ERROR "+err.Error()...)
		}
		all <- string(content)
	}()
	select {
	case content := <-all:
		return content
	case <-time.After(patience):
		return "NO END OF THE OUTPUT"
	}
}

func outputWhole(b *bench) {
	const lines = 20000
	spec := b.shell(fmt.Sprintf("i=0; while [ $i -lt %d ]; do echo line $i; i=$((i+1)); done; echo done >&2", lines))
	b.start(spec)
	stdout, stderr := b.read(spec.Key)
	var want strings.Builder
	for i := range lines {
		fmt.Fprintf(&want, "line %d\n", i)
	}
	if stdout != want.String() || stderr != "done\n" {
		b.Errorf("got %d bytes of output and %q, want %d and done", len(stdout), stderr, want.Len())
	}
}

// outputWaits writes as much as a pipe is promised to hold while nobody reads,
// then more.
func outputWaits(b *bench) {
	room, more := pipeRoom(), 4<<20
	spec := b.shell(fmt.Sprintf("head -c %d /dev/zero; touch first; head -c %d /dev/zero; touch second", room, more))
	b.start(spec)
	b.made("first")
	if _, err := os.Stat(filepath.Join(b.data, "second")); err == nil {
		b.Error("the program wrote more than the pipe holds, with nobody reading")
	}
	b.reopen()
	if stdout, _ := b.read(spec.Key); len(stdout) != room+more {
		b.Errorf("read %d bytes, want %d", len(stdout), room+more)
	}
	b.made("second")
}

// pipeRoom is what a pipe of ours holds: an ordinary user with many pipes gets less.
func pipeRoom() int {
	if os.Geteuid() != 0 {
		return 4096
	}
	return 1 << 20
}

// outputAfterEnd reads what nobody read while the instance lived, once.
func outputAfterEnd(b *bench) {
	spec := b.shell("echo early; echo oops >&2; head -c 100000 /dev/zero | tr '\\0' x; exit 3")
	b.start(spec)
	b.wait(spec.Key)
	b.reopen()
	want := "early\n" + strings.Repeat("x", 100000)
	if stdout, stderr := b.read(spec.Key); stdout != want || stderr != "oops\n" {
		b.Errorf("after the end: %d bytes and %q, want %d and oops", len(stdout), stderr, len(want))
	}
	if stdout, stderr := b.read(spec.Key); stdout != "" || stderr != "" {
		b.Errorf("a second reader got it again: %d bytes and %q", len(stdout), stderr)
	}
	if exit := b.wait(spec.Key); exit.Code != 3 {
		b.Errorf("reading changed the exit to %+v", exit)
	}
}
