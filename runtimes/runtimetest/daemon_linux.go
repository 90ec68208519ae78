package runtimetest

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tenement/ten/runtimes"
)

// killedDaemon kills the daemon that started an instance. The instance goes on,
// and what it writes meanwhile is there for the next daemon.
func killedDaemon(b *bench) {
	spec := b.shell("i=0; while :; do echo line $i; i=$((i+1)); echo $i > count; sleep 0.02; done")
	cmd := b.startDaemon(false, spec)
	before := b.only()
	b.killDaemon(cmd)
	at := b.made("count")
	b.eventually("it goes on", func() bool { return b.made("count") != at })
	b.reopen()
	after := b.only()
	if after.Pid != before.Pid || after.Phase != runtimes.Running {
		b.Fatalf("after the kill: %s pid %d, want running %d", after.Phase, after.Pid, before.Pid)
	}
	done := make(chan string, 1)
	out, errs := b.readers(spec.Key)
	defer errs.Close()
	defer out.Close()
	go func() { done <- b.drain(out) }()
	ended := make(chan runtimes.Exit, 1)
	go func() {
		exit, _ := b.r.Wait(b.Context(), spec.Key)
		ended <- exit
	}()
	b.eventually("it writes while it is read", func() bool {
		n, err := strconv.Atoi(strings.TrimSpace(b.made("count")))
		return err == nil && n >= 6
	})
	b.stop(spec.Key)
	if exit := <-ended; !exit.Known || exit.Signal != int(syscall.SIGTERM) {
		b.Errorf("Wait on an adopted instance says %+v", exit)
	}
	lines := strings.Split(strings.TrimSuffix(<-done, "\n"), "\n")
	for i, line := range lines {
		if line != fmt.Sprintf("line %d", i) {
			b.Fatalf("output line %d is %q", i, line)
		}
	}
	if len(lines) < 3 {
		b.Errorf("only %d lines of output", len(lines))
	}
	b.bare()
}

// churn kills a daemon at random moments of starting and stopping. Whatever the
// moment, what runs is listed, what is listed can be stopped, and nothing else
// is left.
func churn(b *bench) {
	mark := marker()
	specs := make([]runtimes.Spec, 3)
	for i := range specs {
		specs[i] = b.spec("/bin/sh", "-c", "sleep "+mark+" & exec sleep "+mark)
		specs[i].Key.Instance = fmt.Sprint(i)
		specs[i].Mounts = []runtimes.Mount{{Path: b.data, Writable: true}}
		if i == 0 {
			specs[i].Limits.CPUShares = cpuSharesIfPossible()
		}
	}
	rounds := 40
	if testing.Short() {
		rounds = 8
	}
	for round := range rounds {
		for i := range specs {
			specs[i].Key.Generation += 1000
		}
		cmd := b.startDaemon(true, specs...)
		time.Sleep(time.Duration(rand.IntN(30_000)) * time.Microsecond)
		b.killDaemon(cmd)
		b.reopen()
		for _, in := range b.list() {
			if in.Phase == runtimes.Running && in.Pid == 0 {
				b.Errorf("round %d: %s runs without a program", round, in.Spec.Key)
			}
			if err := b.r.Stop(b.ctx(), in.Spec.Key); err != nil {
				b.Fatalf("round %d: stop %s in phase %s: %v", round, in.Spec.Key, in.Phase, err)
			}
		}
		// An init whose daemon died before the go byte leaves by itself, and a
		// List after that removes what it was started with.
		b.eventually("nothing is left", func() bool {
			b.list()
			return len(marked(mark)) == 0 && len(b.leftovers()) == 0
		})
		if b.Failed() {
			b.Fatalf("in round %d", round)
		}
	}
}

// record finds the file that describes the only incarnation.
func (b *bench) record() string {
	b.Helper()
	var found []string
	filepath.WalkDir(b.dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			found = append(found, path)
		}
		return nil
	})
	if len(found) != 1 {
		b.Fatalf("files of one instance: %v", found)
	}
	return found[0]
}

// brokenRecord damages the record of a running instance. It must stay listed
// and be stoppable, and its neighbours must not suffer.
func brokenRecord(b *bench) {
	damages := map[string]func([]byte) []byte{
		"cut off":    func(c []byte) []byte { return c[:len(c)*2/3] },
		"emptied":    func([]byte) []byte { return nil },
		"overturned": func(c []byte) []byte { return bytes.Repeat([]byte("x"), len(c)) },
		"zeroed":     func(c []byte) []byte { return make([]byte, len(c)) },
		"of later":   func(c []byte) []byte { return bytes.Replace(c, []byte(`"version":1`), []byte(`"version":9`), 1) },
	}
	neighbour := b.spec(Forever...)
	neighbour.Key.Instance = "neighbour"
	for name, damage := range damages {
		spec := b.spec(Forever...)
		in := b.start(spec)
		path := b.record()
		content, err := os.ReadFile(path)
		if err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(path, damage(content), 0o600); err != nil {
			b.Fatal(err)
		}
		b.start(neighbour)
		b.reopen()
		list := b.list()
		i := slices.IndexFunc(list, func(in runtimes.Instance) bool { return in.Spec.Key == spec.Key })
		if len(list) != 2 || i < 0 {
			b.Fatalf("%s: List shows %+v, want both", name, list)
		}
		if got := list[i]; got.Pid != in.Pid || got.Phase != runtimes.Running || got.Spec.Digest != "" {
			b.Errorf("%s: List shows %+v, want it running without a digest", name, got)
		}
		b.stop(spec.Key)
		if syscall.Kill(in.Pid, 0) == nil {
			b.Errorf("%s: the program outlived Stop", name)
		}
		b.stop(neighbour.Key)
		b.bare()
	}
}

// otherBoot takes the record of an instance into another boot of the machine,
// where its pid says nothing.
func otherBoot(b *bench) {
	spec := b.spec(Forever...)
	in := b.start(spec)
	path := b.record()
	content, err := os.ReadFile(path)
	if err != nil {
		b.Fatal(err)
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		b.Fatal(err)
	}
	past := bytes.Replace(content, bytes.TrimSpace(boot), []byte("00000000-0000-4000-8000-000000000000"), 1)
	if bytes.Equal(past, content) {
		b.Fatal("the record does not name the boot")
	}
	if err := os.WriteFile(path, past, 0o600); err != nil {
		b.Fatal(err)
	}
	got := b.only()
	if got.Phase != runtimes.Failed || got.Exit == nil || got.Exit.Known || got.Pid != 0 || got.Spec.Digest != spec.Digest {
		b.Errorf("after a reboot List shows %+v", got)
	}
	if exit := b.wait(spec.Key); exit.Known {
		b.Errorf("after a reboot Wait says %+v", exit)
	}
	// Put it back: it is alive, and Stop shall see it.
	if err := os.WriteFile(path, content, 0o600); err != nil {
		b.Fatal(err)
	}
	if got := b.only(); got.Pid != in.Pid {
		b.Errorf("List shows %+v", got)
	}
}
