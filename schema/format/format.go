// Package format lays a TOML file out in its one canonical form, as gofmt does
// for Go: it changes blanks, line ends and blank lines, and nothing else. Every
// comment, key and value stays as it was written, byte for byte, in the same
// order; formatting twice is formatting once.
//
//   - keys and headers begin their line; one blank on each side of =, one before
//     a comment that follows something
//   - one blank line before a table, never two in a row, none at the ends
//   - a list or inline table on one line stays there; one that is broken over
//     lines keeps its breaks, indented by two blanks, with a comma at the end
//   - no byte order mark; lines end in \n, save within strings
package format

import (
	"bytes"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/pelletier/go-toml/v2/unstable"

	"github.com/tenement/ten/schema"
)

const mark = "\xef\xbb\xbf"

// SyntaxError says that a file is no TOML, so that it was left alone.
type SyntaxError struct{ schema.Problem }

// TOML gives the canonical form of a file. The name is for the error, which is a
// *SyntaxError when the file is at fault.
func TOML(name string, src []byte) ([]byte, error) {
	text := bytes.TrimPrefix(src, []byte(mark))
	if p, ok := fault(name, text); !ok {
		return nil, &SyntaxError{p}
	}
	doc, err := read(text)
	if err != nil {
		return nil, fmt.Errorf("format %s: %w", name, err)
	}
	out := doc.print()
	if !same(text, out) {
		return nil, fmt.Errorf("format %s: the result would not mean the same, so the file is left alone", name)
	}
	return out, nil
}

// fault finds what the library's parser has against a file.
func fault(name string, text []byte) (schema.Problem, bool) {
	if !utf8.Valid(text) {
		at := 0
		for at < len(text) {
			r, n := utf8.DecodeRune(text[at:])
			if r == utf8.RuneError && n <= 1 {
				break
			}
			at += n
		}
		p := problem(name, text, at, "not-utf8", fmt.Sprintf("byte 0x%02x is not UTF-8", text[at]))
		p.Hint = "save the file as UTF-8"
		return p, false
	}
	var parser unstable.Parser
	parser.Reset(text)
	for parser.NextExpression() {
	}
	err := parser.Error()
	if err == nil {
		return schema.Problem{}, true
	}
	at := len(text)
	if perr, ok := errors.AsType[*unstable.ParserError](err); ok && perr.Highlight != nil {
		at = min(max(cap(parser.Data())-cap(perr.Highlight), 0), len(text))
	}
	return problem(name, text, at, "syntax", err.Error()), false
}

const maxExcerpt = 240 // keeps a minified file from filling the screen

func problem(name string, text []byte, at int, code, message string) schema.Problem {
	start := bytes.LastIndexByte(text[:at], '\n') + 1
	p := schema.Problem{
		Position: schema.Position{File: name, Line: bytes.Count(text[:start], []byte{'\n'}) + 1, Col: at - start + 1},
		Severity: schema.Error, Code: code, Message: message,
	}
	p.EndCol = p.Col
	line, _, _ := bytes.Cut(text[start:], []byte{'\n'})
	if line = bytes.TrimSuffix(line, []byte{'\r'}); len(line) <= maxExcerpt && utf8.Valid(line) {
		p.Excerpt = string(line)
	}
	return p
}

// same compares two documents as the library's parser sees them: the same
// expressions with the same keys, values and comments, in the same order.
func same(a, b []byte) bool {
	var left, right unstable.Parser
	left.KeepComments, right.KeepComments = true, true
	left.Reset(a)
	right.Reset(b)
	for {
		more, also := left.NextExpression(), right.NextExpression()
		switch {
		case more != also:
			return false
		case !more:
			return left.Error() == nil && right.Error() == nil
		case !equal(left.Expression(), right.Expression()):
			return false
		}
	}
}

func equal(a, b *unstable.Node) bool {
	left, right := a.Data, b.Data
	if a.Kind == unstable.Comment {
		left, right = bytes.TrimRight(left, blanks), bytes.TrimRight(right, blanks)
	}
	if a.Kind != b.Kind || !bytes.Equal(left, right) {
		return false
	}
	for x, y := a.Children(), b.Children(); ; {
		more, also := x.Next(), y.Next()
		if more != also {
			return false
		}
		if !more {
			return true
		}
		if !equal(x.Node(), y.Node()) {
			return false
		}
	}
}
