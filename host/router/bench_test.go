package router

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"
)

// peer is a proxy that is measured beside ours.
type peer struct {
	name, address string
}

// need skips where a program is missing.
func need(b testing.TB, programs ...string) {
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			b.Skipf("%s is not installed (make deps)", p)
		}
	}
}

func freePort(tb testing.TB) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// run starts a program for the length of the benchmark and waits until it listens.
func run(b *testing.B, network, address string, name string, args ...string) {
	cmd := exec.Command(name, args...)
	cmd.Env = []string{"HOME=" + b.TempDir(), "PATH=" + os.Getenv("PATH")}
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { cmd.Process.Signal(os.Interrupt); cmd.Wait() })
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		c, err := net.Dial(network, address)
		if err == nil {
			c.Close()
			return
		}
		if time.Now().After(end) {
			b.Fatalf("%s does not listen: %v\n%s", name, err, out.String())
		}
	}
}

// nginx starts one with the given http block.
func nginx(b *testing.B, network, address, http string) {
	dir := b.TempDir()
	os.Chmod(dir, 0o777)
	conf := filepath.Join(dir, "conf")
	text := fmt.Sprintf(`daemon off; worker_processes auto; pid %[1]s/pid; error_log %[1]s/error; user root;
events { worker_connections 4096; }
http { access_log off; client_body_temp_path %[1]s/body; proxy_temp_path %[1]s/proxy; fastcgi_temp_path %[1]s/f; uwsgi_temp_path %[1]s/u; scgi_temp_path %[1]s/s;
keepalive_requests 100000000; keepalive_timeout 75s; sendfile on; tcp_nopush on;
%s
}`, dir, http)
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		b.Fatal(err)
	}
	run(b, network, address, "nginx", "-c", conf, "-p", dir)
}

// proxies starts ours and its peers in front of one backend.
func proxies(b *testing.B) []peer {
	need(b, "nginx", "haproxy", "caddy", "wrk")
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { os.RemoveAll(dir) })
	os.Chmod(dir, 0o777)
	socket := filepath.Join(dir, "backend")
	if err := exec.Command("truncate", "-s", "1G", filepath.Join(dir, "big")).Run(); err != nil {
		b.Fatal(err)
	}
	nginx(b, "unix", socket, fmt.Sprintf(`server { listen unix:%s; location / { return 200 "hello world\n"; } location /big { root %s; } }`, socket, dir))

	s := newStage(b)
	old := debug.SetGCPercent(40)
	b.Cleanup(func() { debug.SetGCPercent(old) })
	s.serves(s.incarnation("a", 1, "unix:"+socket))
	all := []peer{{"ten", s.address}}

	at := freePort(b)
	nginx(b, "tcp", at, fmt.Sprintf(`upstream b { server unix:%s; keepalive 64; keepalive_requests 100000000; } server { listen %s; location / { proxy_pass http://b; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header X-Forwarded-Proto $scheme; proxy_set_header X-Request-Id $request_id; } }`, socket, at))
	all = append(all, peer{"nginx", at})

	at = freePort(b)
	conf := filepath.Join(dir, "haproxy")
	os.WriteFile(conf, fmt.Appendf(nil, "global\n nbthread 2\ndefaults\n mode http\n timeout client 60s\n timeout server 60s\n timeout connect 5s\n option forwardfor\n http-reuse always\nfrontend f\n bind %s\n default_backend b\nbackend b\n server s unix@%s\n", at, socket), 0o644)
	run(b, "tcp", at, "haproxy", "-f", conf, "-db")
	all = append(all, peer{"haproxy", at})

	at = freePort(b)
	conf = filepath.Join(dir, "Caddyfile")
	os.WriteFile(conf, fmt.Appendf(nil, "{\n admin off\n auto_https off\n}\nhttp://%s {\n reverse_proxy unix/%s\n}\nhttp://web.localhost:%s {\n reverse_proxy unix/%s\n}\n", at, socket, at[strings.LastIndex(at, ":")+1:], socket), 0o644)
	run(b, "tcp", at, "caddy", "run", "--config", conf, "--adapter", "caddyfile")
	return append(all, peer{"caddy", at})
}

var (
	wrkRate = regexp.MustCompile(`Requests/sec:\s+([0-9.]+)`)
	wrkP99  = regexp.MustCompile(`99%\s+([0-9.]+)(us|ms|s)`)
)

// wrk gives requests a second and the 99th percentile in milliseconds.
func wrk(b *testing.B, address string, d time.Duration) (rate, p99 float64) {
	out, err := exec.Command("wrk", "-t2", "-c32", "-d", fmt.Sprintf("%ds", int(d.Seconds())), "--latency", "-H", "Host: web.localhost", "http://"+address+"/").CombinedOutput()
	if err != nil {
		b.Fatalf("wrk: %v\n%s", err, out)
	}
	text := string(out)
	r, l := wrkRate.FindStringSubmatch(text), wrkP99.FindStringSubmatch(text)
	if r == nil || l == nil || strings.Contains(text, "Non-2xx") || strings.Contains(text, "Socket errors") {
		b.Fatalf("wrk against %s:\n%s", address, text)
	}
	rate, _ = strconv.ParseFloat(r[1], 64)
	p99, _ = strconv.ParseFloat(l[1], 64)
	return rate, p99 * map[string]float64{"us": 0.001, "ms": 1, "s": 1000}[l[2]]
}

// BenchmarkSmallRequests: 12 bytes, 32 connections kept alive, a backend on a
// unix socket, one worker for each core. Bars: 2.0x Caddy and 0.7x nginx in
// requests a second, 99th percentile at most Caddy's.
func BenchmarkSmallRequests(b *testing.B) {
	all := proxies(b)
	rate, p99 := map[string]float64{}, map[string]float64{}
	const rounds = 3
	for range rounds { // in turns, since the machine is not always as fast
		for _, p := range all {
			r, l := wrk(b, p.address, 2*time.Second)
			rate[p.name] += r / rounds
			p99[p.name] += l / rounds
		}
	}
	for _, p := range all {
		b.ReportMetric(rate[p.name], p.name+"-req/s")
		b.ReportMetric(p99[p.name], p.name+"-p99-ms")
	}
	b.ReportMetric(rate["ten"]/rate["nginx"], "x-nginx")
	b.ReportMetric(rate["ten"]/rate["caddy"], "x-caddy")
	b.ReportMetric(rate["ten"]/rate["haproxy"], "x-haproxy")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkStream: 1 GB through each. Bar: 0.8x nginx.
func BenchmarkStream(b *testing.B) {
	need(b, "curl")
	all := proxies(b)
	speed := map[string]float64{}
	for range 2 {
		for _, p := range all {
			began := time.Now()
			out, err := exec.Command("curl", "-sS", "--noproxy", "*", "-o", "/dev/null", "-w", "%{size_download}", "-H", "Host: web.localhost", "http://"+p.address+"/big").CombinedOutput()
			if err != nil || string(out) != strconv.Itoa(1<<30) {
				b.Fatalf("curl through %s: %v %s", p.name, err, out)
			}
			speed[p.name] = max(speed[p.name], 1024/time.Since(began).Seconds())
		}
	}
	for _, p := range all {
		b.ReportMetric(speed[p.name], p.name+"-MB/s")
	}
	b.ReportMetric(speed["ten"]/speed["nginx"], "x-nginx")
	b.ReportMetric(0, "ns/op")
}
