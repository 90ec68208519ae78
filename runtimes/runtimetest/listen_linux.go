package runtimetest

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/tenement/ten/runtimes"
)

// place is one way to ask for a listening socket, with how to reach it.
type place struct {
	name string
	spec func(*runtimes.Spec)
	dial func(*bench, runtimes.Spec) (net.Conn, error)
}

func (b *bench) places() []place {
	unix := place{"unix",
		func(s *runtimes.Spec) { s.Socket = filepath.Join(b.data, "s") },
		func(b *bench, s runtimes.Spec) (net.Conn, error) {
			return b.dialer().Dial(b.ctx(), s.Key, "unix", s.Socket)
		}}
	tcp := place{"tcp",
		func(s *runtimes.Spec) { s.Port = b.loopbackPort() },
		func(b *bench, s runtimes.Spec) (net.Conn, error) {
			return net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", s.Port))
		}}
	alone := place{"tcp alone",
		func(s *runtimes.Spec) { s.Port, s.Network = 80, runtimes.NetworkNone },
		func(b *bench, s runtimes.Spec) (net.Conn, error) {
			return b.dialer().Dial(b.ctx(), s.Key, "tcp", "127.0.0.1:80")
		}}
	if b.level == runtimes.Process {
		return []place{unix, tcp}
	}
	return []place{unix, tcp, alone}
}

// activated is a program that takes its socket as file 3, says what it was told,
// and answers when it is let.
const activated = `
import os, socket, time
while not os.path.exists("go"): time.sleep(0.005)
s = socket.socket(fileno=3)
while True:
    c, _ = s.accept()
    c.sendall(("%s %s %s" % (os.environ["LISTEN_FDS"], os.environ["LISTEN_FDNAMES"], int(os.environ["LISTEN_PID"]) == os.getpid())).encode())
    c.close()
`

// listenQueues connects before the program takes its socket: what waits is
// answered. When the program dies, who comes is refused, until the next start.
func listenQueues(b *bench) {
	for i, at := range b.places() {
		os.Remove(filepath.Join(b.data, "go"))
		spec := b.python(activated)
		spec.ListenFDs, spec.Key.Generation = true, uint64(10*i+1)
		at.spec(&spec)
		in := b.start(spec)
		early, err := at.dial(b, spec)
		if err != nil {
			b.Errorf("%s: before the program takes its socket: %v", at.name, err)
			continue
		}
		os.WriteFile(filepath.Join(b.data, "go"), nil, 0o644)
		for _, who := range []func() (net.Conn, error){func() (net.Conn, error) { return early, nil }, func() (net.Conn, error) { return at.dial(b, spec) }} {
			if said := greeting(who()); said != "1 http True" {
				b.Errorf("%s: the program says %q", at.name, said)
			}
		}
		if at.name == "unix" {
			if info, err := os.Stat(spec.Socket); err != nil || info.Mode().Perm() != 0o600 {
				b.Errorf("the socket is %v, %v", info, err)
			}
		}
		syscall.Kill(in.Pid, syscall.SIGKILL)
		b.wait(spec.Key)
		if _, err := at.dial(b, spec); !errors.Is(err, syscall.ECONNREFUSED) {
			b.Errorf("%s: after a crash a connection gives %v, want a refusal", at.name, err)
		}
		next := spec
		next.Key.Generation++
		b.start(next)
		if said := greeting(at.dial(b, next)); said != "1 http True" {
			b.Errorf("%s: started again it says %q", at.name, said)
		}
		b.stop(spec.Key)
		if said := greeting(at.dial(b, next)); said != "1 http True" {
			b.Errorf("%s: once the one before was cleaned up, it says %q", at.name, said)
		}
		b.stop(next.Key)
		if _, err := os.Lstat(next.Socket); next.Socket != "" && err == nil {
			b.Errorf("%s: Stop left the socket", at.name)
		}
	}
}

// listenErrors are the places where nothing can listen.
func listenErrors(b *bench) {
	taken := filepath.Join(b.data, "taken")
	l, err := net.Listen("unix", taken)
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	port, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer port.Close()
	file := filepath.Join(b.data, "file")
	if err := os.WriteFile(file, []byte("kept"), 0o644); err != nil {
		b.Fatal(err)
	}
	cases := map[string]struct {
		change     func(*runtimes.Spec)
		step, hint string
		err        error
	}{
		"nowhere":            {func(*runtimes.Spec) {}, "spec", "", nil},
		"a path too long":    {func(s *runtimes.Spec) { s.Socket = filepath.Join(b.data, strings.Repeat("x", 108)) }, "listen", "107 bytes", syscall.ENAMETOOLONG},
		"another's socket":   {func(s *runtimes.Spec) { s.Socket = taken }, "listen", "somebody else", syscall.EADDRINUSE},
		"a file in the way":  {func(s *runtimes.Spec) { s.Socket = file }, "listen", "no socket", syscall.EADDRINUSE},
		"another's port":     {func(s *runtimes.Spec) { s.Port = port.Addr().(*net.TCPAddr).Port }, "listen", "somebody else", syscall.EADDRINUSE},
		"no such directory":  {func(s *runtimes.Spec) { s.Socket = b.data + "/none/s" }, "listen", "must exist", syscall.ENOENT},
		"no program for it?": {func(s *runtimes.Spec) { s.Socket, s.Command = b.data+"/s", []string{"no-such-command"} }, "exec", "PATH=", syscall.ENOENT},
	}
	for name, c := range cases {
		spec := b.spec(Forever...)
		spec.ListenFDs = true
		c.change(&spec)
		_, err := b.r.Start(b.ctx(), spec)
		var s *runtimes.StartError
		if !errors.As(err, &s) || s.Step != c.step || !strings.Contains(s.Hint, c.hint) || (c.err != nil && !errors.Is(err, c.err)) {
			b.Errorf("%s: %#v, want step %q, hint with %q, %v", name, err, c.step, c.hint, c.err)
		}
	}
	if got, err := os.ReadFile(file); err != nil || string(got) != "kept" {
		b.Errorf("the file in the way is %q, %v", got, err)
	}
	if c, err := net.Dial("unix", taken); err != nil {
		b.Errorf("another's socket after the refusal: %v", err)
	} else {
		c.Close()
	}
	if list := b.list(); len(list) != 0 {
		b.Errorf("failed starts left %+v", list)
	}
}

// listenFiles shows that the program has the socket and no other file more,
// that what systemd's own library checks is so, and that a child of the program
// is not meant.
func listenFiles(b *bench) {
	spec := b.python(`
import ctypes, ctypes.util, os, stat
print(",".join(f for f in sorted(os.listdir("/proc/self/fd"), key=int) if os.path.exists("/proc/self/fd/" + f)), stat.S_ISSOCK(os.fstat(3).st_mode))
try: lib = ctypes.CDLL("libsystemd.so.0")
except OSError: lib = None
if lib:
    child = os.fork()
    if child == 0: os._exit(lib.sd_listen_fds(0))
    _, status = os.waitpid(child, 0)
    print(lib.sd_listen_fds(0), os.waitstatus_to_exitcode(status), lib.sd_is_socket_unix(3, 1, 1, os.environ["SOCKET"].encode(), 0) > 0)
else: print("no libsystemd")
`)
	spec.ListenFDs, spec.Socket = true, filepath.Join(b.data, "s")
	spec.Env = append(spec.Env, "SOCKET="+spec.Socket)
	b.start(spec)
	out, errs := b.read(spec.Key)
	lines := strings.Split(out, "\n")
	if len(lines) < 2 || lines[0] != "0,1,2,3 True" {
		b.Fatalf("the program has files %q %s", out, errs)
	}
	switch lines[1] {
	case "no libsystemd":
		b.Log("libsystemd was not asked: it is not installed")
	case "1 0 True":
	default:
		b.Errorf("libsystemd says %q, want one socket, none in a child, and which", lines[1])
	}
}

// listenLanguages runs servers as they are written in their languages.
func listenLanguages(b *bench) {
	if testing.Short() {
		b.Skip("starts three languages at three places")
	}
	goSource, goProgram := filepath.Join(b.data, "t.go"), filepath.Join(b.data, "t")
	err := os.WriteFile(goSource, []byte(`package main
import ("fmt"; "net"; "net/http"; "os")
func main() {
	l, err := net.FileListener(os.NewFile(3, "http"))
	if err != nil { panic(err) }
	panic(http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "fine") })))
}
`), 0o644)
	if err != nil {
		b.Fatal(err)
	}
	programs := map[string][]string{
		"python": {"/usr/bin/python3", "-c", `
import http.server, socket
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(b"fine")
    def address_string(self): return "-"
s = http.server.HTTPServer(("", 0), H, bind_and_activate=False)
s.socket = socket.socket(fileno=3)
s.serve_forever()
`},
		"node": {"node", "-e", `require("http").createServer((q, r) => r.end("fine")).listen({fd: 3})`},
		"go":   {goProgram},
	}
	if err := goBuild(goProgram, goSource); err != nil {
		b.Logf("go: not run: %v", err)
		delete(programs, "go")
	}
	generation := uint64(0)
	for name, command := range programs {
		if _, err := exec.LookPath(command[0]); err != nil {
			b.Logf("%s: not run: %v", name, err)
			continue
		}
		for _, at := range b.places() {
			generation++
			spec := b.spec(command...)
			spec.Env = []string{"HOME=" + b.data, "PATH=" + os.Getenv("PATH")}
			spec.ListenFDs, spec.Key.Generation = true, generation
			at.spec(&spec)
			b.start(spec)
			conn, err := at.dial(b, spec)
			if err == nil {
				fmt.Fprint(conn, "GET / HTTP/1.0\r\n\r\n")
			}
			if status := greeting(conn, err); !strings.Contains(status, " 200 ") {
				b.Errorf("%s, %s: %s", name, at.name, status)
			}
			b.stop(spec.Key)
		}
	}
}
