// Package ten is the root of the module: it holds no code, only the test of
// the layers.
package ten

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/tenement/ten/"

// layers says for each package which of ours it may import: "a" itself, "a/*"
// anything beneath, "*" anything. An exact entry goes before that of a parent
// folder. Test files may import more: contracts and fakes.
var layers = map[string][]string{
	"schema":               {},
	"schema/load":          {"schema"},
	"schema/format":        {"schema"},
	"runtimes":             {},
	"runtimes/runtimetest": {"runtimes"},
	"runtimes/fake":        {"runtimes"},
	"runtimes/launch/wire": {},
	"runtimes/launch":      {"runtimes", "runtimes/launch/*", "runtimes/cgroup", "runtimes/netns"},
	"runtimes/cgroup":      {"runtimes"},
	"runtimes/netns":       {"runtimes"},
	"runtimes/caps":        {"runtimes"},
	"runtimes/*":           {"runtimes", "runtimes/launch", "runtimes/launch/*", "runtimes/cgroup", "runtimes/netns", "runtimes/caps"},
	"reconcile/source":     {},
	"reconcile/store":      {},
	"reconcile/plan":       {"schema", "runtimes"},
	"host/api":             {"schema", "runtimes", "reconcile/plan", "host/tokens"},
	"host/activation":      {},
	"host/certs":           {},
	"host/front":           {},
	"host/install":         {},
	"host/*":               {"schema", "runtimes"},
	"reconcile":            {"schema", "schema/load", "runtimes", "reconcile/*", "host/*"},
	"export":               {"schema"},
	"export/docker":        {"export", "schema"},
	"export/fleet":         {"export", "schema"},
	"export/compose":       {"export", "schema", "export/docker"},
	"export/hcl":           {},
	"export/terraform":     {"export", "schema", "export/docker", "export/fleet", "export/hcl"},
	"export/nomad":         {"export", "schema", "export/docker", "export/hcl"},
	"export/pulumi":        {"export", "schema", "export/docker", "export/fleet"},
	"export/exporttest":    {"export", "schema", "proptest"},
	"export/*":             {"export", "schema"},
	"slum/operators/fly":   {"schema", "slum/*", "export/fly"},
	"slum":                 {"schema", "slum/*"},
	"slum/*":               {"schema", "slum/*"},
	"proptest":             {},
	"cmd/ten":              {"*"},
	"cmd/ten-init":         {"runtimes/launch/wire"},
	"cmd/*":                {},
	"testdata/*":           {}, // example repositories stand alone
	".":                    {},

	"export/pulumi/program": {"export", "schema", "export/docker", "export/pulumi"},
}

// owners are the only packages that may import a library, with the reason.
var owners = map[string]struct {
	by  []string
	why string
}{
	"cuelang.org/go":            {[]string{"schema/load"}, "a model is plain Go to everybody else"},
	"github.com/pelletier":      {[]string{"schema/load", "schema/format", "export/intake", "export/fly"}, "configs are read in one place; fly writes fly.toml, format keeps comments, intake reads the files of others"},
	"github.com/go-git":         {[]string{"reconcile/source"}, "git is one kind of source"},
	"modernc.org/sqlite":        {[]string{"reconcile/store"}, "every mutation is a typed command of the store"},
	"github.com/pulumi":         {[]string{"export/pulumi/program"}, "some 15 ms of every command that links it"},
	"github.com/spf13":          {[]string{"cmd/ten"}, "nothing below the command line knows of flags"},
	"github.com/prometheus":     {[]string{"host/metrics", "cmd/ten"}, "counters are kept in one place"},
	"github.com/ProtonMail":     {[]string{"reconcile/source"}, "trust is decided before a snapshot exists"},
	"k8s.io":                    {nil, "9 MB and 1 ms of every command; export/kubernetes has small structs, which its tests hold to the official types"},
	"sigs.k8s.io":               {nil, "see k8s.io"},
	"github.com/caddyserver":    {[]string{"host/certs"}, "certificates are held in one place"},
	"github.com/libdns":         {[]string{"host/certs"}, "certificates are held in one place"},
	"github.com/letsencrypt":    {[]string{"host/certs/certstest"}, "an authority is for tests"},
	"github.com/hiddeco/sshsig": {[]string{"reconcile/source"}, "trust is decided before a snapshot exists"},
}

// pure packages compute and do nothing else, for the reason given.
var pure = map[string]string{
	"schema":         "the model is data",
	"reconcile/plan": "a plan is a function of what is desired and what was observed",
	"export":         "an export is a function of the model",
	"export/*":       "an export is a function of the model",
}

var impureImports = []string{
	"os", "os/exec", "os/signal", "net", "net/http", "io/ioutil", "log", "log/slog", "syscall",
	"math/rand", "math/rand/v2", "golang.org/x/sys/unix",
}

var impureCalls = []string{"time.Now", "time.Since", "time.Until", "time.Sleep", "time.After", "time.NewTimer", "time.NewTicker", "time.Tick"}

// logKeys is the vocabulary of log records: one word for one thing, so that a
// search for it finds everything.
var logKeys = []string{"service", "instance", "revision", "host", "runtime", "action", "reason", "dur", "err"}

// The budgets, on the tail: what is usual is far below.
const (
	maxLines   = 500
	maxFunc    = 80
	maxMethods = 5
)

var bannedNames = []string{"util", "utils", "common", "helpers", "misc", "types", "shared"}

// file is one parsed Go file of ours.
type file struct {
	path  string // slash, from the root
	pkg   string // its folder
	test  bool
	lines int
	fset  *token.FileSet
	ast   *ast.File
}

func (f file) line(p token.Pos) int { return f.fset.Position(p).Line }

func (f file) at(n ast.Node) string { return fmt.Sprintf("%s:%d", f.path, f.line(n.Pos())) }

// example reports whether the file is no code of ours but of a repository that
// tests and the demo deploy.
func (f file) example() bool { return strings.HasPrefix(f.pkg, "testdata/") }

// rules are all checks; each gives what is wrong with one file, with the reason.
var rules = map[string]func(file) []string{
	"layers":   layering,
	"pure":     purity,
	"budgets":  budgets,
	"bans":     bans,
	"log keys": vocabulary,
}

func TestArchitecture(t *testing.T) {
	t.Parallel()
	files := parseAll(t)
	for name, rule := range rules {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, f := range files {
				for _, fault := range rule(f) {
					t.Error(fault)
				}
			}
		})
	}
}

func TestEveryPackageSaysWhatItPromises(t *testing.T) {
	t.Parallel()
	documented := map[string]bool{}
	for _, f := range parseAll(t) {
		if !f.test && !f.example() {
			documented[f.pkg] = documented[f.pkg] || f.ast.Doc != nil
		}
	}
	for pkg, ok := range documented {
		if !ok && pkg != "." {
			t.Errorf("package %s has no package comment", pkg)
		}
	}
}

// TestRulesBite seeds breaches: a rule that finds none would hold nothing.
func TestRulesBite(t *testing.T) {
	t.Parallel()
	tests := []struct{ rule, path, src, want string }{
		{"layers", "schema/x.go", `import "github.com/tenement/ten/runtimes"`, "schema may not import runtimes"},
		{"layers", "runtimes/process/x.go", `import "github.com/tenement/ten/runtimes/namespace"`, "may not import runtimes/namespace"},
		{"layers", "host/logs/x.go", `import "github.com/tenement/ten/reconcile"`, "host/logs may not import reconcile"},
		{"layers", "elsewhere/x.go", ``, "in no layer"},
		{"layers", "host/api/x.go", `import "modernc.org/sqlite/lib"`, "typed command of the store"},
		{"pure", "reconcile/plan/x.go", `import "os"`, "may not import os"},
		{"pure", "export/fly/x.go", `import "time"; var _ = time.Now`, "may not call time.Now"},
		{"bans", "runtimes/x.go", `func init() {}`, "func init()"},
		{"bans", "host/util/x.go", ``, "a package named util"},
		{"bans", "host/api/x.go", `import "os"; func f() { os.Exit(1) }`, "only main ends the process"},
		{"bans", "reconcile/x.go", `import "log/slog"; var _ = slog.Default()`, "the logger is passed in"},
		{"bans", "runtimes/vm/x.go", `import "runtime"; var _ = runtime.GOOS`, "chosen by file name"},
		{"budgets", "host/api/x.go", strings.Repeat("\n", maxLines), "lines, at most"},
		{"budgets", "host/api/x.go", `func f() {` + strings.Repeat("\n", maxFunc) + `}`, "func f is"},
		{"budgets", "host/api/x.go", `type T interface{ A(); B(); C(); D(); E(); F() }`, "6 methods"},
		{"log keys", "host/api/x.go", `import "log/slog"; func f(l *slog.Logger) { l.Info("m", "service", 1, "pid", 2) }`, `"pid"`},
		{"log keys", "host/api/x.go", `import "log/slog"; func f(l *slog.Logger) { l.With(slog.Int("n", 2)) }`, `"n"`},
	}
	for _, tt := range tests {
		f, err := parseFile(token.NewFileSet(), tt.path, "package "+path.Base(path.Dir(tt.path))+"\n"+tt.src)
		if err != nil {
			t.Fatal(err)
		}
		if faults := strings.Join(rules[tt.rule](f), "\n"); !strings.Contains(faults, tt.want) {
			t.Errorf("%s of %s with %.60q:\n got %q\nwant %q", tt.rule, tt.path, tt.src, faults, tt.want)
		}
		f.path, f.test = strings.Replace(f.path, ".go", "_test.go", 1), true
		if tt.rule != "budgets" && tt.rule != "bans" {
			if faults := rules[tt.rule](f); len(faults) > 0 {
				t.Errorf("%s holds for a test file: %q", tt.rule, faults)
			}
		}
	}
}

func layering(f file) (faults []string) {
	if f.test || f.pkg == "." { // the root holds no code; deps.go is never built
		return nil
	}
	allowed, ok := lookup(layers, f.pkg)
	if !ok {
		return []string{f.path + ": the package is in no layer\n  why: who may import whom is decided, not grown; add it to arch_test.go and ARCHITECTURE.md"}
	}
	for _, imp := range f.ast.Imports {
		name := importName(imp)
		if ours, ok := strings.CutPrefix(name, module); ok && !permits(allowed, ours) {
			faults = append(faults, fmt.Sprintf("%s: %s may not import %s, only %v\n  why: see Layers in ARCHITECTURE.md", f.at(imp), f.pkg, ours, allowed))
		}
		for library, owner := range owners {
			if (name == library || strings.HasPrefix(name, library+"/")) && !slices.Contains(owner.by, f.pkg) {
				faults = append(faults, fmt.Sprintf("%s: %s may not import %s, only %v\n  why: %s", f.at(imp), f.pkg, name, owner.by, owner.why))
			}
		}
	}
	return faults
}

func purity(f file) (faults []string) {
	why, ok := lookup(pure, f.pkg)
	if !ok || f.test {
		return nil
	}
	for _, imp := range f.ast.Imports {
		if name := importName(imp); slices.Contains(impureImports, name) {
			faults = append(faults, fmt.Sprintf("%s: %s may not import %s\n  why: %s", f.at(imp), f.pkg, name, why))
		}
	}
	ast.Inspect(f.ast, func(n ast.Node) bool {
		if name := selector(n); slices.Contains(impureCalls, name) {
			faults = append(faults, fmt.Sprintf("%s: %s may not call %s\n  why: %s, and the time is one of its inputs", f.at(n), f.pkg, name, why))
		}
		return true
	})
	return faults
}

func budgets(f file) (faults []string) {
	if f.lines > maxLines {
		faults = append(faults, fmt.Sprintf("%s: %d lines, at most %d\n  why: what is longer holds two ideas; split it", f.path, f.lines, maxLines))
	}
	if f.test {
		return faults
	}
	ast.Inspect(f.ast, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			if lines := f.line(n.End()) - f.line(n.Pos()) + 1; lines > maxFunc {
				faults = append(faults, fmt.Sprintf("%s: func %s is %d lines, at most %d\n  why: it does more than its name says", f.at(n), n.Name.Name, lines, maxFunc))
			}
		case *ast.InterfaceType:
			if n.Methods.NumFields() > maxMethods {
				faults = append(faults, fmt.Sprintf("%s: an interface of %d methods, at most %d\n  why: an ability more is a second interface", f.at(n), n.Methods.NumFields(), maxMethods))
			}
		}
		return true
	})
	return faults
}

func bans(f file) (faults []string) {
	if slices.Contains(bannedNames, path.Base(f.pkg)) || slices.Contains(bannedNames, f.ast.Name.Name) {
		faults = append(faults, fmt.Sprintf("%s: a package named %s\n  why: name it for what it provides", f.path, f.ast.Name.Name))
	}
	if f.test {
		return faults
	}
	for _, d := range f.ast.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
			faults = append(faults, f.at(fn)+": func init()\n  why: what main does not call, nobody sees")
		}
	}
	if strings.HasPrefix(f.pkg, "cmd/") || f.example() {
		return faults
	}
	ast.Inspect(f.ast, func(n ast.Node) bool {
		switch name := selector(n); name {
		case "os.Exit", "log.Fatal", "log.Fatalf", "log.Fatalln":
			faults = append(faults, f.at(n)+": "+name+" outside cmd\n  why: only main ends the process; return an error")
		case "slog.Default", "slog.SetDefault":
			faults = append(faults, f.at(n)+": "+name+"\n  why: the logger is passed in")
		case "runtime.GOOS":
			faults = append(faults, f.at(n)+": "+name+"\n  why: a platform is chosen by file name: _linux.go, _other.go")
		}
		return true
	})
	return faults
}

func vocabulary(f file) (faults []string) {
	if f.test {
		return nil
	}
	ast.Inspect(f.ast, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		for _, key := range keysOf(call) {
			if !slices.Contains(logKeys, key) {
				faults = append(faults, fmt.Sprintf("%s: log key %q is none of %v\n  why: one word for one thing, so that a search for it finds everything", f.at(call), key, logKeys))
			}
		}
		return true
	})
	return faults
}

// keysOf gives the literal keys of a call that writes a record or makes an
// attribute; nil for any other call.
func keysOf(call *ast.CallExpr) []string {
	sel, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || selector(sel) == "http.Error" {
		return nil
	}
	start, step := 0, 2
	switch sel.Sel.Name {
	case "Debug", "Info", "Warn", "Error":
		start = 1
	case "DebugContext", "InfoContext", "WarnContext", "ErrorContext":
		start = 2
	case "With":
	case "String", "Int", "Int64", "Uint64", "Bool", "Duration", "Time", "Any":
		if x, ok := sel.X.(*ast.Ident); !ok || x.Name != "slog" || len(call.Args) != 2 {
			return nil
		}
		start, step = 0, len(call.Args)
	default:
		return nil
	}
	var keys []string
	for i := start; i+1 < len(call.Args); i += step {
		lit, ok := call.Args[i].(*ast.BasicLit)
		if !ok || lit.Kind != token.STRING {
			return keys // an attribute, or another type's method of that name
		}
		key, err := strconv.Unquote(lit.Value)
		if err == nil {
			keys = append(keys, key)
		}
	}
	return keys
}

// parseAll reads every Go file of the module.
func parseAll(t *testing.T) []file {
	t.Helper()
	var files []file
	fset := token.NewFileSet()
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "bin" || d.Name() == "dist"):
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(name, ".go"):
			return nil
		}
		f, err := parseFile(fset, name, nil)
		if err != nil {
			return err
		}
		files = append(files, f)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 20 {
		t.Fatalf("only %d Go files found: the test does not see the module", len(files))
	}
	return files
}

// parseFile parses src, or the file where src is nil.
func parseFile(fset *token.FileSet, name string, src any) (file, error) {
	parsed, err := parser.ParseFile(fset, name, src, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return file{}, err
	}
	slash := filepath.ToSlash(name)
	return file{
		path:  slash,
		pkg:   path.Dir(slash),
		test:  strings.HasSuffix(name, "_test.go"),
		lines: fset.File(parsed.Pos()).LineCount(),
		fset:  fset,
		ast:   parsed,
	}, nil
}

// lookup finds the entry of a package: its own, else that of the nearest parent's "/*".
func lookup[V any](table map[string]V, pkg string) (V, bool) {
	if v, ok := table[pkg]; ok {
		return v, true
	}
	for dir := path.Dir(pkg); dir != "."; dir = path.Dir(dir) {
		if v, ok := table[dir+"/*"]; ok {
			return v, true
		}
	}
	var none V
	return none, false
}

func permits(allowed []string, pkg string) bool {
	return slices.ContainsFunc(allowed, func(rule string) bool {
		parent, below := strings.CutSuffix(rule, "/*")
		return rule == "*" || rule == pkg || below && strings.HasPrefix(pkg, parent+"/")
	})
}

func importName(imp *ast.ImportSpec) string {
	return strings.Trim(imp.Path.Value, "`\"")
}

// selector gives "time.Now" for the expression time.Now, "" for any other node.
func selector(n ast.Node) string {
	sel, ok := n.(*ast.SelectorExpr)
	if !ok {
		return ""
	}
	x, ok := sel.X.(*ast.Ident)
	if !ok {
		return ""
	}
	return x.Name + "." + sel.Sel.Name
}
