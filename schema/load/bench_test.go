package load_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tenement/ten/schema"
	"github.com/tenement/ten/schema/load"
)

// many is a repository of n services, one file and one source directory each.
func many(n int) map[string]string {
	files := map[string]string{"tenement.toml": "[settings]\nmax_restarts = 5\n"}
	for i := range n {
		files[fmt.Sprintf("services/svc-%04d.toml", i)] = fmt.Sprintf(`# service %[1]d
command = "./server --port {port} --tenant {id}"
source = "src/svc-%04[1]d"
health = "/health"
isolation = "namespace"
restart = "always"
idle_timeout = 300
startup_timeout = 20
memory_limit_mb = 64
cpu_shares = 100
depends_on = ["svc-%04[2]d"]
instances = ["prod", "staging"]

[env]
LOG_LEVEL = "info"
DATABASE = "{data_dir}/{name}/{id}/app.db"
NUMBER = "%[1]d"
`, i, i/2)
		files[fmt.Sprintf("src/svc-%04d/server", i)] = fmt.Sprintf("#!/bin/sh\necho %d\n", i)
	}
	files["services/svc-0000.toml"] = "command = \"x\"\n"
	return files
}

func mustModel(b testing.TB, l *load.Loader, tree load.Tree, services int) *schema.Model {
	b.Helper()
	model, problems, err := l.Load(b.Context(), tree)
	if err != nil {
		b.Fatal(err)
	}
	if model == nil || len(model.Services) != services {
		b.Fatalf("refused:\n%.2000s", text(problems))
	}
	return model
}

// BenchmarkLoadCold5000: nothing is remembered. The bar is 6 s.
func BenchmarkLoadCold5000(b *testing.B) {
	tree := newTree(many(5000))
	for b.Loop() {
		mustModel(b, newLoader(), tree, 5000)
	}
}

// BenchmarkLoadOneChanged5000: one file changed since the last load. The bar is
// 150 ms. The ids of the tree are known, as those of a git tree are.
func BenchmarkLoadOneChanged5000(b *testing.B) {
	tree := newTree(many(5000))
	loader := newLoader()
	mustModel(b, loader, tree, 5000)
	i := 0
	for b.Loop() {
		b.StopTimer()
		i++
		tree.set("services/svc-0007.toml", fmt.Sprintf("command = \"./server %d\"\nsource = \"src/svc-0007\"\n", i))
		b.StartTimer()
		mustModel(b, loader, tree, 5000)
	}
}

// BenchmarkLoadOneChangedPolicy5000 is the same in a repository with a policy,
// which a child process judges.
func BenchmarkLoadOneChangedPolicy5000(b *testing.B) {
	files := many(5000)
	files["policy.cue"] = "#Service: memory_limit_mb?: <=512\n"
	tree := newTree(files)
	loader := newLoader()
	mustModel(b, loader, tree, 5000)
	i := 0
	for b.Loop() {
		b.StopTimer()
		i++
		tree.set("services/svc-0007.toml", fmt.Sprintf("command = \"./server %d\"\nsource = \"src/svc-0007\"\n", i))
		b.StartTimer()
		mustModel(b, loader, tree, 5000)
	}
}

// BenchmarkLoadSecondProcess5000: another process judged the same files before.
func BenchmarkLoadSecondProcess5000(b *testing.B) {
	tree := newTree(many(5000))
	cache := b.TempDir()
	mustModel(b, load.New(load.Config{CacheDir: cache}), tree, 5000)
	for b.Loop() {
		mustModel(b, load.New(load.Config{CacheDir: cache}), tree, 5000)
	}
}

// BenchmarkLoadOneFile5000: all services in one file. A decoder that needs time
// by the square of the number of tables takes minutes.
func BenchmarkLoadOneFile5000(b *testing.B) {
	var doc strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&doc, "[service.s%[1]d]\ncommand = \"./x %[1]d\"\n[service.s%[1]d.env]\nA = \"b\"\n", i)
	}
	tree := newTree(map[string]string{"tenement.toml": doc.String()})
	for b.Loop() {
		mustModel(b, newLoader(), tree, 5000)
	}
}
