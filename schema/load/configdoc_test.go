package load_test

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"cuelang.org/go/cue"

	"github.com/tenement/ten/schema"
)

const (
	configDoc   = "../../docs/CONFIG.md"
	fieldsBegin = "<!-- From the schema: go test ./schema/load -run ConfigDoc -update -->\n"
	fieldsEnd   = "<!-- End of what is from the schema. -->\n"
)

// TestConfigDocIsCurrent holds the tables of docs/CONFIG.md to tenement.cue.
func TestConfigDocIsCurrent(t *testing.T) {
	t.Parallel()
	old, err := os.ReadFile(configDoc)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(old), fieldsBegin)
	_, tail, ok2 := strings.Cut(rest, fieldsEnd)
	if !ok || !ok2 {
		t.Fatalf("%s has not both of %q and %q", configDoc, fieldsBegin, fieldsEnd)
	}
	want := head + fieldsBegin + configTables(t) + fieldsEnd + tail
	switch {
	case want == string(old):
	case *update:
		if err := os.WriteFile(configDoc, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("%s is not what tenement.cue says; run: go test ./schema/load -run ConfigDoc -update", configDoc)
	}
}

// configTables says of every field what the schema's comment says of it, in the
// schema's order, a table for each table of the config.
func configTables(t *testing.T) string {
	t.Helper()
	var doc struct {
		Defs map[string]struct {
			Properties map[string]struct{ Description string }
		} `json:"$defs"`
	}
	if err := json.Unmarshal([]byte(schema.JSONSchema), &doc); err != nil {
		t.Fatal(err)
	}
	ctx, root := compiled(t)
	slum := ctx.CompileString(schema.SlumCUE, cue.Scope(root))
	var b strings.Builder
	for _, table := range []struct {
		title, definition string
		fields            []schema.Field
	}{
		{"`[service.NAME]`", "Service", schema.ServiceFields()},
		{"An entry of `depends_on`", "Dependency", schema.DependencyFields()},
		{"`[settings]`", "Settings", schema.SettingsFields()},
		{"`[settings.tls]`", "TLS", schema.TLSFields()},
		{"`[routing]`", "Routing", schema.RoutingFields()},
		{"`[host.NAME]` of `slum.toml`", "Host", schema.HostFields()},
		{"`[placement.SERVICE]` of `slum.toml`", "Placement", schema.PlacementFields()},
	} {
		fmt.Fprintf(&b, "\n### %s\n\n| field | takes | what it says |\n|---|---|---|\n", table.title)
		var later []string
		for _, f := range table.fields {
			what := doc.Defs[table.definition].Properties[f.Name].Description
			if d := slum.LookupPath(cue.ParsePath("#" + table.definition)); d.Exists() {
				what = comment(d, f)
			}
			if what == "" {
				t.Errorf("tenement.cue (or slum.cue) says nothing of %s.%s: write a comment above it", table.definition, f.Name)
			}
			if f.Later {
				later = append(later, "`"+f.Name+"`")
				continue
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s |\n", f.Name, takes(f), strings.ReplaceAll(what, "|", "\\|"))
		}
		if len(later) > 0 {
			slices.Sort(later)
			fmt.Fprintf(&b, "\nKnown, and refused by this build: %s.\n", strings.Join(later, ", "))
		}
	}
	return b.String() + "\n"
}

// comment is what a definition's source says above a field, on one line.
func comment(def cue.Value, f schema.Field) string {
	selector := cue.Str(f.Name).Optional()
	if f.Required {
		selector = cue.Str(f.Name).Required()
	}
	var text []string
	for _, group := range def.LookupPath(cue.MakePath(selector)).Doc() {
		text = append(text, strings.Fields(group.Text())...)
	}
	return strings.Join(text, " ")
}

func takes(f schema.Field) string {
	kind := string(f.Kind)
	if len(f.Enum) > 0 {
		kind = "`" + strings.Join(f.Enum, "`, `") + "`"
	}
	if f.Required {
		return kind + "; required"
	}
	return kind
}
