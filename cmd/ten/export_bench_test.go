package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// shopOf writes a config of n services of two instances each.
func (w *world) shopOf(n int) (dir string) {
	dir = filepath.Join(w.root, fmt.Sprintf("shop-%d", n))
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "[service.svc-%04d]\ncommand = \"python3 main.py --port {port}\"\nsource = \"src\"\nhealth = \"/up\"\nmemory_limit_mb = 256\n", i)
		fmt.Fprintf(&b, "env = { LOG = \"info\", DB = \"{instance_dir}/db.sqlite\", URL = \"https://{id}.example/?a=$b\" }\ninstances = [\"prod\", \"staging\"]\n\n")
	}
	for name, text := range map[string]string{"tenement.toml": b.String(), "src/main.py": "print()\n"} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			w.t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			w.t.Fatal(err)
		}
	}
	return dir
}

// timed runs ten and gives its time and the most memory it had, in MB.
func (w *world) timed(args ...string) (took time.Duration, peak float64) {
	cmd := exec.Command(w.ten, args...)
	cmd.Env = []string{"HOME=" + w.root, "PATH=" + os.Getenv("PATH")}
	began := time.Now()
	if out, err := cmd.CombinedOutput(); err != nil {
		w.t.Fatalf("ten %v: %v\n%s", args, err, out)
	}
	return time.Since(began), peakMB(cmd.ProcessState)
}

// BenchmarkExportCheck is what CI runs: 10 services, beside ten validate, which
// reads and judges the same config and writes nothing.
// Bar: 150 ms.
func BenchmarkExportCheck(b *testing.B) {
	w := newWorld(b)
	w.real()
	dir := w.shopOf(10)
	for _, target := range targetNames() {
		w.timed("export", target, dir)
		var checks, validates []time.Duration
		for range 20 {
			took, _ := w.timed("export", target, dir, "--check")
			checks = append(checks, took)
			took, _ = w.timed("validate", dir)
			validates = append(validates, took)
		}
		b.ReportMetric(p50(checks), target+"-ms/p50")
		b.ReportMetric(p50(checks)/p50(validates), target+"-x-validate")
	}
	b.ReportMetric(0, "ns/op")
}

// BenchmarkExport1000 exports 1,000 services of two instances with the program
// that people run, beside ten validate of the same config.
// Bar: 2 s and 300 MB for each target.
func BenchmarkExport1000(b *testing.B) {
	w := newWorld(b)
	w.real()
	dir := w.shopOf(1000)
	w.timed("validate", dir) // verdicts are remembered for all that follow
	for _, target := range targetNames() {
		took, peak := w.timed("export", target, dir)
		judged, _ := w.timed("validate", dir)
		b.ReportMetric(took.Seconds(), target+"-s")
		b.ReportMetric(peak, target+"-MB")
		b.ReportMetric(float64(took)/float64(judged), target+"-x-validate")
	}
	b.ReportMetric(0, "ns/op")
}
