package format

import (
	"bytes"
	"strings"
)

const (
	indent = "  "
	// deepest is how far lines are indented at most: what is nested without end
	// would otherwise grow by the square.
	deepest = 32
)

// print lays a document out.
func (d *document) print() []byte {
	var b bytes.Buffer
	for i, gap := range d.gaps() {
		if gap && i > 0 {
			b.WriteByte('\n')
		}
		d.lines[i].print(&b)
	}
	return b.Bytes()
}

// gaps says before which lines a blank one stands: where the author left one,
// and before every table with the comments right above it. Comments right below
// a header are that table's, whatever follows them.
func (d *document) gaps() []bool {
	gaps := make([]bool, len(d.lines))
	for i, l := range d.lines {
		gaps[i] = l.gap
		if l.header == "" {
			continue
		}
		first := i
		for first > 0 && !gaps[first] && d.comment(first-1) {
			first--
		}
		if first > 0 && first < i && !gaps[first] && d.lines[first-1].header != "" {
			first = i
		}
		gaps[first] = true
	}
	return gaps
}

// comment says whether line i is a comment and nothing else.
func (d *document) comment(i int) bool {
	return d.lines[i].key == "" && d.lines[i].header == ""
}

func (l line) print(b *bytes.Buffer) {
	b.WriteString(l.header)
	if l.key != "" {
		b.WriteString(l.key)
		b.WriteString(" = ")
		l.value.print(b, 0)
	}
	if l.tail != "" && (l.header != "" || l.key != "") {
		b.WriteByte(' ')
	}
	b.WriteString(l.tail)
	b.WriteByte('\n')
}

func (v value) print(b *bytes.Buffer, depth int) {
	switch {
	case v.open == 0:
		b.WriteString(v.text)
	case v.broken && len(v.items) > 0:
		v.printBroken(b, depth)
	default:
		v.printFlat(b, depth)
	}
}

// printFlat keeps a list on its line: [1, 2] and { a = 1 }.
func (v value) printFlat(b *bytes.Buffer, depth int) {
	pad := ""
	if v.open == '{' && len(v.items) > 0 {
		pad = " "
	}
	b.WriteByte(v.open)
	b.WriteString(pad)
	for i, it := range v.items {
		if i > 0 {
			b.WriteString(", ")
		}
		it.print(b, depth)
	}
	b.WriteString(pad)
	b.WriteByte(closing(v.open))
}

// printBroken keeps the breaks between items and puts the brackets on lines of
// their own.
func (v value) printBroken(b *bytes.Buffer, depth int) {
	b.WriteByte(v.open)
	for i, it := range v.items {
		first := i == 0
		switch {
		case first, it.breaks > 0, v.items[i-1].tail != "":
			if it.breaks > 1 && !first {
				b.WriteByte('\n')
			}
			newLine(b, depth+1)
		default:
			b.WriteByte(' ')
		}
		it.print(b, depth+1)
		if it.value != nil {
			b.WriteByte(',')
			if it.tail != "" {
				b.WriteByte(' ')
			}
		}
		b.WriteString(it.tail)
	}
	newLine(b, depth)
	b.WriteByte(closing(v.open))
}

func (it item) print(b *bytes.Buffer, depth int) {
	if it.value == nil {
		return
	}
	if it.key != "" {
		b.WriteString(it.key)
		b.WriteString(" = ")
	}
	it.value.print(b, depth)
}

func newLine(b *bytes.Buffer, depth int) {
	b.WriteByte('\n')
	b.WriteString(strings.Repeat(indent, min(depth, deepest)))
}

func closing(open byte) byte {
	if open == '[' {
		return ']'
	}
	return '}'
}
