package load_test

import (
	"bytes"
	"context"
	"flag"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/tools/txtar"

	"github.com/tenement/ten/schema"
	"github.com/tenement/ten/schema/load"
)

var update = flag.Bool("update", false, "rewrite the expected sections of testdata")

// TestMain is the child process too: a loader starts this binary as "ten eval".
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "eval" {
		os.Exit(load.EvalMain(os.Stdin, os.Stdout))
	}
	os.Exit(m.Run())
}

func evalSelf(ctx context.Context) *exec.Cmd {
	cmd := exec.CommandContext(ctx, os.Args[0], "eval")
	cmd.Args[0] = "ten"
	return cmd
}

func newLoader() *load.Loader {
	return load.New(load.Config{Eval: evalSelf, EvalTime: 20 * time.Second})
}

// mustLoad loads files that are good.
func mustLoad(t testing.TB, files map[string]string) *schema.Model {
	t.Helper()
	model, problems, err := newLoader().Load(t.Context(), newTree(files))
	if err != nil {
		t.Fatal(err)
	}
	if model == nil {
		t.Fatalf("refused:\n%s", text(problems))
	}
	return model
}

func text(problems []schema.Problem) string {
	var b bytes.Buffer
	if err := schema.WriteText(&b, problems); err != nil {
		return err.Error()
	}
	return b.String()
}

// TestReports holds the text of every kind of fault. A case is the files of a
// repository, and in want/report what is said of them.
func TestReports(t *testing.T) {
	t.Parallel()
	cases, err := filepath.Glob("testdata/reports/*.txtar")
	if err != nil || len(cases) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, name := range cases {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			t.Parallel()
			archive, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal(err)
			}
			files, want := split(archive)
			model, problems, err := newLoader().Load(t.Context(), newTree(files))
			if err != nil {
				t.Fatal(err)
			}
			got := text(problems)
			if model != nil {
				got += "ok: " + strings.Join(serviceNames(model), " ") + "\n"
			}
			if got == want {
				return
			}
			if !*update {
				t.Fatalf("got:\n%s\nwant:\n%s", got, want)
			}
			archive.Files = slices.DeleteFunc(archive.Files, func(f txtar.File) bool { return f.Name == "want/report" })
			archive.Files = append(archive.Files, txtar.File{Name: "want/report", Data: []byte(got)})
			if err := os.WriteFile(name, txtar.Format(archive), 0o644); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// split tells the repository's files from what is expected. In a file's text
// \xNN stands for a byte and a line "@repeat N TEXT" for N bytes of text.
func split(a *txtar.Archive) (files map[string]string, want string) {
	files = make(map[string]string)
	for _, f := range a.Files {
		if f.Name == "want/report" {
			want = string(f.Data)
			continue
		}
		files[f.Name] = expandBytes(string(f.Data))
	}
	return files, want
}

func expandBytes(s string) string {
	s = strings.NewReplacer("<0xff>", "\xff", "<bom>", "\xef\xbb\xbf", "<cr>", "\r", "<mb>", strings.Repeat("#", 1<<20)).Replace(s)
	return s
}

func serviceNames(m *schema.Model) []string {
	var names []string
	for _, s := range m.Services {
		names = append(names, s.Name)
	}
	return names
}

func TestLoadIsTheSameEveryTime(t *testing.T) {
	t.Parallel()
	files := map[string]string{
		"tenement.toml":     "[service.web]\ncommand = \"./web\"\ninstances = [\"b\", \"a\"]\n[service.web.env]\nB = \"2\"\nA = \"1\"\n",
		"services/api.toml": "command = \"./api\"\n",
	}
	first := mustLoad(t, files)
	for range 3 {
		again := mustLoad(t, maps.Clone(files))
		for i, s := range first.Services {
			if o := again.Services[i]; o.Digest != s.Digest || !maps.Equal(o.Fields, s.Fields) {
				t.Errorf("service %s differs: %v, %v", s.Name, s.Fields, o.Fields)
			}
		}
	}
}

// command makes an evaluator of another program.
func command(path string) func(context.Context) *exec.Cmd {
	return func(ctx context.Context) *exec.Cmd { return exec.CommandContext(ctx, path) }
}
