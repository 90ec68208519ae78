package namespace_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/tenement/ten/runtimes"
	"github.com/tenement/ten/runtimes/launch"
	"github.com/tenement/ten/runtimes/namespace"
	"github.com/tenement/ten/runtimes/runtimetest"
)

// BenchmarkRunning starts instances, waits for each and has both outputs of each
// being read, as a daemon does, and tells what one costs: the daemon in memory
// and threads, and its init.
func BenchmarkRunning(b *testing.B) {
	const instances = 200
	program, err := runtimetest.Init()
	if err != nil {
		b.Fatal(err)
	}
	l, err := launch.New(launch.Config{
		RunDir: filepath.Join(b.TempDir(), "run"), CgroupParent: runtimetest.CgroupParent(b.TempDir()), Init: program,
		Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	r := namespace.New(l)
	if err := r.Check(b.Context()); err != nil {
		b.Skip(err)
	}
	spec := runtimes.Spec{
		Key: runtimes.Key{ID: runtimes.ID{Service: "sleep", Instance: "x"}}, Level: runtimes.Namespace,
		Command: []string{"/bin/sleep", "1000"}, Dir: "/", StopSignal: "SIGKILL",
	}
	for b.Loop() {
		before, threads := status(b, "self")
		ctx, cancel := context.WithCancel(b.Context())
		pid := 0
		for i := range uint64(instances) {
			spec.Key.Generation = i + 1
			in, err := r.Start(ctx, spec)
			if err != nil {
				b.Fatal(err)
			}
			pid = in.Pid
			go r.Wait(ctx, spec.Key)
			out, errs, err := r.Output(spec.Key)
			if err != nil {
				b.Fatal(err)
			}
			for _, pipe := range []interface {
				Read([]byte) (int, error)
				Close() error
			}{out, errs} {
				go func() {
					defer pipe.Close()
					var buf [64]byte
					for {
						if _, err := pipe.Read(buf[:]); err != nil {
							return
						}
					}
				}()
			}
		}
		began := time.Now()
		if list, err := r.List(ctx); err != nil || len(list) != instances {
			b.Fatalf("List shows %d of %d instances, %v", len(list), instances, err)
		}
		b.ReportMetric(float64(time.Since(began).Microseconds())/instances, "List-us/instance")
		runtime.GC()
		after, more := status(b, "self")
		initRSS, _ := status(b, fmt.Sprint(parentOf(b, pid)))
		b.ReportMetric(float64(after-before)/instances, "daemon-kB/instance")
		b.ReportMetric(float64(more-threads), "daemon-threads-more")
		b.ReportMetric(float64(initRSS), "init-kB")
		for i := range uint64(instances) {
			spec.Key.Generation = i + 1
			if err := r.Stop(ctx, spec.Key); err != nil {
				b.Fatal(err)
			}
		}
		cancel()
	}
}

// status reads how much memory a process has, in kB, and how many threads.
func status(b *testing.B, pid string) (rss, threads int) {
	b.Helper()
	content, err := os.ReadFile("/proc/" + pid + "/status")
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(content)) {
		fmt.Sscanf(line, "VmRSS: %d", &rss)
		fmt.Sscanf(line, "Threads: %d", &threads)
	}
	return rss, threads
}

func parentOf(b *testing.B, pid int) (parent int) {
	b.Helper()
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(content)) {
		fmt.Sscanf(line, "PPid: %d", &parent)
	}
	return parent
}
