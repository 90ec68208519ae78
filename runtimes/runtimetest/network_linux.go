package runtimetest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/tenement/ten/runtimes"
)

// greeter answers each connection to a port on the loopback with a word.
const greeter = `
import socket, os, sys
s = socket.create_server(("127.0.0.1", int(sys.argv[1])))
open("ready.new", "w").close(); os.rename("ready.new", "ready")
while True:
    c, _ = s.accept()
    c.sendall(sys.argv[2].encode())
    c.close()
`

func (b *bench) python(script string, args ...string) runtimes.Spec {
	b.Helper()
	const python = "/usr/bin/python3"
	if _, err := exec.LookPath(python); err != nil {
		b.Skip("needs " + python)
	}
	return b.spec(append([]string{python, "-c", script}, args...)...)
}

// loopbackPort gives a port that nobody on the host listens on.
func (b *bench) loopbackPort() int {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func (b *bench) dialer() runtimes.Dialer {
	b.Helper()
	d, ok := b.r.(runtimes.Dialer)
	if !ok {
		b.Skip("this level's instances have no network of their own")
	}
	return d
}

func greeting(conn net.Conn, err error) string {
	if err != nil {
		return err.Error()
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	line, _ := bufio.NewReader(conn).ReadString('\n')
	return line
}

// networkNone shows that an instance with a network of its own reaches nothing
// of the host's loopback, and that of the host only Dial reaches it; both work
// when the instance shares the host's network.
func networkNone(b *bench) {
	d := b.dialer()
	if b.level == runtimes.Process {
		spec := b.spec(Forever...)
		spec.Network = runtimes.NetworkNone
		_, err := b.r.Start(b.ctx(), spec)
		var s *runtimes.StartError
		if !errors.As(err, &s) || s.Step != "network" || s.Hint == "" {
			b.Errorf("network none without walls: %v, want a refusal with a hint", err)
		}
		return
	}
	host, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer host.Close()
	go func() {
		for {
			c, err := host.Accept()
			if err != nil {
				return
			}
			fmt.Fprint(c, "the host")
			c.Close()
		}
	}()
	abstract, err := net.Listen("unix", "@"+b.data)
	if err != nil {
		b.Fatal(err)
	}
	defer abstract.Close()
	attack := fmt.Sprintf(`
import socket, os
def to(family, address):
    with socket.socket(family) as s:
        s.settimeout(5)
        s.connect(address)
        return "reached"
out = []
for family, address in ((socket.AF_INET, ("127.0.0.1", %d)), (socket.AF_UNIX, "\0" + %q)):
    try: out.append(to(family, address))
    except OSError as e: out.append(os.strerror(e.errno))
out.append(",".join(name for _, name in socket.if_nameindex()))
print(";".join(out))
`, host.Addr().(*net.TCPAddr).Port, b.data)
	want := map[string]string{
		runtimes.NetworkNone: "Connection refused;Connection refused;lo\n",
		runtimes.NetworkHost: "reached;reached;",
	}
	for network, said := range want {
		spec := b.python(attack)
		spec.Network = network
		b.start(spec)
		out, errs := b.read(spec.Key)
		if !strings.HasPrefix(out, said) {
			b.Errorf("network %s: an instance says %q %s, want %q", network, out, errs, said)
		}
		b.stop(spec.Key)
	}
	for network := range want {
		port := b.loopbackPort()
		spec := b.python(greeter, fmt.Sprint(port), network)
		spec.Network, spec.Port = network, port
		b.start(spec)
		b.made("ready")
		address := fmt.Sprintf("127.0.0.1:%d", port)
		if said := greeting(d.Dial(b.ctx(), spec.Key, "tcp", address)); said != network {
			b.Errorf("network %s: Dial meets %q", network, said)
		}
		said := greeting(net.DialTimeout("tcp", address, patience))
		if reached := said == network; reached != (network == runtimes.NetworkHost) {
			b.Errorf("network %s: from the host, %s says %q", network, address, said)
		}
		b.stop(spec.Key)
		os.Remove(filepath.Join(b.data, "ready"))
	}
}

// dialInside holds Dial to its promises: two instances have the same port, a
// restarted daemon reaches them, it ends with its context, and an address where
// nobody listens or an instance that has ended is a refusal at once.
func dialInside(b *bench) {
	b.dialer()
	if b.level == runtimes.Process {
		b.Skip("has no network of its own")
	}
	specs := map[string]runtimes.Spec{}
	for _, name := range []string{"one", "two"} {
		spec := b.python(strings.ReplaceAll(greeter, `"ready`, `"`+name+`-ready`), "8080", name)
		spec.Network, spec.Key.Instance = runtimes.NetworkNone, name
		specs[name] = spec
		b.start(spec)
	}
	for name := range specs {
		b.made(name + "-ready")
	}
	b.reopen()
	d := b.dialer()
	for range 20 {
		for name, spec := range specs {
			if said := greeting(d.Dial(b.ctx(), spec.Key, "tcp", "127.0.0.1:8080")); said != name {
				b.Fatalf("Dial of %s meets %q", name, said)
			}
		}
	}
	key := specs["one"].Key
	for _, address := range []string{"127.0.0.1:8081", "[::1]:8080"} {
		if _, err := d.Dial(b.ctx(), key, "tcp", address); !errors.Is(err, syscall.ECONNREFUSED) {
			b.Errorf("%s, where nobody listens: %v", address, err)
		}
	}
	for _, address := range []string{"localhost:8080", "127.0.0.1", ""} {
		if _, err := d.Dial(b.ctx(), key, "tcp", address); err == nil {
			b.Errorf("address %q was accepted", address)
		}
	}
	gone, cancel := context.WithCancel(b.ctx())
	cancel()
	if _, err := d.Dial(gone, key, "tcp", "127.0.0.1:8080"); err == nil {
		b.Error("Dial went on after its context had ended")
	}
	syscall.Kill(b.list()[0].Pid, syscall.SIGKILL)
	b.wait(key)
	if _, err := d.Dial(b.ctx(), key, "tcp", "127.0.0.1:8080"); !errors.Is(err, syscall.ECONNREFUSED) {
		b.Errorf("an instance that has ended: %v, want a refusal", err)
	}
	b.stop(key)
	if _, err := d.Dial(b.ctx(), key, "tcp", "127.0.0.1:8080"); !errors.Is(err, runtimes.ErrNotFound) {
		b.Errorf("an instance that is gone: %v, want ErrNotFound", err)
	}
}
