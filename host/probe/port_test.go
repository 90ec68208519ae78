package probe

import (
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"
)

func TestFreeSeesEveryListener(t *testing.T) {
	t.Parallel()
	for _, address := range []string{"127.0.0.1:0", "0.0.0.0:0", "127.0.0.2:0", "[::1]:0", "[::]:0"} {
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Logf("%s can't be tried here: %v", address, err)
			continue
		}
		port := portOf(t, l)
		if Free(port) {
			t.Errorf("a listener on %s counts as free", address)
		}
		l.Close()
		if !Free(port) {
			t.Errorf("the port is taken after the listener on %s went", address)
		}
	}
	for _, port := range []int{0, -1, 65536} {
		if Free(port) {
			t.Errorf("port %d counts as free", port)
		}
	}
}

func TestFreeDoesNotMindOldConnections(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	server.Close() // closes first: this side goes to TIME_WAIT
	client.Close()
	l.Close()
	if !Free(portOf(t, l)) {
		t.Error("a port with a connection in TIME_WAIT counts as taken; a server could listen there")
	}
}

func TestFreePort(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	taken := portOf(t, l)
	if port, err := FreePort(taken, taken, nil); err == nil {
		t.Errorf("got %d, which somebody listens on", port)
	}
	if port, err := FreePort(taken, taken-1, nil); err == nil {
		t.Errorf("got %d of an empty range", port)
	}
	used := map[int]bool{}
	for range 50 {
		port, err := FreePort(21000, 21200, used)
		if err != nil {
			t.Fatal(err)
		}
		if port < 21000 || port > 21200 || used[port] {
			t.Fatalf("got %d", port)
		}
		used[port] = true
	}
	for port := 21000; port <= 21200; port++ {
		used[port] = true
	}
	if _, err := FreePort(21000, 21200, used); err == nil || !strings.Contains(err.Error(), "21000-21200") {
		t.Errorf("error %v", err)
	}
	from, to := ephemeral()
	if from > 30100 {
		// Two daemons that ask at once must rarely be told the same.
		seen := map[int]bool{}
		for range 20 {
			port, err := FreePort(30000, 40000, nil)
			if err != nil || (port >= from && port <= to) {
				t.Fatalf("got %d, %v: the kernel may give it to an outgoing connection", port, err)
			}
			seen[port] = true
		}
		if len(seen) < 10 {
			t.Errorf("20 calls gave only %d ports", len(seen))
		}
	}
}

func TestHolder(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("only Linux tells who listens")
	}
	for _, address := range []string{"127.0.0.1:0", "[::]:0"} {
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Logf("%s can't be tried here: %v", address, err)
			continue
		}
		port := portOf(t, l)
		pid, command, ok := Holder(port)
		if !ok || pid != os.Getpid() || !strings.Contains(command, "probe.test") {
			t.Errorf("%s is held by %d %q %v", address, pid, command, ok)
		}
		if h, _, yes := Stranger(port, os.Getpid()); yes {
			t.Errorf("%s: the listener itself counts as a stranger, held by %d", address, h)
		}
		l.Close()
		if pid, command, ok := Holder(port); ok {
			t.Errorf("a free port is held by %d %q", pid, command)
		}
	}
	for _, nonsense := range []int{0, -5, 1 << 20} {
		if _, _, ok := Holder(nonsense); ok {
			t.Errorf("port %d is held", nonsense)
		}
	}
}

func TestStranger(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("only Linux tells who listens")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	port := portOf(t, l)
	time.Sleep(30 * time.Millisecond) // a clock tick and more: the program is younger than we are

	program := func(extra ...*os.File) int {
		cmd := exec.Command("sleep", "60")
		cmd.ExtraFiles = extra
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
		return cmd.Process.Pid
	}
	pid, command, yes := Stranger(port, program())
	if !yes || pid != os.Getpid() || !strings.Contains(command, "probe.test") {
		t.Errorf("an older listener: %d %q %v", pid, command, yes)
	}
	socket, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	if pid, _, yes := Stranger(port, program(socket)); yes {
		t.Errorf("a socket that was passed to the program counts as a stranger's, held by %d", pid)
	}
	if pid, _, yes := Stranger(port, os.Getppid()); yes {
		t.Errorf("a child's listener counts as a stranger's, held by %d", pid)
	}
}

func BenchmarkFree(b *testing.B) {
	for b.Loop() {
		Free(29999)
	}
}
