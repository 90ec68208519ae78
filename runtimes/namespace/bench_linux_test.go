package namespace_test

import (
	"log/slog"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/tenement/ten/runtimes"
	"github.com/tenement/ten/runtimes/launch"
	"github.com/tenement/ten/runtimes/namespace"
	"github.com/tenement/ten/runtimes/runtimetest"
)

// rounds are what a p50 is of, whatever -benchtime says.
const rounds = 200

// BenchmarkTrue measures /bin/true from start to exit: Start and Wait as the
// daemon calls them, run directory and record included. Its peers run in turns
// with it, so that what else the machine does hits all of them: bwrap with the
// same view of the host, and the bare program. Stop, which removes the run
// directory, is not part of the time, as bwrap keeps nothing to remove.
func BenchmarkTrue(b *testing.B) {
	dir := b.TempDir()
	program, err := runtimetest.Init()
	if err != nil {
		b.Fatal(err)
	}
	l, err := launch.New(launch.Config{RunDir: filepath.Join(dir, "run"), CgroupParent: "ten-bench", Init: program, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	r := namespace.New(l)
	if err := r.Check(b.Context()); err != nil {
		b.Skip(err)
	}
	peers := map[string][]string{"bare": {"/bin/true"}}
	if bwrap, err := exec.LookPath("bwrap"); err == nil {
		view := []string{"--ro-bind", "/", "/", "--proc", "/proc", "--tmpfs", "/tmp", "--tmpfs", "/dev/shm", "/bin/true"}
		peers["bwrap"] = append([]string{bwrap, "--unshare-all"}, view...)
		peers["bwrap-share-net"] = append([]string{bwrap, "--unshare-all", "--share-net"}, view...)
	}
	times := map[string][]time.Duration{}
	spec := runtimes.Spec{
		Key: runtimes.Key{ID: runtimes.ID{Service: "true", Instance: "x"}}, Level: runtimes.Namespace,
		Command: []string{"/bin/true"}, Dir: "/", StopSignal: "SIGTERM",
	}
	for b.Loop() {
		for range rounds {
			spec.Key.Generation++
			began := time.Now()
			if _, err := r.Start(b.Context(), spec); err != nil {
				b.Fatal(err)
			}
			if _, err := r.Wait(b.Context(), spec.Key); err != nil {
				b.Fatal(err)
			}
			times["ten"] = append(times["ten"], time.Since(began))
			if err := r.Stop(b.Context(), spec.Key); err != nil {
				b.Fatal(err)
			}
			for name, argv := range peers {
				began := time.Now()
				if err := exec.Command(argv[0], argv[1:]...).Run(); err != nil {
					b.Fatalf("%s: %v", name, err)
				}
				times[name] = append(times[name], time.Since(began))
			}
		}
	}
	p50 := map[string]float64{}
	for name, list := range times {
		slices.Sort(list)
		p50[name] = float64(list[len(list)/2].Microseconds()) / 1000
		b.ReportMetric(p50[name], name+"-p50-ms")
	}
	for name := range peers {
		b.ReportMetric(p50["ten"]/p50[name], "ten/"+name)
	}
}
