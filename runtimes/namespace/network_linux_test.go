package namespace_test

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
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

// benchLevel is the level over a directory of its own.
func benchLevel(b *testing.B) *namespace.Runtime {
	b.Helper()
	program, err := runtimetest.Init()
	if err != nil {
		b.Fatal(err)
	}
	dir := b.TempDir()
	l, err := launch.New(launch.Config{RunDir: filepath.Join(dir, "run"), CgroupParent: runtimetest.CgroupParent(dir), Init: program, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { l.Close() })
	r := namespace.New(l)
	if err := r.Check(b.Context()); err != nil {
		b.Skip(err)
	}
	return r
}

// report gives the medians of what was timed in turns, and how each compares
// with the one named peer.
func report(b *testing.B, times map[string][]time.Duration, peer string) {
	p50 := map[string]float64{}
	for name, list := range times {
		slices.Sort(list)
		p50[name] = float64(list[len(list)/2].Nanoseconds()) / 1000
		b.ReportMetric(p50[name], name+"-p50-us")
	}
	for name := range times {
		if name != peer {
			b.ReportMetric(p50[name]/p50[peer], name+"/"+peer)
		}
	}
}

// BenchmarkDial measures a connection into an instance's own network against a
// plain one to the same program in the host's.
func BenchmarkDial(b *testing.B) {
	const python = "/usr/bin/python3"
	if _, err := exec.LookPath(python); err != nil {
		b.Skip("needs " + python)
	}
	r := benchLevel(b)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	address := fmt.Sprintf("127.0.0.1:%d", port)
	script := fmt.Sprintf("import socket\ns = socket.create_server(('127.0.0.1', %d))\nwhile True: s.accept()[0].close()", port)
	keys := map[string]runtimes.Key{}
	for i, network := range []string{runtimes.NetworkNone, runtimes.NetworkHost} {
		spec := runtimes.Spec{
			Key: runtimes.Key{ID: runtimes.ID{Service: "dial", Instance: network}, Generation: uint64(i + 1)}, Level: runtimes.Namespace,
			Command: []string{python, "-c", script}, Dir: "/", StopSignal: "SIGKILL", Network: network,
		}
		if _, err := r.Start(b.Context(), spec); err != nil {
			b.Fatal(err)
		}
		defer r.Stop(b.Context(), spec.Key)
		keys[network] = spec.Key
	}
	dials := map[string]func() (net.Conn, error){
		"plain":  func() (net.Conn, error) { return net.Dial("tcp", address) },
		"inside": func() (net.Conn, error) { return r.Dial(b.Context(), keys[runtimes.NetworkNone], "tcp", address) },
	}
	for name, dial := range dials {
		for deadline := time.Now().Add(20 * time.Second); ; {
			c, err := dial()
			if err == nil {
				c.Close()
				break
			}
			if time.Now().After(deadline) {
				b.Fatalf("%s: %v", name, err)
			}
			time.Sleep(time.Millisecond)
		}
	}
	times := map[string][]time.Duration{}
	for b.Loop() {
		for name, dial := range dials {
			began := time.Now()
			c, err := dial()
			if err != nil {
				b.Fatal(err)
			}
			times[name] = append(times[name], time.Since(began))
			io.Copy(io.Discard, c) // until it was accepted
			c.Close()
		}
	}
	report(b, times, "plain")
}

// BenchmarkNetworkNone measures what a network namespace adds to a start, and
// that it stays ahead of bwrap, which makes one too.
func BenchmarkNetworkNone(b *testing.B) {
	r := benchLevel(b)
	spec := runtimes.Spec{
		Key: runtimes.Key{ID: runtimes.ID{Service: "true", Instance: "x"}}, Level: runtimes.Namespace,
		Command: []string{"/bin/true"}, Dir: "/", StopSignal: "SIGTERM",
	}
	run := func(network string) {
		spec.Key.Generation++
		spec.Network = network
		if _, err := r.Start(b.Context(), spec); err != nil {
			b.Fatal(err)
		}
		if _, err := r.Wait(b.Context(), spec.Key); err != nil {
			b.Fatal(err)
		}
	}
	times := map[string][]time.Duration{}
	bwrap, err := exec.LookPath("bwrap")
	for b.Loop() {
		for _, network := range []string{runtimes.NetworkNone, runtimes.NetworkHost} {
			began := time.Now()
			run(network)
			times[network] = append(times[network], time.Since(began))
			if err := r.Stop(b.Context(), spec.Key); err != nil {
				b.Fatal(err)
			}
		}
		if err == nil {
			began := time.Now()
			cmd := exec.Command(bwrap, "--unshare-all", "--ro-bind", "/", "/", "--proc", "/proc", "--tmpfs", "/tmp", "--tmpfs", "/dev/shm", "/bin/true")
			if err := cmd.Run(); err != nil {
				b.Fatal(err)
			}
			times["bwrap"] = append(times["bwrap"], time.Since(began))
		}
	}
	if err != nil {
		report(b, times, runtimes.NetworkHost)
		return
	}
	report(b, times, "bwrap")
}

// A network namespace goes when its instance does, whoever has dialled into it.
func TestNetworkIsLeftBehindByNobody(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	mine, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	alone := func(s *runtimes.Spec) { s.Network = runtimes.NetworkNone }
	line := "readlink /proc/self/ns/net"
	first, second := h.run(runtimes.Namespace, line, alone), h.run(runtimes.Namespace, line, alone)
	if first == mine || second == mine {
		t.Errorf("network namespaces %s and %s, the host's is %s", first, second, mine)
	}
	if got := h.run(runtimes.Namespace, line); got != mine {
		t.Errorf("unasked, the network namespace is %s, the host's %s", got, mine)
	}
	threads, err := filepath.Glob("/proc/self/task/*/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	for _, thread := range threads {
		if ns, err := os.Readlink(thread); err == nil && ns != mine {
			t.Errorf("a thread of the daemon has stayed in %s", ns)
		}
	}
}
