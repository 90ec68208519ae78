package hcl_test

import (
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/hclwrite"
	"github.com/zclconf/go-cty/cty"
	"golang.org/x/text/unicode/norm"
	"pgregory.net/rapid"

	"github.com/tenement/ten/export/exporttest"
	tenhcl "github.com/tenement/ten/export/hcl"
	"github.com/tenement/ten/proptest"
)

// exact is a text that HCL gives back as it was written.
func exact() *rapid.Generator[string] {
	return rapid.Map(exporttest.Text(), func(s string) string { return norm.NFC.String(strings.ToValidUTF8(s, "")) })
}

// parse gives the body of a file that the formatter would leave as it is.
func parse(t *rapid.T, data []byte) *hclsyntax.Body {
	if want := hclwrite.Format(data); string(want) != string(data) {
		t.Fatalf("the formatter makes of\n%s\nthis:\n%s", data, want)
	}
	f, diags := hclsyntax.ParseConfig(data, "t.hcl", hcl.InitialPos)
	if diags.HasErrors() {
		t.Fatalf("%v\n%s", diags, data)
	}
	return f.Body.(*hclsyntax.Body)
}

func TestQuotesAsTheLanguageDoes(t *testing.T) {
	t.Parallel()
	proptest.Check(t, func(t *rapid.T) {
		s := exact().Draw(t, "text")
		if got, want := tenhcl.Quote(s), string(hclwrite.TokensForValue(cty.StringVal(s)).Bytes()); got != want {
			t.Fatalf("%q is written %s, want %s", s, got, want)
		}
		s = exporttest.Text().Draw(t, "as it comes")
		if tenhcl.Exact(s) != (cty.StringVal(s).AsString() == s) {
			t.Fatalf("%q: exact or not?", s)
		}
	})
}

// TestLayoutIsTheFormatters writes files at random and reads back what is in them.
func TestLayoutIsTheFormatters(t *testing.T) {
	t.Parallel()
	proptest.Check(t, func(t *rapid.T) {
		var w tenhcl.Writer
		want := map[string]cty.Value{}
		w.Comment("first")
		for i, what := range rapid.SliceOfN(rapid.IntRange(0, 6), 0, 12).Draw(t, "parts") {
			name := strings.Repeat("n", i+1)
			switch what {
			case 0:
				s := exact().Draw(t, "word")
				if w.Word(name, s); s != "" {
					want[name] = cty.StringVal(s)
				}
			case 1:
				n := rapid.IntRange(0, 1000).Draw(t, "number")
				if w.Number(name, n); n != 0 {
					want[name] = cty.NumberIntVal(int64(n))
				}
			case 2:
				list := rapid.SliceOfN(exact(), 0, 3).Draw(t, "list")
				if w.List(name, list); len(list) > 0 {
					want[name] = tuple(list)
				}
			case 3:
				m := rapid.MapOfN(exact(), exact(), 0, 4).Draw(t, "map")
				if w.Map(name, m); len(m) > 0 {
					want[name] = object(m)
				}
			case 4:
				w.Blank()
			case 5:
				w.Comment(name)
			case 6:
				w.Open("block", exact().Draw(t, "label"))
				w.Word("inner", "x")
				w.Set("widest", "true")
				w.Close()
			}
		}
		body := parse(t, w.Bytes())
		if len(body.Attributes) != len(want) {
			t.Fatalf("%d attributes of %d in\n%s", len(body.Attributes), len(want), w.Bytes())
		}
		for name, value := range want {
			if got, diags := body.Attributes[name].Expr.Value(nil); diags.HasErrors() || !got.RawEquals(value) {
				t.Fatalf("%s came back as %#v, want %#v: %v", name, got, value, diags)
			}
		}
	})
}

func tuple(list []string) cty.Value {
	var values []cty.Value
	for _, s := range list {
		values = append(values, cty.StringVal(s))
	}
	return cty.TupleVal(values)
}

func object(m map[string]string) cty.Value {
	values := map[string]cty.Value{}
	for k, v := range m {
		values[k] = cty.StringVal(v)
	}
	return cty.ObjectVal(values)
}

// TestForIsAKeyToo has the one word that can't stand bare at the head of an
// object, and those that look like values.
func TestForIsAKeyToo(t *testing.T) {
	t.Parallel()
	proptest.Check(t, func(t *rapid.T) {
		m := rapid.MapOfN(rapid.SampledFrom([]string{"for", "if", "in", "null", "true", "false", "é", "e", "日本", "a.b", ""}), exact(), 1, 6).Draw(t, "map")
		var w tenhcl.Writer
		w.Map("m", m)
		if got, diags := parse(t, w.Bytes()).Attributes["m"].Expr.Value(nil); diags.HasErrors() || !got.RawEquals(object(m)) {
			t.Fatalf("%v became %#v: %v\n%s", m, got, diags, w.Bytes())
		}
	})
}
