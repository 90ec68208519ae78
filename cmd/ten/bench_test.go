package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// real makes the world run the program that users install, not this test binary.
func (w *world) real() {
	w.t.Helper()
	w.ten = filepath.Join(w.root, "ten-real")
	w.run(moduleRoot(w.t), "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", w.ten, "./cmd/ten")
}

// rss is a process's resident memory in bytes.
func rss(tb testing.TB, pid int) int64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		tb.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if kb, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			n, err := strconv.ParseInt(strings.Fields(kb)[0], 10, 64)
			if err != nil {
				tb.Fatal(err)
			}
			return n << 10
		}
	}
	tb.Fatal("no VmRSS")
	return 0
}

func p50(all []time.Duration) float64 {
	slices.Sort(all)
	return float64(all[len(all)/2]) / float64(time.Millisecond)
}

// BenchmarkPushToHealthy is the time from the end of `git push` to a new
// instance that is healthy and a host that is in sync, beside the program's own
// start: from fork to its first answer, without ten.
// Bar: 300 ms p50 beyond the program's own start.
func BenchmarkPushToHealthy(b *testing.B) {
	w := newWorld(b)
	w.real()
	w.write("services/web.toml", w.service("web", "0"))
	rev := w.push("first")
	w.serve()
	w.await(rev)
	var pushed, bare []time.Duration
	for n := range 15 {
		w.write("services/web.toml", w.service("web", strconv.Itoa(n+1)))
		rev = w.push("next")
		began := time.Now()
		w.await(rev)
		pushed = append(pushed, time.Since(began))
		bare = append(bare, w.ownStart())
	}
	b.ReportMetric(p50(pushed), "push-ms/p50")
	b.ReportMetric(p50(bare), "own-start-ms/p50")
	b.ReportMetric(p50(pushed)-p50(bare), "beyond-ms/p50")
	b.ReportMetric(0, "ns/op")
	w.down()
}

// ownStart is how long the program takes from fork to its first answer by itself.
func (w *world) ownStart() time.Duration {
	port := freeTCPPort(w.t)
	cmd := exec.Command(filepath.Join(w.clone, "prog", w.program))
	cmd.Env = []string{"PORT=" + strconv.Itoa(port)}
	began := time.Now()
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	for !answers(port) {
		time.Sleep(200 * time.Microsecond)
	}
	took := time.Since(began)
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	return took
}

// BenchmarkPs is the wall time of `ten ps` against a daemon with a few instances.
// Bar: 60 ms.
func BenchmarkPs(b *testing.B) {
	w := newWorld(b)
	w.real()
	for i := range 5 {
		w.write(fmt.Sprintf("services/s%d.toml", i), w.service(fmt.Sprintf("s%d", i), "0"))
	}
	rev := w.push("first")
	w.serve()
	w.await(rev)
	var all []time.Duration
	for range 40 {
		began := time.Now()
		w.run("", w.ten, "ps", "--data-dir", w.data)
		all = append(all, time.Since(began))
	}
	b.ReportMetric(p50(all), "ps-ms/p50")
	b.ReportMetric(0, "ns/op")
	w.down()
}

// settled is the daemon's resident memory after a round of probes.
func (w *world) settled() float64 {
	time.Sleep(12 * time.Second)
	return float64(rss(w.t, w.daemon.Process.Pid))
}

// BenchmarkMemoryAsleep is the daemon's resident memory with 5,000 declared
// sleeping instances. Bar: 80 MB.
func BenchmarkMemoryAsleep(b *testing.B) {
	w := newWorld(b)
	w.real()
	for i := range 5000 {
		name := fmt.Sprintf("t%d", i)
		w.write("services/"+name+".toml", w.service(name, "x")+"on_demand = true\n")
	}
	rev := w.push("asleep")
	w.serve()
	w.await(rev)
	b.ReportMetric(w.settled()/(1<<20), "MB")
	b.ReportMetric(0, "ns/op")
	w.down()
}

// BenchmarkMemoryRunning is what each running instance adds to the daemon, once
// some run: a first one costs what all share. Bar: 50 KB.
func BenchmarkMemoryRunning(b *testing.B) {
	w := newWorld(b)
	w.real()
	with := func(running int) float64 {
		ids := make([]string, running)
		for i := range ids {
			ids[i] = strconv.Quote(fmt.Sprintf("i%d", i))
		}
		w.write("services/busy.toml", strings.Replace(w.service("busy", "x"), `instances = ["a"]`, "instances = ["+strings.Join(ids, ",")+"]", 1))
		rev := w.push(fmt.Sprintf("%d awake", running))
		if w.daemon == nil {
			w.serve()
		}
		w.await(rev)
		return w.settled()
	}
	const some, many = 50, 350
	first := with(some)
	b.ReportMetric((with(many)-first)/(many-some)/(1<<10), "KB/instance")
	b.ReportMetric(0, "ns/op")
	w.down()
}

func freeTCPPort(tb testing.TB) int {
	tb.Helper()
	l, err := listenLoopback()
	if err != nil {
		tb.Fatal(err)
	}
	defer l.Close()
	return portOf(l)
}

func listenLoopback() (net.Listener, error) { return net.Listen("tcp", "127.0.0.1:0") }

func portOf(l net.Listener) int { return l.Addr().(*net.TCPAddr).Port }

func answers(port int) bool {
	c, err := net.Dial("tcp", "127.0.0.1:"+strconv.Itoa(port))
	if err != nil {
		return false
	}
	c.Close()
	return true
}
