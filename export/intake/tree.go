package intake

import (
	"fmt"
	"strings"

	"github.com/tenement/ten/schema"
)

// tree is a foreign document of nested values, whatever it was written in, with
// the place of everything.
type tree struct {
	at     schema.Position
	kind   kind
	text   string // of a scalar, as the language understands it
	open   bool   // text is an expression that only the foreign tool can work out
	keys   []string
	fields map[string]*tree
	items  []*tree
}

type kind uint8

const (
	scalar kind = iota
	table
	list
	null
)

// The bounds of what is read. A file of 1 MB can mean a document without end.
const (
	maxDepth = 100
	maxNodes = 200_000
)

func newTable(at schema.Position) *tree {
	return &tree{at: at, kind: table, fields: map[string]*tree{}}
}

// put adds a field and reports whether it is new.
func (t *tree) put(key string, v *tree) bool {
	_, there := t.fields[key]
	if !there {
		t.keys = append(t.keys, key)
		t.fields[key] = v
	}
	return !there
}

// get finds a field; nil where there is none, or this is no table, or nil.
func (t *tree) get(path ...string) *tree {
	for _, key := range path {
		if t == nil || t.kind != table {
			return nil
		}
		t = t.fields[key]
	}
	if t != nil && t.kind == null {
		return nil
	}
	return t
}

// str gives a scalar's text, and "" for anything else.
func (t *tree) str() string {
	if t == nil || t.kind != scalar {
		return ""
	}
	return t.text
}

// yes reports whether it is a true boolean.
func (t *tree) yes() bool { return strings.EqualFold(t.str(), "true") }

// each gives the items of a list, or a scalar or table as the only one.
func (t *tree) each() []*tree {
	switch {
	case t == nil || t.kind == null:
		return nil
	case t.kind == list:
		return t.items
	}
	return []*tree{t}
}

// words gives the scalars of a list.
func (t *tree) words() []string {
	var words []string
	for _, item := range t.each() {
		if item.kind == scalar {
			words = append(words, item.text)
		}
	}
	return words
}

// brief is a value for a Loss.
func (t *tree) brief() string {
	switch {
	case t == nil || t.kind == null:
		return ""
	case t.kind == scalar:
		return t.text
	case t.kind == list:
		var parts []string
		for i, item := range t.items {
			if i == 5 {
				parts = append(parts, "...")
				break
			}
			parts = append(parts, item.brief())
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case len(t.keys) > 3:
		return fmt.Sprintf("{%s, ...}", strings.Join(t.keys[:3], ", "))
	}
	return "{" + strings.Join(t.keys, ", ") + "}"
}

// reading says how one key of a foreign table is taken over.
type reading func(s *service, v *tree)

// unsaid is a reading for what ten can't say.
func unsaid(why, instead string) func(name string) reading {
	return func(name string) reading {
		return func(s *service, v *tree) { s.lose(name, v.brief(), v.at, why, instead) }
	}
}

// readFields takes over a table key by key, in the order of the file. A key that
// is not known is a Loss; one with a nil reading is looked at elsewhere.
func (s *service) readFields(t *tree, prefix string, known map[string]reading) {
	for _, key := range t.keys {
		v := t.fields[key]
		read, ok := known[key]
		switch {
		case v.kind == null, strings.HasPrefix(key, "x-"):
		case !ok:
			s.lose(prefix+key, v.brief(), v.at, "ten has no word for it", "")
		case read != nil:
			read(s, v)
		}
	}
}
