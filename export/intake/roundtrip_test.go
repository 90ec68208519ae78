package intake_test

import (
	"encoding/json"
	"errors"
	"maps"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	shellquote "github.com/kballard/go-shellquote"
	"github.com/rogpeppe/go-internal/txtar"
	"pgregory.net/rapid"

	"github.com/tenement/ten/export"
	"github.com/tenement/ten/export/compose"
	"github.com/tenement/ten/export/intake"
	"github.com/tenement/ten/export/procfile"
	"github.com/tenement/ten/export/systemd"
	"github.com/tenement/ten/proptest"
	"github.com/tenement/ten/schema"
)

// TestRoundTrip: what was imported, exported and imported again is what was
// imported first. Cases whose gaps a person would have to fill take part with
// the gaps filled; what a target refuses is left out, and counted.
func TestRoundTrip(t *testing.T) {
	t.Parallel()
	for name, target := range map[string]export.Target{"compose": compose.Target(), "procfile": procfile.Target(), "systemd": systemd.Target()} {
		files, err := filepath.Glob("testdata/" + name + "_*.txtar")
		if err != nil {
			t.Fatal(err)
		}
		went := 0
		for _, file := range files {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if comesBack(t, filepath.Base(file), target, sources(t, archive)) {
				went++
			}
		}
		if went < 2 {
			t.Errorf("%s: only %d cases went all the way", name, went)
		}
	}
}

// comesBack reports whether a case went all the way.
func comesBack(t *testing.T, name string, target export.Target, src []intake.Source) bool {
	t.Helper()
	format := formatNamed(t, target.Name)
	first, err := intake.Read(format, src)
	if err != nil {
		return false
	}
	before := check(t, first)
	again, err := exported(before, target)
	if refused := (*export.RefusedError)(nil); errors.As(err, &refused) {
		t.Logf("%s: %v", name, err)
		return false
	}
	if err != nil {
		t.Fatal(err)
	}
	second, err := intake.Read(format, again)
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, again[0].Data)
	}
	after := check(t, second)
	if len(second.Gaps) > 0 || len(before.Services) != len(after.Services) {
		t.Errorf("%s: %d services came back as %d, %d gaps", name, len(before.Services), len(after.Services), len(second.Gaps))
		return true
	}
	for i := range before.Services {
		if x, y := meaning(t, before.Services[i]), meaning(t, after.Services[i]); x != y {
			t.Errorf("%s: went\n%s\ncame back\n%s\nby way of\n%s", name, x, y, again[min(i, len(again)-1)].Data)
		}
	}
	if x, y := asJSON(t, before.Settings), asJSON(t, after.Settings); x != y {
		t.Errorf("%s: settings went %s, came back %s", name, x, y)
	}
	return true
}

// exported writes a model for a target, and gives the files as they would lie in
// the directory out of the repository.
func exported(m *schema.Model, target export.Target) ([]intake.Source, error) {
	tree := fstest.MapFS{}
	for _, s := range m.Services {
		tree[path.Join(s.Source, "Dockerfile")] = &fstest.MapFile{Data: []byte("FROM x\n")}
	}
	bundle, _, err := export.Run(target, m, export.Options{Project: "shop", Root: "..", Tree: tree})
	if err != nil {
		return nil, err
	}
	var src []intake.Source
	for _, f := range bundle.Files {
		if base := path.Base(f.Path); base == "compose.yaml" || base == "Procfile" || strings.HasSuffix(base, ".service") || strings.HasSuffix(base, ".socket") {
			src = append(src, intake.Source{Name: f.Path, Data: f.Data, Dir: "out"})
		}
	}
	return src, nil
}

// meaning is a service without where it was declared and how it was written.
func meaning(t *testing.T, s *schema.Service) string {
	c := *s
	c.Origin, c.Fields, c.Digest = schema.Position{}, nil, ""
	return asJSON(t, c)
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	data, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// TestWordsComeBack: any words and variables survive the way out and back.
func TestWordsComeBack(t *testing.T) {
	if testing.Short() {
		t.Skip("a few hundred loads")
	}
	t.Parallel()
	text := rapid.StringOf(rapid.OneOf(
		rapid.RuneFrom([]rune(` $"'\%{}=:;#&|*?~!`+"`"+`()<>[]-,.@é世`)),
		rapid.RuneFrom([]rune("abcXYZ019_/")),
	))
	for name, target := range map[string]export.Target{"compose": compose.Target(), "procfile": procfile.Target(), "systemd": systemd.Target()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			proptest.Check(t, func(r *rapid.T) {
				s := schema.NewService(schema.Declaration{
					Name: "web", Origin: schema.Position{File: "tenement.toml"}, Source: ".", Instances: []string{"main"},
					Values: schema.Values{"command": "./web"},
				})
				s.Args = rapid.SliceOfN(text, 1, 4).Draw(r, "args")
				s.Env = map[string]string{"A": text.Draw(r, "A"), "B_2": text.Draw(r, "B")}
				m := &schema.Model{Services: []*schema.Service{s}, Settings: schema.NewSettings(nil)}
				src, err := exported(m, target)
				if refused := (*export.RefusedError)(nil); errors.As(err, &refused) {
					return
				}
				if err != nil {
					r.Fatal(err)
				}
				result, err := intake.Read(formatNamed(t, name), src)
				if err != nil {
					if strings.Contains(err.Error(), "line too long") {
						return
					}
					r.Fatalf("%v\n%s", err, src[0].Data)
				}
				if len(result.Gaps) > 0 || strings.Contains(string(result.Config), "\n# lost: ") {
					return // what ten would take for a variable of its own is told of
				}
				got := check(t, result).Services[0]
				if x, y := line(t, s), line(t, got); x != y || !maps.Equal(got.Env, s.Env) {
					r.Fatalf("went %q %q\ncame back %q %q\nby way of\n%s", x, s.Env, y, got.Env, src[0].Data)
				}
			})
		})
	}
}

// line is a command as the kernel sees it.
func line(t *testing.T, s *schema.Service) string {
	t.Helper()
	words := append([]string{s.Command}, s.Args...)
	if len(s.Args) == 0 {
		var err error
		if words, err = shellquote.Split(s.Command); err != nil {
			t.Fatal(err)
		}
	}
	return strings.Join(words, "\x00")
}
