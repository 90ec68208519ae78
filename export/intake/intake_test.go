package intake_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/tenement/ten/export/intake"
	"github.com/tenement/ten/schema"
	"github.com/tenement/ten/schema/format"
	"github.com/tenement/ten/schema/load"
)

// tree is a repository in memory, for the loader.
type tree struct{ fstest.MapFS }

func (t tree) ID(name string) (string, error) {
	f, err := t.Open(name)
	if err != nil {
		return "", err
	}
	f.Close()
	return fmt.Sprintf("%040x", len(name)), nil
}

func formatNamed(t testing.TB, name string) intake.Format {
	t.Helper()
	for _, f := range intake.Formats() {
		if f.Name == name {
			return f
		}
	}
	t.Fatalf("no format %s", name)
	return intake.Format{}
}

// check holds what every result must hold: it is laid out as ten fmt would, its
// gaps are where they say, and without them the real loader accepts it.
func check(t testing.TB, r intake.Result) *schema.Model {
	t.Helper()
	if out, err := format.TOML("tenement.toml", r.Config); err != nil || !bytes.Equal(out, r.Config) {
		t.Fatalf("not in canonical form: %v\n%s\nwant\n%s", err, r.Config, out)
	}
	lines := strings.Split(string(r.Config), "\n")
	for i, g := range r.Gaps {
		if want := "# to fill in: " + g.Field + " = ...: "; !strings.HasPrefix(lines[g.Line-1], want) {
			t.Fatalf("gap %+v points to %q", g, lines[g.Line-1])
		}
		lines[g.Line-1] = "command = 'filled-in'" // what a person would do
		if g.Field != "command" {
			t.Fatalf("gap %d is %+v: only a command is required", i, g)
		}
	}
	files := fstest.MapFS{"tenement.toml": {Data: []byte(strings.Join(lines, "\n"))}}
	for _, l := range lines { // sources exist where the file was taken from
		var dir string
		if _, err := fmt.Sscanf(l, "source = %q", &dir); err == nil && dir != "." {
			files[path.Join(dir, "main")] = &fstest.MapFile{Data: []byte("x")}
		}
	}
	model, problems, err := load.New(load.Config{}).Load(context.Background(), tree{files})
	if err != nil || model == nil {
		var b bytes.Buffer
		schema.WriteText(&b, problems)
		t.Fatalf("the loader refuses it: %v\n%s\n%s", err, b.String(), strings.Join(lines, "\n"))
	}
	return model
}

// report is what a case compares: the config, then losses and gaps.
func report(r intake.Result, err error) string {
	if err != nil {
		var e *intake.Error
		if !errors.As(err, &e) || e.Fix == "" {
			return fmt.Sprintf("no *Error with a way out: %v\n", err)
		}
		return fmt.Sprintf("error: %v\nhint: %s\n", err, e.Fix)
	}
	var b strings.Builder
	b.Write(r.Config)
	for _, g := range r.Gaps {
		fmt.Fprintf(&b, "gap %d: %s.%s\n", g.Line, g.Service, g.Field)
	}
	return b.String()
}

// TestCases reads testdata/FORMAT_ASPECT.txtar: the foreign file comes first (for
// a format of several files, all that begin with "in/"), files that it names come
// next, and "want" is the result. -update rewrites want.
func TestCases(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("%v: no cases", err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".txtar")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			kind, _, _ := strings.Cut(name, "_")
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			src := sources(t, archive)
			r, err := intake.Read(formatNamed(t, kind), src)
			got := report(r, err)
			if err == nil {
				check(t, r)
			}
			compare(t, file, archive, got)
		})
	}
}

func sources(t testing.TB, archive *txtar.Archive) []intake.Source {
	t.Helper()
	all := fstest.MapFS{}
	for _, f := range archive.Files {
		all[f.Name] = &fstest.MapFile{Data: f.Data}
	}
	var src []intake.Source
	for i, f := range archive.Files {
		if i > 0 && !strings.HasPrefix(f.Name, "in/") || f.Name == "want" {
			continue
		}
		dir := path.Dir(f.Name)
		if dir == "in" {
			dir = "."
		}
		sub, err := fs.Sub(all, path.Dir(f.Name))
		if err != nil {
			t.Fatal(err)
		}
		src = append(src, intake.Source{Name: strings.TrimPrefix(f.Name, "in/"), Data: f.Data, Dir: dir, Tree: sub})
	}
	return src
}

func TestOddFilesAreErrors(t *testing.T) {
	t.Parallel()
	big := strings.Repeat("x", schema.MaxFileSize)
	for _, f := range intake.Formats() {
		for name, data := range map[string]string{
			"empty": "", "blank": " \n\t\n", "NUL": "a\x00b", "not UTF-8": "a: b\n\xff\xfe", "too large": big + "x", "only a mark": "\xef\xbb\xbf",
			"one long line": big, "noise": strings.Repeat("{[(<\"'", 1000),
			"deep": strings.Repeat("[", 200_000), "deep in braces": strings.Repeat("{a: ", 50_000), "deep in blocks": strings.Repeat("a {\n", 50_000),
		} {
			t.Run(f.Name+" "+name, func(t *testing.T) {
				t.Parallel()
				began := time.Now()
				r, err := intake.Read(f, []intake.Source{{Name: "f", Data: []byte(data), Dir: "."}})
				if took := time.Since(began); took > 20*time.Second {
					t.Errorf("took %s", took)
				}
				var e *intake.Error
				switch {
				case err == nil:
					check(t, r)
				case !errors.As(err, &e) || e.Fix == "" || !strings.HasPrefix(e.At.File, "f"):
					t.Errorf("%v", err)
				}
			})
		}
	}
}

// FuzzRead: whatever comes in, the result loads or it is an error with a way out.
func FuzzRead(f *testing.F) {
	files, _ := filepath.Glob("testdata/*.txtar")
	for _, file := range files {
		archive, err := txtar.ParseFile(file)
		if err != nil {
			f.Fatal(err)
		}
		kind, _, _ := strings.Cut(filepath.Base(file), "_")
		for i, known := range intake.Formats() {
			if known.Name == kind {
				f.Add(uint8(i), archive.Files[0].Data)
			}
		}
	}
	f.Fuzz(func(t *testing.T, kind uint8, data []byte) {
		all := intake.Formats()
		r, err := intake.Read(all[int(kind)%len(all)], []intake.Source{{Name: "f", Data: data, Dir: "."}})
		if err != nil {
			var e *intake.Error
			if !errors.As(err, &e) || e.Fix == "" {
				t.Fatal(err)
			}
			return
		}
		check(t, r)
	})
}
