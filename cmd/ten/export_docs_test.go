package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tenement/ten/export"
)

const (
	exportDoc   = "../../docs/EXPORT.md"
	tablesBegin = "<!-- From the code: go test ./cmd/ten -run TestExportDoc -update -->\n"
	tablesEnd   = "<!-- End of what is from the code. -->\n"
)

// TestExportDoc holds docs/EXPORT.md to what the targets say of every field, and
// the targets to saying it.
func TestExportDoc(t *testing.T) {
	t.Parallel()
	fields := export.FieldNames()
	for _, target := range exportTargets() {
		for _, fault := range usesFaults(target, fields) {
			t.Error(fault)
		}
	}
	old, err := os.ReadFile(filepath.FromSlash(exportDoc))
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := bytes.Cut(old, []byte(tablesBegin))
	_, tail, ok2 := bytes.Cut(rest, []byte(tablesEnd))
	if !ok || !ok2 {
		t.Fatalf("%s has not both of %q and %q", exportDoc, tablesBegin, tablesEnd)
	}
	want := slices.Concat(head, []byte(tablesBegin+fieldTables(fields)+tablesEnd), tail)
	switch {
	case bytes.Equal(old, want):
	case *update:
		if err := os.WriteFile(filepath.FromSlash(exportDoc), want, 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("%s does not say what the targets do; write it again: go test ./cmd/ten -run TestExportDoc -update", exportDoc)
	}
}

// usesFaults are the fields of which a target says nothing, too much, or too
// little.
func usesFaults(target export.Target, fields []string) (faults []string) {
	said := map[string]bool{}
	for _, u := range target.Uses {
		switch {
		case !slices.Contains(fields, u.Field):
			faults = append(faults, fmt.Sprintf("target %s says what becomes of %q, and there is no such field in the schema: remove it from its Uses", target.Name, u.Field))
		case said[u.Field]:
			faults = append(faults, fmt.Sprintf("target %s says twice what becomes of %s", target.Name, u.Field))
		case u.Kind == export.Carried && u.As == "", u.Kind != export.Carried && u.Why == "":
			faults = append(faults, fmt.Sprintf("target %s, field %s: carried wants As, converted and lost want Why", target.Name, u.Field))
		case u.Kind == export.Converted && u.As == "":
			faults = append(faults, fmt.Sprintf("target %s, field %s: converted to what? As is missing", target.Name, u.Field))
		}
		said[u.Field] = true
	}
	for _, f := range fields {
		if !said[f] {
			faults = append(faults, fmt.Sprintf("target %s does not say what becomes of %s: add {Field: %q, Kind: carried, converted or lost, As: ..., Why: ...} to its Uses in export/%s, "+
				"and make its Export do that; then go test ./cmd/ten -run TestExportDoc -update", target.Name, f, f, target.Name))
		}
	}
	return faults
}

func TestUsesFaultsBite(t *testing.T) {
	t.Parallel()
	uses := []export.Use{
		{Field: "a", Kind: export.Carried, As: "x"}, {Field: "a", Kind: export.Carried, As: "x"}, {Field: "gone", Kind: export.Lost, Why: "y"},
		{Field: "b", Kind: export.Lost}, {Field: "c", Kind: export.Converted, Why: "z"},
	}
	faults := strings.Join(usesFaults(export.Target{Name: "x", Uses: uses}, []string{"a", "b", "c", "sleep"}), "\n")
	for _, want := range []string{"says twice what becomes of a", `"gone", and there is no such field`, "field b: carried wants As", "field c: converted to what", `add {Field: "sleep"`} {
		if !strings.Contains(faults, want) {
			t.Errorf("no %q in\n%s", want, faults)
		}
	}
}

// fieldTables is every field by every target, and then each target's own words.
func fieldTables(fields []string) string {
	var b strings.Builder
	targets := exportTargets()
	b.WriteString("\n| field |")
	for _, t := range targets {
		fmt.Fprintf(&b, " %s |", t.Name)
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(targets)) + "\n")
	for _, f := range fields {
		fmt.Fprintf(&b, "| `%s` |", f)
		for _, t := range targets {
			fmt.Fprintf(&b, " %s |", useOf(t, f).Kind)
		}
		b.WriteByte('\n')
	}
	for _, t := range targets {
		fmt.Fprintf(&b, "\n### %s\n\n%s.\n\n| field | | as | because |\n|---|---|---|---|\n", t.Name, strings.ToUpper(t.Short[:1])+t.Short[1:])
		for _, f := range fields {
			u := useOf(t, f)
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", f, u.Kind, cell(u.As), cell(u.Why))
		}
	}
	b.WriteByte('\n')
	return b.String()
}

func useOf(t export.Target, field string) export.Use {
	for _, u := range t.Uses {
		if u.Field == field {
			return u
		}
	}
	return export.Use{}
}

func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }
