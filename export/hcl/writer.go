package hcl

import (
	"maps"
	"slices"
	"strconv"
)

// Writer writes blocks and attributes one after the other. What follows each
// other on lines of its own is aligned. The zero value is an empty file.
type Writer struct {
	out   []byte
	depth int
	chain []assignment // not written yet: how far the widest reaches isn't known
	wide  int          // of the chain
}

// assignment is an attribute of one line.
type assignment struct {
	name, value string
	columns     int // of the name
}

// Bytes gives the file as it stands. Every block has to be closed.
func (w *Writer) Bytes() []byte {
	w.flush()
	return w.out
}

// Set writes an attribute whose value is an expression of one line.
func (w *Writer) Set(name, expression string) {
	columns := width(name)
	w.chain = append(w.chain, assignment{name, expression, columns})
	w.wide = max(w.wide, columns)
}

// Word sets a text that is there.
func (w *Writer) Word(name, value string) {
	if value != "" {
		w.Set(name, Quote(value))
	}
}

// Number sets a number that is not zero.
func (w *Writer) Number(name string, value int) {
	if value != 0 {
		w.Set(name, strconv.Itoa(value))
	}
}

// List sets a list that has entries, a line for each where there are several.
func (w *Writer) List(name string, values []string) {
	switch len(values) {
	case 0:
	case 1:
		w.Set(name, "["+Quote(values[0])+"]")
	default:
		w.begin(name, "= [")
		for _, v := range values {
			w.line(Quote(v), ",")
		}
		w.end("]")
	}
}

// Map sets an object of texts that has entries, sorted by key.
func (w *Writer) Map(name string, values map[string]string) {
	if len(values) == 0 {
		return
	}
	w.OpenObject(name)
	for _, k := range slices.Sorted(maps.Keys(values)) {
		w.Set(key(k), Quote(values[k]))
	}
	w.Close()
}

// OpenObject begins an attribute that is an object; attributes become its entries
// until Close.
func (w *Writer) OpenObject(name string) { w.begin(name, "= {") }

// Open begins a block, which goes on until Close.
func (w *Writer) Open(kind string, labels ...string) {
	for _, l := range labels {
		kind += " " + Quote(l)
	}
	w.begin(kind, "{")
}

// Close ends what was opened last.
func (w *Writer) Close() { w.end("}") }

// Blank leaves a line empty.
func (w *Writer) Blank() {
	w.flush()
	w.out = append(w.out, '\n')
}

// Comment writes a line for people; the text holds no newline.
func (w *Writer) Comment(text string) {
	w.flush()
	w.line("# ", text)
}

func (w *Writer) begin(what, bracket string) {
	w.flush()
	w.line(what, " ", bracket)
	w.depth++
}

func (w *Writer) end(bracket string) {
	w.flush()
	w.depth--
	w.line(bracket)
}

// flush writes the attributes that stand beneath each other.
func (w *Writer) flush() {
	for _, a := range w.chain {
		w.pad(2 * w.depth)
		w.out = append(w.out, a.name...)
		w.pad(w.wide - a.columns + 1)
		w.out = append(w.out, "= "...)
		w.out = append(w.out, a.value...)
		w.out = append(w.out, '\n')
	}
	w.chain, w.wide = w.chain[:0], 0
}

func (w *Writer) line(parts ...string) {
	w.pad(2 * w.depth)
	for _, p := range parts {
		w.out = append(w.out, p...)
	}
	w.out = append(w.out, '\n')
}

func (w *Writer) pad(n int) {
	for range n {
		w.out = append(w.out, ' ')
	}
}
