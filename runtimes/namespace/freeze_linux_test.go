package namespace_test

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tenement/ten/runtimes"
)

const answering = `
import http.server, socket
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(b"hello world\n")
    def address_string(self): return "-"
    def log_message(self, *a): pass
s = http.server.HTTPServer(("", 0), H, bind_and_activate=False)
s.socket = socket.socket(fileno=3)
s.serve_forever()
`

// ask makes one request and reads its answer.
func ask(socket string) error {
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := fmt.Fprint(conn, "GET / HTTP/1.0\r\n\r\n"); err != nil {
		return err
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err == nil && !strings.Contains(line, " 200 ") {
		err = errors.New(line)
	}
	return err
}

// BenchmarkResume measures a wake from freeze, first answer included: Resume,
// and a request over the program's socket. Its peers are the same request to the
// same program awake, and a cold start of it up to the first answer.
func BenchmarkResume(b *testing.B) {
	const python = "/usr/bin/python3"
	if _, err := exec.LookPath(python); err != nil {
		b.Skip("needs " + python)
	}
	r := benchLevel(b)
	data := b.TempDir()
	spec := runtimes.Spec{
		Key: runtimes.Key{ID: runtimes.ID{Service: "web", Instance: "x"}}, Level: runtimes.Namespace,
		Command: []string{python, "-c", answering}, Dir: data, Mounts: []runtimes.Mount{{Path: data, Writable: true}},
		StopSignal: "SIGKILL", ListenFDs: true, Socket: filepath.Join(data, "s"),
	}
	times := map[string][]time.Duration{}
	timed := func(name string, do func() error) {
		b.Helper()
		began := time.Now()
		if err := do(); err != nil {
			b.Fatalf("%s: %v", name, err)
		}
		times[name] = append(times[name], time.Since(began))
	}
	start := func() error {
		spec.Key.Generation++
		_, err := r.Start(b.Context(), spec)
		if err != nil {
			return err
		}
		return ask(spec.Socket)
	}
	for range 5 {
		timed("cold", start)
		if err := r.Stop(b.Context(), spec.Key); err != nil {
			b.Fatal(err)
		}
	}
	if err := start(); err != nil {
		b.Fatal(err)
	}
	defer func() { r.Stop(b.Context(), spec.Key) }()
	for b.Loop() {
		timed("awake", func() error { return ask(spec.Socket) })
		timed("suspend", func() error { return r.Suspend(b.Context(), spec.Key) })
		timed("resume", func() error {
			if err := r.Resume(b.Context(), spec.Key); err != nil {
				return err
			}
			return ask(spec.Socket)
		})
	}
	report(b, times, "awake")
}
