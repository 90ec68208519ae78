package load

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"

	"github.com/tenement/ten/schema"
)

// opened is how a table came to be: TOML's rules on adding to it hang on that.
type opened uint8

const (
	byHeaderBelow opened = iota // [a.b] made a; [a] may still follow
	byHeader                    // [a]
	byDots                      // a.b = 1 made a; only more dots may add
	byList                      // an item of [[a]]
	byBraces                    // a = {...}; nothing may add
)

// parseTOML reads a file into nodes. It is one linear pass over the library's
// parser: the library's own decoder needs time by the square of the number of
// tables, and keeps no places. The meaning of the document is the same, which a
// test holds; where a key is defined twice the first one stands.
//
// The file's tree is returned even when there are problems, as far as it goes.
func parseTOML(f *file) (*node, []schema.Problem) {
	if p, ok := checkEncoding(f); !ok {
		return nil, []schema.Problem{p}
	}
	t := &tomlReader{file: f, root: &node{file: f}}
	t.current = t.root
	t.parser.Reset(f.data)
	for t.parser.NextExpression() {
		t.expression(t.parser.Expression())
	}
	if err := t.parser.Error(); err != nil {
		t.problems = append(t.problems, t.syntax(err))
	}
	return t.root, t.problems
}

func checkEncoding(f *file) (schema.Problem, bool) {
	if bytes.HasPrefix(f.data, []byte("\xef\xbb\xbf")) {
		p := f.problem(span{0, 0}, "syntax", "", "the file begins with a byte order mark")
		p.Hint = "save it as UTF-8 without BOM"
		return p, false
	}
	if utf8.Valid(f.data) {
		return schema.Problem{}, true
	}
	bad := 0
	for {
		r, n := utf8.DecodeRune(f.data[bad:])
		if r == utf8.RuneError && n <= 1 {
			break
		}
		bad += n
	}
	p := f.problem(span{bad, bad + 1}, "not-utf8", "", fmt.Sprintf("byte 0x%02x is not UTF-8", f.data[bad]))
	p.Hint = "save the file as UTF-8"
	return p, false
}

// tomlReader builds the tree of one document.
type tomlReader struct {
	file     *file
	parser   unstable.Parser
	root     *node
	current  *node // what key = value lines add to; nil after a refused header
	problems []schema.Problem
}

func (t *tomlReader) expression(e *unstable.Node) {
	switch e.Kind {
	case unstable.Table:
		t.current = t.header(e, t.openTable)
	case unstable.ArrayTable:
		t.current = t.header(e, t.openListItem)
	case unstable.KeyValue:
		if t.current != nil {
			t.keyValue(t.current, e)
		}
	}
}

// header walks to the parent of the table that [a.b.c] names and opens it.
func (t *tomlReader) header(e *unstable.Node, open func(parent *node, name string, at span) *node) *node {
	parent := t.root
	for it := e.Key(); it.Next(); {
		name, at := string(it.Node().Data), rangeOf(it.Node())
		if it.IsLast() {
			return open(parent, name, at)
		}
		next := parent.child(name)
		switch {
		case next == nil:
			next = &node{file: t.file, key: at, val: at}
			parent.put(name, next)
		case next.kind == listNode && next.opened == byList:
			next = next.items[len(next.items)-1]
		case next.kind != tableNode || next.opened == byBraces:
			t.twice(next, name, at)
			return nil
		}
		parent = next
	}
	return nil
}

func (t *tomlReader) openTable(parent *node, name string, at span) *node {
	n := parent.child(name)
	switch {
	case n == nil:
		n = &node{file: t.file, key: at, val: at, opened: byHeader}
		parent.put(name, n)
	case n.kind == tableNode && n.opened == byHeaderBelow:
		n.opened, n.key, n.val = byHeader, at, at
	default:
		t.twice(n, name, at)
		return nil
	}
	return n
}

func (t *tomlReader) openListItem(parent *node, name string, at span) *node {
	list := parent.child(name)
	switch {
	case list == nil:
		list = &node{file: t.file, kind: listNode, opened: byList, key: at, val: at}
		parent.put(name, list)
	case list.kind != listNode || list.opened != byList:
		t.twice(list, name, at)
		return nil
	}
	item := &node{file: t.file, opened: byList, key: at, val: at}
	list.items = append(list.items, item)
	return item
}

// keyValue adds a possibly dotted key to a table.
func (t *tomlReader) keyValue(table *node, e *unstable.Node) {
	for it := e.Key(); it.Next(); {
		name, at := string(it.Node().Data), rangeOf(it.Node())
		next := table.child(name)
		if it.IsLast() {
			if next != nil {
				t.twice(next, name, at)
				return
			}
			val := span{t.valueStart(at.end), int(e.Raw.Offset + e.Raw.Length)}
			table.put(name, t.value(e.Value(), at, val))
			return
		}
		switch {
		case next == nil:
			next = &node{file: t.file, key: at, val: at, opened: byDots}
			table.put(name, next)
		case next.kind != tableNode || next.opened != byDots:
			t.twice(next, name, at)
			return
		}
		table = next
	}
}

// valueStart is where the value begins whose key ends at an offset: the parser
// keeps no place for lists.
func (t *tomlReader) valueStart(offset int) int {
	for offset < len(t.file.data) && bytes.IndexByte([]byte(" \t="), t.file.data[offset]) >= 0 {
		offset++
	}
	return offset
}

func (t *tomlReader) value(v *unstable.Node, key, at span) *node {
	n := &node{file: t.file, key: key, val: at}
	switch v.Kind {
	case unstable.String:
		n.kind, n.text = stringNode, string(v.Data)
	case unstable.Bool:
		n.kind, n.text, n.on = boolNode, string(v.Data), v.Data[0] == 't'
	case unstable.Integer:
		n.kind, n.text = intNode, string(v.Data)
		t.integer(n)
	case unstable.Float:
		n.kind, n.text = floatNode, string(v.Data)
	case unstable.Array:
		n.kind = listNode
		for it := v.Children(); it.Next(); {
			place := at
			if r := rangeOf(it.Node()); r.end > r.start {
				place = r
			}
			n.items = append(n.items, t.value(it.Node(), place, place))
		}
	case unstable.InlineTable:
		n.opened = byDots // while it is being read
		for it := v.Children(); it.Next(); {
			t.keyValue(n, it.Node())
		}
		closeTables(n)
	default:
		n.kind, n.text = dateNode, string(v.Data)
	}
	return n
}

// closeTables makes an inline table, and what dots made in it, final.
func closeTables(n *node) {
	if n.kind == tableNode && n.opened != byBraces {
		n.opened = byBraces
		for _, c := range n.fields {
			closeTables(c)
		}
	}
}

// integer reads the plain form itself and leaves the rare ones to the library.
func (t *tomlReader) integer(n *node) {
	v, err := strconv.ParseInt(n.text, 10, 64)
	digits := bytes.TrimLeft([]byte(n.text), "+-")
	if err == nil && (digits[0] != '0' || len(digits) == 1) {
		n.num = v
		return
	}
	var doc struct{ V int64 }
	if err := toml.Unmarshal([]byte("V = "+n.text), &doc); err != nil && len(t.problems) < maxProblems {
		t.problems = append(t.problems, n.atValue("syntax", "", n.text+" is not a number that fits in 64 bits"))
		return
	}
	n.num = doc.V
}

func (t *tomlReader) twice(first *node, name string, at span) {
	if len(t.problems) >= maxProblems {
		return // the file is refused already
	}
	where, _ := pathTo(t.root, first)
	p := t.file.problem(at, "duplicate", strings.TrimPrefix(where, "."), fmt.Sprintf("%q is defined twice", name))
	p.Related = []schema.Position{first.keyPosition()}
	p.Hint = "keep one of the two"
	t.problems = append(t.problems, p)
}

// pathTo finds where a node is. It is for messages: it looks everywhere.
func pathTo(from, n *node) (string, bool) {
	if from == n {
		return "", true
	}
	for _, key := range from.keys {
		if rest, ok := pathTo(from.fields[key], n); ok {
			return joinPath("", key) + rest, true
		}
	}
	for i, item := range from.items {
		if rest, ok := pathTo(item, n); ok {
			return fmt.Sprintf("[%d]%s", i, rest), true
		}
	}
	return "", false
}

// syntax places a parser's error.
func (t *tomlReader) syntax(err error) schema.Problem {
	at := span{max(len(t.file.data)-1, 0), len(t.file.data)}
	var perr *unstable.ParserError
	if errors.As(err, &perr) && perr.Highlight != nil {
		start := cap(t.parser.Data()) - cap(perr.Highlight)
		if start >= 0 && start+len(perr.Highlight) <= len(t.file.data) {
			at = span{start, start + len(perr.Highlight)}
		}
	}
	return t.file.problem(at, "syntax", "", err.Error())
}

func rangeOf(n *unstable.Node) span {
	return span{int(n.Raw.Offset), int(n.Raw.Offset + n.Raw.Length)}
}
