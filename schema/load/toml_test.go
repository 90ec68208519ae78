package load

import (
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/pelletier/go-toml/v2"
	"pgregory.net/rapid"

	"github.com/tenement/ten/proptest"
)

// sameAsLibrary holds parseTOML to what the library's own decoder makes of a
// document: both refuse it, or both read the same values.
func sameAsLibrary(doc string) error {
	var want map[string]any
	werr := toml.Unmarshal([]byte(doc), &want)
	f := &file{path: "x.toml", data: []byte(doc)}
	root, problems := parseTOML(f)
	for _, p := range problems {
		if p.Line < 1 || p.Col < 1 || p.EndCol < p.Col {
			return fmt.Errorf("problem without a place: %v", p)
		}
	}
	switch {
	case werr == nil && len(problems) > 0:
		return fmt.Errorf("refused: %v\nthe library reads %v", problems, want)
	case werr != nil && len(problems) == 0 && !hasInexact(root):
		return fmt.Errorf("accepted as %v\nthe library says %v", root.value(), werr)
	case werr != nil || root == nil || hasInexact(root):
		return nil
	}
	if want == nil {
		want = map[string]any{}
	}
	if got := root.value(); !reflect.DeepEqual(got, normal(want)) {
		return fmt.Errorf("read as %#v\nthe library reads %#v", got, want)
	}
	return nil
}

// hasInexact finds dates and decimal numbers: the library looks into them, we
// refuse them by their kind.
func hasInexact(n *node) bool {
	if n.kind == floatNode || n.kind == dateNode {
		return true
	}
	for _, c := range n.fields {
		if hasInexact(c) {
			return true
		}
	}
	for _, c := range n.items {
		if hasInexact(c) {
			return true
		}
	}
	return false
}

// normal turns the library's values into ours.
func normal(v any) any {
	switch t := v.(type) {
	case map[string]any:
		m := map[string]any{}
		for k, item := range t {
			m[k] = normal(item)
		}
		return m
	case []any:
		l := make([]any, len(t))
		for i, item := range t {
			l[i] = normal(item)
		}
		return l
	case float64:
		if math.IsNaN(t) {
			return "nan"
		}
		return fmt.Sprint(t)
	case time.Time, toml.LocalDate, toml.LocalTime, toml.LocalDateTime:
		return fmt.Sprint(t)
	}
	return v
}

// TestTOMLTables tries every document of up to four of the lines on which TOML's
// rules about opening tables hang.
func TestTOMLTables(t *testing.T) {
	t.Parallel()
	lines := []string{
		"[a]", "[a.b]", "[a.b.c]", "[[a]]", "[[a.b]]", "a = 1", "a.b = 1", "a.b.c = 1", "b = 1", "a = {}", "a = { b.c = 1 }", "a = [{}]",
	}
	var try func(doc string, left int)
	try = func(doc string, left int) {
		if err := sameAsLibrary(doc); err != nil {
			t.Errorf("%s%v", doc, err)
		}
		if left == 0 || t.Failed() {
			return
		}
		for _, l := range lines {
			try(doc+l+"\n", left-1)
		}
	}
	depth := 4
	if testing.Short() {
		depth = 3
	}
	try("", depth)
}

// TestTOMLMeansTheSame builds documents of the lines that make TOML's rules on
// tables hard, in any order.
func TestTOMLMeansTheSame(t *testing.T) {
	t.Parallel()
	key := rapid.SampledFrom([]string{"a", "b", "c", "a.b", "b.a", "a.b.c", `"a"`, `'b'`, `"a.b"`, "a . b", `""`, "1"})
	value := rapid.SampledFrom([]string{
		"1", "+1", "-0", "0x1F", "0o17", "0b11", "1_000", "01", "1__0", "9223372036854775807", "9223372036854775808", "true", "false",
		`"x"`, `'x'`, `"\u00e9\t\""`, `"""
two
lines"""`, `'''
raw\'''`, "[]", "[1, 2,]", "[[1], [\"x\"]]", "[\n1, # c\n2\n]", "{}", "{ a = 1 }", "{ a.b = 1, a.c = 2 }", "{ a = 1, a = 2 }",
		"[{ a = 1 }, { a = 2 }]", "{ a = { b = 1 } }", "1.5", "inf", "2024-01-01", "", "x", "{ a = 1", "[1", `"open`,
	})
	line := rapid.Custom(func(t *rapid.T) string {
		switch rapid.IntRange(0, 5).Draw(t, "line") {
		case 0:
			return "[" + key.Draw(t, "table") + "]"
		case 1:
			return "[[" + key.Draw(t, "list") + "]]"
		case 2:
			return "# comment " + key.Draw(t, "text")
		default:
			return key.Draw(t, "key") + " = " + value.Draw(t, "value") + rapid.SampledFrom([]string{"", " # c", "\r"}).Draw(t, "end")
		}
	})
	proptest.Check(t, func(t *rapid.T) {
		doc := strings.Join(rapid.SliceOfN(line, 0, 8).Draw(t, "lines"), "\n")
		if err := sameAsLibrary(doc); err != nil {
			t.Fatalf("%s\n%v", doc, err)
		}
	})
}

// TestTOMLIsLinear: the largest file there may be, full of tables, is read in
// well under a second. By the square of them it takes minutes, so the bound can
// be wide enough for any machine.
func TestTOMLIsLinear(t *testing.T) {
	t.Parallel()
	var doc strings.Builder
	n := 0
	for ; doc.Len() < 1<<20-100; n++ {
		fmt.Fprintf(&doc, "[service.s%[1]d]\nc=1\n[service.s%[1]d.env]\nA=1\n", n)
	}
	start := time.Now()
	root, problems := parseTOML(&file{path: "x.toml", data: []byte(doc.String())})
	if len(problems) > 0 || len(root.child("service").keys) != n {
		t.Fatalf("%d tables, %v", len(root.child("service").keys), problems)
	}
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("%d services took %v", n, took)
	}
}

func FuzzTOML(f *testing.F) {
	f.Add("[a.b]\nc = 1\n[a]\nd = \"x\"\n[[l]]\n[l.m]\n[[l]]\n")
	f.Add("a = { b = [1, { c = 'd' }] }\na.b = 1\n")
	f.Fuzz(func(t *testing.T, doc string) {
		if len(doc) > 1<<14 {
			return
		}
		if err := sameAsLibrary(doc); err != nil {
			t.Fatal(err)
		}
	})
}
