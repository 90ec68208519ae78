package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"golang.org/x/tools/txtar"

	"github.com/tenement/ten/export"
	"github.com/tenement/ten/schema"
	"github.com/tenement/ten/schema/load"
)

// TestExportCases exports the commits of testdata/cases whose names begin with
// export_ to every target and compares all that is written: out/export/TARGET/...
// is the bundle, with its steps and losses, or the refusal.
func TestExportCases(t *testing.T) {
	t.Parallel()
	cases, err := filepath.Glob(filepath.Join("..", "..", "testdata", "cases", "export_*.txtar"))
	if err != nil || len(cases) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, name := range cases {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			t.Parallel()
			exportCase(t, name)
		})
	}
}

// caseTree is the tree of a case; what identifies its parts is in no export.
type caseTree struct{ fstest.MapFS }

func (caseTree) ID(path string) (string, error) { return "tree of " + path, nil }

const goldenExports = "out/export/"

func exportCase(t *testing.T, name string) {
	old, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	archive := txtar.Parse(old)
	tree := fstest.MapFS{}
	for _, f := range archive.Files {
		if path, ok := strings.CutPrefix(f.Name, "commit/"); ok {
			tree[path] = &fstest.MapFile{Data: f.Data, Mode: 0o644}
		}
	}
	model, problems, err := load.New(load.Config{}).Load(t.Context(), caseTree{tree})
	if err != nil || model == nil {
		t.Fatalf("load: %v %v", err, problems)
	}
	want := slices.DeleteFunc(slices.Clone(archive.Files), func(f txtar.File) bool { return !strings.HasPrefix(f.Name, goldenExports) })
	got := exportAll(t, model, export.Options{Project: "shop", Region: "fra", Root: "../..", Tree: tree})
	if slices.EqualFunc(got, want, func(a, b txtar.File) bool { return a.Name == b.Name && bytes.Equal(a.Data, b.Data) }) {
		return
	}
	if !*update {
		t.Errorf("the exports of %s differ: %s\nif they should: go test ./cmd/ten -run TestExportCases -update, and read the diff", name, firstDifference(got, want))
		return
	}
	archive.Files = slices.DeleteFunc(archive.Files, func(f txtar.File) bool { return strings.HasPrefix(f.Name, goldenExports) })
	archive.Files = append(archive.Files, got...)
	if err := os.WriteFile(name, txtar.Format(archive), 0o644); err != nil {
		t.Fatal(err)
	}
}

// exportAll exports to every target, twice: equal input gives equal bytes.
func exportAll(t *testing.T, m *schema.Model, o export.Options) []txtar.File {
	var files []txtar.File
	for _, target := range exportTargets() {
		first, second := exportFiles(t, target, m, o), exportFiles(t, target, m, o)
		if !slices.EqualFunc(first, second, func(a, b txtar.File) bool { return a.Name == b.Name && bytes.Equal(a.Data, b.Data) }) {
			t.Errorf("%s: two exports of one model differ: %s", target.Name, firstDifference(first, second))
		}
		files = append(files, first...)
	}
	return files
}

func exportFiles(t *testing.T, target export.Target, m *schema.Model, o export.Options) []txtar.File {
	dir := goldenExports + target.Name + "/"
	b, losses, err := export.Run(target, m, o)
	if refused, ok := errors.AsType[*export.RefusedError](err); ok {
		return []txtar.File{{Name: dir + "refused", Data: fmt.Appendf(nil, "%s\nhint: %s\n", refused, refused.Hint())}}
	}
	if err != nil {
		t.Fatalf("%s: %v", target.Name, err)
	}
	var files []txtar.File
	for _, f := range b.Files {
		files = append(files, txtar.File{Name: dir + f.Path, Data: endLine(f.Data)})
	}
	var told bytes.Buffer
	for _, l := range losses {
		fmt.Fprintf(&told, "%s %s = %s: %s: %s -> %s\n", orDash(l.Service), l.Field, clip(l.Value, 60), l.Kind, l.Why, orDash(l.Instead))
	}
	return append(files,
		txtar.File{Name: dir + "losses", Data: told.Bytes()},
		txtar.File{Name: dir + "steps", Data: endLine([]byte(strings.Join(b.Steps, "\n")))})
}

// endLine ends a file with a newline, since an archive knows no other.
func endLine(data []byte) []byte {
	if len(data) > 0 && !bytes.HasSuffix(data, []byte("\n")) {
		return append(slices.Clip(data), '\n')
	}
	return data
}

func firstDifference(got, want []txtar.File) string {
	for i, f := range got {
		if i >= len(want) || want[i].Name != f.Name {
			return f.Name + " is new or in another place"
		}
		if a, b := strings.Split(string(f.Data), "\n"), strings.Split(string(want[i].Data), "\n"); !slices.Equal(a, b) {
			for n := range a {
				if n >= len(b) || a[n] != b[n] {
					return fmt.Sprintf("%s, line %d: %q", f.Name, n+1, a[n])
				}
			}
			return f.Name + " is shorter"
		}
	}
	return "some files are missing"
}
