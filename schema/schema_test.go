package schema_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/tenement/ten/schema"
)

var update = flag.Bool("update", false, "rewrite testdata")

// TestDigestIsPinned: a digest that changes replaces every instance of every
// user once. If this fails, the canonical form changed: raise DigestVersion, and
// say in RATIONALE.md why it was worth it.
func TestDigestIsPinned(t *testing.T) {
	t.Parallel()
	s := schema.NewService(schema.Declaration{
		Name: "web",
		Values: schema.Values{
			"command":         "./web --port {port}",
			"args":            []any{"a b", "<&>", "é\u2028\x7f\"\\\n"},
			"env":             map[string]any{"A": "1", "a.b": "x"},
			"port":            int64(8080),
			"storage_persist": false,
			"depends_on":      []any{map[string]any{"service": "db"}, map[string]any{"service": "api", "condition": "started"}},
			"instances":       []any{"x"},
		},
		Instances: []string{"y"},
		Source:    "web",
		Tree:      "4b825dc642cb6eb9a060e54bf8d69288fbee4904",
	})
	want := map[string]string{
		"command":         `"./web --port {port}"`,
		"args":            `["a b","<&>","é\u2028` + "\x7f" + `\"\\\n"]`,
		"env.A":           `"1"`,
		"env.a.b":         `"x"`,
		"port":            `8080`,
		"storage_persist": `false`,
		"depends_on":      `[{"service":"db"},{"condition":"started","service":"api"}]`,
		"source.tree":     `"4b825dc642cb6eb9a060e54bf8d69288fbee4904"`,
	}
	for name, value := range want {
		if s.Fields[name] != value {
			t.Errorf("Fields[%q] = %s, want %s", name, s.Fields[name], value)
		}
	}
	if len(s.Fields) != len(want) {
		t.Errorf("Fields = %v", s.Fields)
	}
	if want := "v1:6e1fb675f28e999dbc872c79485cb9827db22d4651d6ae8d4682ae1e3d193a4d"; s.Digest != want {
		t.Errorf("Digest = %s, want %s", s.Digest, want)
	}
	if empty := schema.Digest(nil); empty != "v1:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" {
		t.Errorf("digest of nothing = %s", empty)
	}
}

func TestDigestSeesEveryBoundary(t *testing.T) {
	t.Parallel()
	seen := map[string]int{}
	for i, fields := range []map[string]string{
		{}, {"a": "1"}, {"a": "2"}, {"b": "1"}, {"a": "1", "b": "1"}, {"ab": "1"}, {"a": "1b"}, {"a": ""}, {"a": "", "b": ""},
	} {
		d := schema.Digest(fields)
		if other, ok := seen[d]; ok {
			t.Errorf("fields %d and %d have the digest %s", i, other, d)
		}
		seen[d] = i
	}
}

func TestNewServiceAppliesDefaults(t *testing.T) {
	t.Parallel()
	s := schema.NewService(schema.Declaration{Name: "web", Values: schema.Values{"command": "x"}, Source: ".", Tree: "t"})
	switch {
	case s.Isolation != "namespace", s.Restart != schema.RestartOnFailure, s.StopSignal != "SIGTERM",
		s.StartupTimeout != 10*time.Second, s.RequestTimeout != 30*time.Second, s.StopTimeout != 10*time.Second,
		s.MinHealthy != 0, !s.StoragePersist, s.IdleTimeout != 0, s.Instances == nil:
		t.Errorf("defaults: %+v", s)
	}
	for _, c := range []struct {
		name      string
		values    schema.Values
		instances []string
		onDemand  bool
		most      int
	}{
		{"no instances", schema.Values{}, nil, true, schema.DefaultMaxInstances},
		{"no instances, said so", schema.Values{"on_demand": false}, nil, false, schema.DefaultMaxInstances},
		{"declared", schema.Values{"instances": []any{"a"}}, nil, false, schema.DefaultMaxInstances},
		{"declared outside, on demand", schema.Values{"on_demand": true}, []string{"a"}, true, schema.DefaultMaxInstances},
		{"fixed port", schema.Values{"port": int64(80)}, nil, true, 1},
		{"port 0", schema.Values{"port": int64(0)}, nil, true, schema.DefaultMaxInstances},
		{"fixed socket", schema.Values{"socket": "/run/x"}, nil, true, 1},
		{"socket each", schema.Values{"socket": "/run/{id}"}, nil, true, schema.DefaultMaxInstances},
		{"most", schema.Values{"max_instances": int64(3)}, nil, true, 3},
		{"many", schema.Values{}, make([]string, 5000), false, 5000},
	} {
		s := schema.NewService(schema.Declaration{Values: c.values, Instances: c.instances})
		if s.OnDemand != c.onDemand || s.MaxInstances != c.most {
			t.Errorf("%s: on_demand %v, max_instances %d", c.name, s.OnDemand, s.MaxInstances)
		}
	}
	if got := schema.NewSettings(nil); got.HealthCheckInterval != 10*time.Second || got.MaxRestarts != 3 ||
		got.RestartWindow != 5*time.Minute || got.BackoffBase != time.Second || got.BackoffMax != time.Minute || got.AllowRemovals {
		t.Errorf("settings: %+v", got)
	}
}

// problems has a place after a tab and a letter of two bytes, one at the end of
// a line, one without a place, and one that tries to write lines of its own.
func problems() []schema.Problem {
	return []schema.Problem{
		{
			Position: schema.Position{File: "a b/tenement.toml", Line: 3, Col: 12, EndCol: 15}, Severity: schema.Error,
			Code: "unknown-key", Path: "service.web.é", Message: "there is no such field", Hint: "did you mean env?",
			Excerpt: "\té = \"é\"\tabc", Related: []schema.Position{{File: "policy.cue", Line: 1, Col: 2, EndCol: 4}},
		},
		{Position: schema.Position{File: "x.toml", Line: 1, Col: 4, EndCol: 4}, Severity: schema.Warning, Code: "syntax", Message: "end", Excerpt: "abc"},
		{Position: schema.Position{File: "y.toml"}, Severity: schema.Error, Code: "symlink", Message: "is a symbolic link"},
		{Position: schema.Position{File: "z.toml", Line: 1, Col: 1, EndCol: 2}, Severity: schema.Error, Code: "unknown-key", Path: "a", Message: "bad\nvalue\x1b[0m %, :", Excerpt: "\x1b]0;x\u202e"},
	}
}

func TestReports(t *testing.T) {
	t.Parallel()
	for name, write := range map[string]func(*bytes.Buffer) error{
		"text":   func(b *bytes.Buffer) error { return schema.WriteText(b, problems()) },
		"json":   func(b *bytes.Buffer) error { return schema.WriteJSON(b, schema.NewReport(nil, problems())) },
		"github": func(b *bytes.Buffer) error { return schema.WriteGitHub(b, problems()) },
		"sarif":  func(b *bytes.Buffer) error { return schema.WriteSARIF(b, problems(), "1.2.3") },
	} {
		var b bytes.Buffer
		if err := write(&b); err != nil {
			t.Fatal(err)
		}
		golden := "testdata/report." + name
		if *update {
			if err := os.WriteFile(golden, b.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if b.String() != string(want) {
			t.Errorf("%s:\n%s\nwant:\n%s", name, b.String(), want)
		}
	}
}

func TestEmptyReports(t *testing.T) {
	t.Parallel()
	var text, gh, sarif, js bytes.Buffer
	for _, err := range []error{
		schema.WriteText(&text, nil), schema.WriteGitHub(&gh, nil), schema.WriteSARIF(&sarif, nil, ""),
		schema.WriteJSON(&js, schema.NewReport(&schema.Model{}, nil)),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if text.Len()+gh.Len() > 0 {
		t.Errorf("nothing to say: %q %q", text.String(), gh.String())
	}
	if strings.Contains(sarif.String(), "null") || strings.Contains(js.String(), "null") {
		t.Errorf("a list is null:\n%s%s", sarif.String(), js.String())
	}
	var r schema.Report
	if err := json.Unmarshal(js.Bytes(), &r); err != nil || !r.OK || r.FormatVersion != 1 {
		t.Errorf("report %+v, %v", r, err)
	}
}

func TestValidDomain(t *testing.T) {
	t.Parallel()
	for domain, want := range map[string]bool{
		"localhost": true, "example.com": true, "a-1.b.example": true, "": false, "example.": false, ".example": false,
		"a..b": false, "Example.com": false, "a_b.example": false, "-a.example": false, strings.Repeat("x", 64) + ".example": false,
	} {
		if got := schema.ValidDomain(domain); got != want {
			t.Errorf("ValidDomain(%q) = %t", domain, got)
		}
	}
}
