package load_test

import (
	"bytes"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/cuecontext"
	"cuelang.org/go/encoding/jsonschema"

	"github.com/tenement/ten/schema"
)

// TestJSONSchemaIsCurrent generates what editors complete from and compares it
// with the embedded file. To update: go test ./schema/load -run JSONSchema -update
func TestJSONSchemaIsCurrent(t *testing.T) {
	t.Parallel()
	got := generate(t)
	if got == schema.JSONSchema {
		return
	}
	if !*update {
		t.Fatal("schema/tenement.schema.json is not what tenement.cue gives; run: go test ./schema/load -run JSONSchema -update")
	}
	if err := os.WriteFile("../tenement.schema.json", []byte(got), 0o644); err != nil {
		t.Fatal(err)
	}
}

func compiled(t testing.TB) (*cue.Context, cue.Value) {
	t.Helper()
	ctx := cuecontext.New()
	v := ctx.CompileString(schema.CUE)
	if err := v.Err(); err != nil {
		t.Fatal(err)
	}
	return ctx, v
}

func generate(t *testing.T) string {
	t.Helper()
	ctx, v := compiled(t)
	expr, err := jsonschema.Generate(v.LookupPath(cue.ParsePath("#Config")), &jsonschema.GenerateConfig{Version: jsonschema.VersionDraft2020_12})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(ctx.BuildExpr(expr))
	if err != nil {
		t.Fatal(err)
	}
	var doc map[string]any
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if err := d.Decode(&doc); err != nil {
		t.Fatal(err)
	}
	tidy(doc, "")
	doc["title"] = "tenement.toml"
	doc["description"] = "The config of tenement"
	defs := doc["$defs"].(map[string]any)
	annotate(defs["Service"], schema.ServiceFields())
	annotate(defs["Settings"], schema.SettingsFields())
	annotate(defs["TLS"], schema.TLSFields())
	out, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return string(out) + "\n"
}

// tidy says the same in fewer words: one integer instead of a number that is
// also an integer, plain numbers, a title for every field, one-line texts.
func tidy(v any, name string) {
	switch n := v.(type) {
	case []any:
		for _, item := range n {
			tidy(item, "")
		}
	case map[string]any:
		mergeInteger(n)
		for key, child := range n {
			if num, ok := child.(json.Number); ok {
				f, _ := num.Float64()
				n[key] = int64(f)
			}
			if s, ok := child.(string); ok && key == "description" {
				n[key] = strings.Join(strings.Fields(s), " ")
			}
			tidy(child, key)
		}
		if props, ok := n["properties"].(map[string]any); ok && name != "properties" {
			for key, p := range props {
				p.(map[string]any)["title"] = key
			}
		}
	}
}

func mergeInteger(n map[string]any) {
	all, _ := n["allOf"].([]any)
	for i, item := range all {
		if m := item.(map[string]any); len(m) == 1 && m["type"] == "number" && len(all) > 1 {
			all = slices.Delete(slices.Clone(all), i, i+1)
			n["allOf"] = all
			break
		}
	}
	if len(all) != 1 {
		return
	}
	delete(n, "allOf")
	for key, value := range all[0].(map[string]any) {
		n[key] = value
	}
}

// annotate marks what this build refuses and adds the defaults, so that an
// editor shows both.
func annotate(def any, fields []schema.Field) {
	props := def.(map[string]any)["properties"].(map[string]any)
	for _, f := range fields {
		if !f.Later {
			continue
		}
		p := props[f.Name].(map[string]any)
		props[f.Name] = map[string]any{
			"title": f.Name, "description": p["description"].(string) + " Not supported by this build.", "not": map[string]any{},
		}
	}
	for _, d := range slices.Concat(schema.ServiceDefaults(), schema.SettingsDefaults(), schema.TLSDefaults()) {
		if p, ok := props[d.Field].(map[string]any); ok {
			p["default"] = d.Value
		}
	}
}
