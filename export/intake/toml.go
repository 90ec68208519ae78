package intake

import (
	"bytes"
	"errors"

	"github.com/pelletier/go-toml/v2/unstable"

	"github.com/tenement/ten/schema"
)

// readTOML reads a foreign TOML file with places, which the library's decoder
// does not keep.
func readTOML(src Source, fix string) (*tree, error) {
	r := &tomlReader{src: src, root: newTable(at(src, 1))}
	current := r.root
	r.parser.Reset(src.Data)
	for r.parser.NextExpression() {
		e := r.parser.Expression()
		var err error
		switch e.Kind {
		case unstable.Table, unstable.ArrayTable:
			current, err = r.header(e, e.Kind == unstable.ArrayTable)
		case unstable.KeyValue:
			err = r.keyValue(current, e, 0)
		}
		if err != nil {
			return nil, &Error{r.place(e), err.Error(), fix}
		}
	}
	if err := r.parser.Error(); err != nil {
		at := at(src, 0)
		if perr, ok := errors.AsType[*unstable.ParserError](err); ok && perr.Highlight != nil {
			at = r.line(cap(r.parser.Data()) - cap(perr.Highlight))
		}
		return nil, &Error{at, clean(err.Error()), fix}
	}
	return r.root, nil
}

type tomlReader struct {
	src    Source
	parser unstable.Parser
	root   *tree
	seen   int // offset up to which lines were counted
	lines  int
}

var (
	errTwice   = errors.New("a key is written twice, or is both a table and a value")
	errTooDeep = errors.New("it is nested too deeply")
)

// line gives the place of an offset; offsets mostly grow.
func (r *tomlReader) line(offset int) schema.Position {
	offset = min(max(offset, 0), len(r.src.Data))
	if offset < r.seen {
		r.seen, r.lines = 0, 0
	}
	r.lines += bytes.Count(r.src.Data[r.seen:offset], []byte{'\n'})
	r.seen = offset
	return at(r.src, r.lines+1)
}

// place is where an expression's key stands.
func (r *tomlReader) place(e *unstable.Node) schema.Position {
	it := e.Key()
	if !it.Next() {
		return at(r.src, 0)
	}
	return r.line(int(it.Node().Raw.Offset))
}

// step goes down one key of a header or a dotted key, into the last of a list.
func step(t *tree, key string, at schema.Position) (*tree, error) {
	next, ok := t.fields[key]
	if !ok {
		next = newTable(at)
		t.put(key, next)
	}
	if next.kind == list && len(next.items) > 0 {
		next = next.items[len(next.items)-1]
	}
	if next.kind != table {
		return nil, errTwice
	}
	return next, nil
}

func (r *tomlReader) header(e *unstable.Node, isList bool) (*tree, error) {
	t, place := r.root, r.place(e)
	depth := 0
	for it := e.Key(); it.Next(); depth++ {
		key := string(it.Node().Data)
		if depth > maxDepth {
			return nil, errTooDeep
		}
		if !isList || !it.IsLast() {
			next, err := step(t, key, place)
			if err != nil {
				return nil, err
			}
			t = next
			continue
		}
		all, ok := t.fields[key]
		if !ok {
			all = &tree{at: place, kind: list}
			t.put(key, all)
		}
		if all.kind != list {
			return nil, errTwice
		}
		t = newTable(place)
		all.items = append(all.items, t)
	}
	return t, nil
}

func (r *tomlReader) keyValue(t *tree, e *unstable.Node, depth int) error {
	place := r.place(e)
	for it := e.Key(); it.Next(); depth++ {
		key := string(it.Node().Data)
		if depth > maxDepth {
			return errTooDeep
		}
		if !it.IsLast() {
			next, err := step(t, key, place)
			if err != nil {
				return err
			}
			t = next
			continue
		}
		v, err := r.value(e.Value(), place, depth+1)
		if err != nil {
			return err
		}
		if !t.put(key, v) {
			return errTwice
		}
	}
	return nil
}

func (r *tomlReader) value(v *unstable.Node, place schema.Position, depth int) (*tree, error) {
	if depth > maxDepth {
		return nil, errTooDeep
	}
	t := &tree{at: place, text: string(v.Data)}
	switch v.Kind {
	case unstable.Array:
		t.kind = list
		for it := v.Children(); it.Next(); {
			item, err := r.value(it.Node(), place, depth+1)
			if err != nil {
				return nil, err
			}
			t.items = append(t.items, item)
		}
	case unstable.InlineTable:
		t = newTable(place)
		for it := v.Children(); it.Next(); {
			if err := r.keyValue(t, it.Node(), depth+1); err != nil {
				return nil, err
			}
		}
	}
	return t, nil
}
