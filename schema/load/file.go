package load

import (
	"bytes"
	"sort"
	"unicode/utf8"

	"github.com/tenement/ten/schema"
)

// span is a range of bytes of a file.
type span struct{ start, end int }

// file is one config file and what is needed to point into it.
type file struct {
	path  string // slash path from the root of the tree
	id    string // git object id
	data  []byte
	lines []int // offsets of the line starts, made by line
}

// position gives a span in lines and columns. EndCol stops at the line's end.
func (f *file) position(s span) schema.Position {
	n := f.line(s.start)
	start := f.lines[n]
	end := start + len(f.text(n))
	col := min(s.start, end) - start + 1
	return schema.Position{File: f.path, Line: n + 1, Col: col, EndCol: max(min(s.end, end)-start+1, col)}
}

// line is the index of the line that holds an offset.
func (f *file) line(offset int) int {
	if f.lines == nil {
		f.lines = append(f.lines, 0)
		for i, c := range f.data {
			if c == '\n' {
				f.lines = append(f.lines, i+1)
			}
		}
	}
	return sort.SearchInts(f.lines, offset+1) - 1
}

// text is a line without its end.
func (f *file) text(line int) []byte {
	rest := f.data[f.lines[line]:]
	if i := bytes.IndexByte(rest, '\n'); i >= 0 {
		rest = rest[:i]
	}
	return bytes.TrimSuffix(rest, []byte("\r"))
}

// maxExcerpt keeps a minified file from filling the screen.
const maxExcerpt = 240

// problem makes an error at a span, with the source line as excerpt.
func (f *file) problem(s span, code, path, message string) schema.Problem {
	p := schema.Problem{Position: f.position(s), Severity: schema.Error, Code: code, Path: path, Message: message}
	line := f.text(p.Line - 1)
	if len(line) <= maxExcerpt && utf8.Valid(line) {
		p.Excerpt = string(line)
	}
	return p
}

// whole is a problem with the file as such.
func whole(path, code, message, hint string) schema.Problem {
	return schema.Problem{
		Position: schema.Position{File: path}, Severity: schema.Error,
		Code: code, Message: message, Hint: hint,
	}
}
