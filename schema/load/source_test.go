package load_test

import (
	"maps"
	"strconv"
	"testing"

	"github.com/tenement/ten/schema"
)

func treeOf(t *testing.T, s *schema.Service) string {
	t.Helper()
	id, err := strconv.Unquote(s.Fields["source.tree"])
	if err != nil {
		t.Fatalf("source.tree of %s is %s", s.Name, s.Fields["source.tree"])
	}
	return id
}

// TestSourceTree: the id of a source is the git id of its directory without
// ten's own config files, wherever they lie.
func TestSourceTree(t *testing.T) {
	t.Parallel()
	sources := map[string]string{
		"README":             "hello\n",
		"web/main.py":        "print(1)\n",
		"web/sub/run":        "#!/bin/sh\n",
		"web/sub.d/x":        "sorts between\n",
		"web/sub0":           "sorts after\n",
		"web/link -> sub":    "",
		"services/README.md": "kept: it is no config\n",
		"web/other.cue":      "package other\n",
	}
	configs := map[string]string{
		"tenement.toml":     "[service.root]\ncommand = \"x\"\n[service.web]\ncommand = \"x\"\nsource = \"web\"\n",
		"services/api.toml": "command = \"x\"\n",
		"services/b.toml":   "command = \"x\"\nsource = \"web/sub/\"\n",
		"policy.cue":        "#Service: command: !=\"y\"\n",
		"web/deep/rule.cue": "package tenement\n#Service: command: !=\"z\"\n",
	}
	all := maps.Clone(sources)
	maps.Copy(all, configs)
	m := mustLoad(t, all)
	plain := newTree(sources)
	for service, dir := range map[string]string{"root": ".", "web": "web", "api": "services", "b": "web/sub"} {
		want, err := plain.ID(dir)
		if err != nil {
			t.Fatal(err)
		}
		s := m.Service(service)
		if got := treeOf(t, s); got != want || s.Source != dir {
			t.Errorf("%s: source %s has tree %s, want %s %s", service, s.Source, got, dir, want)
		}
	}
	if want := []string{"policy.cue", "services/api.toml", "services/b.toml", "tenement.toml", "web/deep/rule.cue"}; !equal(m.ConfigFiles, want) {
		t.Errorf("config files %v", m.ConfigFiles)
	}
}

func equal(a, b []string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// TestWhatRestartsWhat: an edit changes the digests of exactly the services that
// it concerns.
func TestWhatRestartsWhat(t *testing.T) {
	t.Parallel()
	base := map[string]string{
		"tenement.toml":     "[service.web]\ncommand = \"x\"\nsource = \"web\"\n",
		"services/api.toml": "command = \"x\"\nsource = \"api\"\n",
		"services/job.toml": "command = \"x\"\n",
		"web/main.py":       "1",
		"api/main.py":       "1",
		"docs/README":       "1",
	}
	before := digests(mustLoad(t, base))
	for name, c := range map[string]struct {
		path, data string
		want       []string
	}{
		"docs":             {"docs/README", "2", nil},
		"code of web":      {"web/main.py", "2", []string{"web"}},
		"mode of a file":   {"web/main.py", "#!1", []string{"web"}},
		"config of api":    {"services/api.toml", "command = \"y\"\nsource = \"api\"\n", []string{"api"}},
		"comment":          {"services/api.toml", "# hello\nsource = \"./api/\"\ncommand = \"x\"\n", nil},
		"one more service": {"services/new.toml", "command = \"z\"\n", []string{"new"}},
		"settings":         {"tenement.toml", base["tenement.toml"] + "[settings]\nmax_restarts = 9\n", nil},
		"instances":        {"tenement.toml", base["tenement.toml"] + "[instances]\nweb = [\"a\"]\n", nil},
		"policy":           {"p.cue", "#Service: command: !=\"q\"\n", nil},
		"beside a config":  {"services/notes.txt", "x", []string{"job"}},
	} {
		files := maps.Clone(base)
		files[c.path] = c.data
		var changed []string
		for service, digest := range digests(mustLoad(t, files)) {
			if before[service] != digest {
				changed = append(changed, service)
			}
		}
		if !equal(changed, c.want) {
			t.Errorf("%s: changed %v, want %v", name, changed, c.want)
		}
	}
}

func digests(m *schema.Model) map[string]string {
	d := map[string]string{}
	for _, s := range m.Services {
		d[s.Name] = s.Digest
	}
	return d
}

// TestSpellingsMeanTheSame: an alias, another file, CUE instead of TOML are no
// change of a service.
func TestSpellingsMeanTheSame(t *testing.T) {
	t.Parallel()
	want := ""
	for i, files := range []map[string]string{
		{"tenement.toml": "[service.web]\ncommand = \"x\"\nisolation = \"process\"\ndepends_on = [\"db\"]\nsource=\"src\"\n[service.web.env]\nA = \"1\"\n"},
		{"tenement.toml": "[process.web]\ncommand = 'x'\nruntime = \"process\"\ndepends_on = [{ service = \"db\" }]\nsource=\"./src/\"\nenv = { A = \"1\" }\n"},
		{"services/web.toml": "command = \"\\u0078\"\nisolation = \"process\"\ndepends_on = [\"db\"]\nsource=\"src\"\nenv.A = \"1\"\n"},
		{"services/any.toml": "service.web = { command = \"x\", isolation = \"process\", depends_on = [\"db\"], source=\"src\", env = { A = \"1\" } }\n"},
		{"web.cue": "service: web: {command: \"x\", runtime: \"process\", depends_on: [\"db\"], source: \"src\", env: A: \"1\"}\n"},
		{"services/web.cue": "package tenement\nservice: web: #Service & {command: \"x\", isolation: \"process\", depends_on: [{service: \"db\"}], source: \"src\", env: A: \"1\"}\n"},
	} {
		files["src/main"] = "x"
		files["services/db.toml"] = "command = \"db\"\n"
		s := mustLoad(t, files).Service("web")
		if want == "" {
			want = s.Digest
		}
		if s.Digest != want {
			t.Errorf("%d: %v", i, s.Fields)
		}
	}
}

// TestOrigins: a service knows where it is declared.
func TestOrigins(t *testing.T) {
	t.Parallel()
	m := mustLoad(t, map[string]string{
		"tenement.toml":     "\n[service.a]\ncommand = \"x\"\n",
		"services/b.toml":   "# b\ncommand = \"x\"\n",
		"services/c.toml":   "\n\n[service.c]\ncommand = \"x\"\n",
		"services/more.cue": "\nservice: d: command: \"x\"\n",
	})
	for name, want := range map[string]string{"a": "tenement.toml:2:10", "b": "services/b.toml:1:1", "c": "services/c.toml:3:10", "d": "services/more.cue:2:10"} {
		if got := m.Service(name).Origin.String(); got != want {
			t.Errorf("%s: origin %s, want %s", name, got, want)
		}
	}
}
