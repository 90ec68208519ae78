package load_test

import (
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/tenement/ten/schema"
	"github.com/tenement/ten/schema/load"
)

// FuzzLoad: any two files give a model or problems with places, the same again
// when they are remembered, and never a panic. CUE is left out: it is evaluated
// in a child process because it can't be trusted to end.
func FuzzLoad(f *testing.F) {
	cases, _ := filepath.Glob("testdata/reports/*.txtar")
	for _, name := range cases {
		a, err := txtar.ParseFile(name)
		if err != nil {
			f.Fatal(err)
		}
		files, _ := split(a)
		f.Add(files["tenement.toml"], files["services/web.toml"])
		f.Add("", files["tenement.toml"])
	}
	for name, doc := range many(3) {
		if strings.HasSuffix(name, ".toml") {
			f.Add(doc, "command = \"x\"\n")
		}
	}
	f.Fuzz(func(t *testing.T, root, service string) {
		if len(root)+len(service) > 1<<15 {
			return
		}
		tree := newTree(map[string]string{"tenement.toml": root, "services/web.toml": service})
		l := load.New(load.Config{})
		model, problems, err := l.Load(t.Context(), tree)
		if err != nil {
			t.Fatal(err)
		}
		checkOutcome(t, model, problems)
		again, second, err := l.Load(t.Context(), tree)
		if err != nil {
			t.Fatal(err)
		}
		if (again == nil) != (model == nil) || text(second) != text(problems) {
			t.Fatalf("said differently the second time:\n%s\nfirst:\n%s", text(second), text(problems))
		}
	})
}

func checkOutcome(t *testing.T, model *schema.Model, problems []schema.Problem) {
	t.Helper()
	refused := false
	for _, p := range problems {
		refused = refused || p.Severity == schema.Error
		if p.File == "" || p.Code == "" || p.Message == "" || p.Severity == "" {
			t.Errorf("problem with an empty part: %+v", p)
		}
		if p.Excerpt != "" && (p.Line == 0 || p.Col > len(p.Excerpt)+1 || p.EndCol > len(p.Excerpt)+1) {
			t.Errorf("problem beyond its line: %+v", p)
		}
	}
	if refused != (model == nil) {
		t.Fatalf("model %v with problems:\n%s", model, text(problems))
	}
	if model == nil {
		return
	}
	for _, s := range model.Services {
		if !schema.ValidServiceName(s.Name) || s.Digest != schema.Digest(s.Fields) || s.Command == "" || len(s.Instances) > s.MaxInstances {
			t.Errorf("service %+v", s)
		}
		for _, id := range s.Instances {
			if !schema.ValidInstanceID(id) {
				t.Errorf("service %s has an instance %q", s.Name, id)
			}
		}
	}
}
