package intake

import (
	"bytes"
	"math"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
)

const hclFix = "mend the file: nomad job validate"

// The bounds of an HCL file. Its parser goes down with every bracket and operator
// before a value, and its templates take time by the square of their parts; it has
// no bounds of its own.
const (
	maxBrackets  = 200
	maxOperators = 100    // in a row
	maxTemplates = 5000   // ${ and %{ in one file
	maxChoices   = 1000   // ? in one file
	maxSums      = 20_000 // operators between values in one file
)

// readHCL reads an HCL file into a tree: attributes as values, blocks as lists of
// tables, the labels of a block as its text. What an expression needs to know is
// given by lookup; one that can't be worked out is its own text.
func readHCL(src Source, lookup func(name string) (cty.Value, bool)) (*tree, error) {
	if line, deep := tooDeep(src.Data); deep {
		return nil, &Error{at(src, line), "it is nested too deeply, or has too many expressions", hclFix}
	}
	file, diags := hclsyntax.ParseConfig(src.Data, src.Name, hcl.InitialPos)
	if diags.HasErrors() {
		d := diags.Errs()[0].(*hcl.Diagnostic)
		line := 0
		if d.Subject != nil {
			line = d.Subject.Start.Line
		}
		return nil, &Error{at(src, line), clean(strings.TrimSuffix(d.Summary, ".") + ": " + d.Detail), hclFix}
	}
	r := &hclReader{src: src, lookup: lookup}
	body, ok := file.Body.(*hclsyntax.Body)
	if !ok {
		return nil, &Error{at(src, 0), "it is no HCL", hclFix}
	}
	return r.body(body), nil
}

// tooDeep looks for what is beyond the bounds, strings included.
func tooDeep(data []byte) (line int, deep bool) {
	var c cost
	for text := range bytes.Lines(data) {
		line++
		if start := bytes.TrimLeft(text, " \t"); bytes.HasPrefix(start, []byte("#")) || bytes.HasPrefix(start, []byte("//")) {
			continue
		}
		if c.add(text); c.tooMuch() {
			return line, true
		}
	}
	return 0, false
}

// cost is what a file asks of the parser.
type cost struct{ depth, deepest, row, longest, templates, choices, operators int }

func (c *cost) tooMuch() bool {
	return c.deepest > maxBrackets || c.longest > maxOperators || c.templates > maxTemplates || c.choices > maxChoices || c.operators > maxSums
}

func (c *cost) add(line []byte) {
	for i, b := range line {
		switch b {
		case ' ', '\t', '\r', '\n':
			continue
		case '!', '-':
			c.row++
			c.operators++
			c.longest = max(c.longest, c.row)
			continue
		case '{', '[', '(':
			c.depth++
			c.deepest = max(c.deepest, c.depth)
			if b == '{' && i > 0 && (line[i-1] == '$' || line[i-1] == '%') {
				c.templates++
			}
			continue
		case '}', ']', ')':
			c.depth = max(c.depth-1, 0)
		case '?':
			c.choices++
		case '+', '*', '/', '%', '<', '>', '&', '|':
			c.operators++
		}
		c.row = 0
	}
}

type hclReader struct {
	src    Source
	lookup func(name string) (cty.Value, bool)
}

func (r *hclReader) body(body *hclsyntax.Body) *tree {
	t := newTable(at(r.src, body.SrcRange.Start.Line))
	type entry struct {
		line, col int
		key       string
		value     *tree
	}
	var entries []entry
	for name, a := range body.Attributes {
		start := a.SrcRange.Start
		entries = append(entries, entry{start.Line, start.Column, name, r.expression(a.Expr, start.Line)})
	}
	for _, b := range body.Blocks {
		v := r.body(b.Body)
		v.at.Line = b.TypeRange.Start.Line
		v.text = strings.Join(b.Labels, ".")
		entries = append(entries, entry{b.TypeRange.Start.Line, b.TypeRange.Start.Column, b.Type, v})
	}
	slices.SortFunc(entries, func(a, b entry) int {
		if a.line != b.line {
			return a.line - b.line
		}
		return a.col - b.col
	})
	for _, e := range entries {
		all, ok := t.fields[e.key]
		switch {
		case e.value.kind != table:
			t.put(e.key, e.value)
		case !ok:
			t.put(e.key, &tree{at: e.value.at, kind: list, items: []*tree{e.value}})
		case all.kind == list:
			all.items = append(all.items, e.value)
		}
	}
	return t
}

// expression works out a value. Of a list, each item by itself, so that one that
// can't be worked out leaves the others alone.
func (r *hclReader) expression(e hclsyntax.Expression, line int) *tree {
	if items, ok := e.(*hclsyntax.TupleConsExpr); ok {
		t := &tree{at: at(r.src, line), kind: list}
		for _, item := range items.Exprs {
			t.items = append(t.items, r.expression(item, item.Range().Start.Line))
		}
		return t
	}
	known := &hcl.EvalContext{Variables: map[string]cty.Value{}}
	for _, v := range e.Variables() {
		if value, ok := r.lookup(v.RootName()); ok {
			known.Variables[v.RootName()] = value
		}
	}
	v, diags := e.Value(known)
	if diags.HasErrors() || !v.IsWhollyKnown() {
		rng := e.Range()
		return &tree{at: at(r.src, line), open: true, text: strings.Trim(string(rng.SliceBytes(r.src.Data)), `"`)}
	}
	return r.value(v, line, 0)
}

func (r *hclReader) value(v cty.Value, line, depth int) *tree {
	t := &tree{at: at(r.src, line)}
	kind := v.Type()
	switch {
	case v.IsNull() || depth > maxDepth:
		t.kind = null
	case kind.IsPrimitiveType():
		text, err := convert.Convert(v, cty.String)
		if err != nil || text.IsNull() {
			t.kind = null
			return t
		}
		t.text = text.AsString()
	case kind.IsObjectType() || kind.IsMapType():
		t = newTable(t.at)
		for it := v.ElementIterator(); it.Next(); {
			key, value := it.Element()
			t.put(key.AsString(), r.value(value, line, depth+1))
		}
	case kind.IsTupleType() || kind.IsListType() || kind.IsSetType():
		t.kind = list
		for it := v.ElementIterator(); it.Next(); {
			_, value := it.Element()
			t.items = append(t.items, r.value(value, line, depth+1))
		}
	default:
		t.kind = null
	}
	return t
}

// whole reads a number as Nomad's fields do.
func whole(text string) (int, bool) {
	v, err := convert.Convert(cty.StringVal(text), cty.Number)
	if err != nil || v.IsNull() {
		return 0, false
	}
	f, _ := v.AsBigFloat().Float64()
	return int(f), f == math.Trunc(f) && math.Abs(f) < 1<<40
}
