package load_test

import (
	"testing"

	"cuelang.org/go/cue"
	cuejson "cuelang.org/go/encoding/json"
	"cuelang.org/go/encoding/jsonschema"
	"pgregory.net/rapid"

	"github.com/tenement/ten/proptest"
	"github.com/tenement/ten/schema"
)

// TestJSONSchemaJudgesLikeCUE reads the JSON Schema back and compares its verdict
// with that of tenement.cue on services with a few fields right or wrong. What
// this build refuses the JSON Schema refuses too, though CUE knows it.
func TestJSONSchemaJudgesLikeCUE(t *testing.T) {
	t.Parallel()
	ctx, root := compiled(t)
	truth := root.LookupPath(cue.ParsePath("#Config"))
	expr, err := cuejson.Extract("tenement.schema.json", []byte(schema.JSONSchema))
	if err != nil {
		t.Fatal(err)
	}
	file, err := jsonschema.Extract(ctx.BuildExpr(expr), &jsonschema.Config{})
	if err != nil {
		t.Fatal(err)
	}
	editor := ctx.BuildFile(file)
	if err := editor.Err(); err != nil {
		t.Fatal(err)
	}
	values := rapid.SampledFrom([]any{
		"x", "", " ", "/up", "always", "vm", "SIGINT", "A=B", "prod", "Prod", int64(0), int64(-1), int64(1), int64(70000), int64(10001),
		int64(1 << 40), 1.5, true, false, nil, []any{}, []any{"a"}, []any{"A"}, []any{int64(1)}, []any{"a", map[string]any{"service": "b"}},
		[]any{map[string]any{"condition": "started"}}, []any{map[string]any{"service": "b", "condition": "up"}},
		map[string]any{}, map[string]any{"A": "b"}, map[string]any{"A=B": "b"}, map[string]any{"A": int64(1)},
	})
	var names []string
	later := map[string]bool{}
	for _, f := range schema.ServiceFields() {
		names = append(names, f.Name)
		later[f.Name] = f.Later
	}
	field := rapid.SampledFrom(append(names, "unknown"))
	ctxUse := 0
	proptest.Check(t, func(t *rapid.T) {
		if ctxUse++; ctxUse > 5000 {
			t.Skip("a CUE context only grows")
		}
		service := map[string]any{"command": "x"}
		beyond := false
		for range rapid.IntRange(0, 3).Draw(t, "fields") {
			name := field.Draw(t, "field")
			service[name] = values.Draw(t, "value")
			beyond = beyond || later[name]
		}
		if rapid.IntRange(0, 9).Draw(t, "without command") == 0 {
			delete(service, "command")
		}
		doc := map[string]any{"service": map[string]any{rapid.SampledFrom([]string{"web", "Web"}).Draw(t, "name"): service}}
		data := ctx.Encode(doc)
		want := truth.Unify(data).Validate(cue.Concrete(true)) == nil && !beyond
		got := editor.Unify(data).Validate(cue.Concrete(true)) == nil
		if got != want {
			t.Fatalf("%v\ntenement.cue: %v, tenement.schema.json: %v", doc, want, got)
		}
	})
}
