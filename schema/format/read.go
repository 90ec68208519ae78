package format

import (
	"bytes"
	"fmt"
)

const blanks = " \t\r"

// document is a file as its author laid it out: what every line says, and
// where blank lines stood.
type document struct{ lines []line }

// line is one expression or comment, which may go over several lines of text.
type line struct {
	gap    bool   // a blank line stood before it
	header string // "[a.b]", "[[a.b]]" or ""
	key    string // "a.b" or ""
	value  value  // of key
	tail   string // the comment that follows on the same line, or is the line
}

// value is what stands after =, or within a list.
type value struct {
	text   string // as it is written, for all but lists and inline tables
	open   byte   // '[', '{' or 0
	items  []item
	broken bool // there was a line break between its brackets
}

// item is one element of a list or inline table. An item without a value is a
// comment on a line of its own, or, as the last, what stands before the bracket.
type item struct {
	breaks int    // line breaks before it; 2 stands for any more
	key    string // in an inline table
	value  *value
	tail   string // a comment that ends the line
}

// scanner goes through a file that the library's parser accepted: it finds
// where things end and trusts what they are. What surprises it is an error.
type scanner struct {
	text []byte
	at   int
}

type surprise struct{ at int }

func (s surprise) Error() string { return fmt.Sprintf("lost at byte %d", s.at) }

func (s *scanner) peek() byte {
	if s.at < len(s.text) {
		return s.text[s.at]
	}
	return 0
}

// skip passes blanks, and gives how many line breaks were among them when lines
// is set; else it stops at the first.
func (s *scanner) skip(lines bool) (breaks int) {
	for s.at < len(s.text) {
		switch s.text[s.at] {
		case ' ', '\t', '\r':
		case '\n':
			if !lines {
				return breaks
			}
			breaks++
		default:
			return breaks
		}
		s.at++
	}
	return breaks
}

// comment reads to the end of the line, or gives "".
func (s *scanner) comment() string {
	if s.peek() != '#' {
		return ""
	}
	return s.until("\n")
}

// until reads up to one of the bytes in stops, without blanks at the end.
func (s *scanner) until(stops string) string {
	n := bytes.IndexAny(s.text[s.at:], stops)
	if n < 0 {
		n = len(s.text) - s.at
	}
	start := s.at
	s.at += n
	return string(bytes.TrimRight(s.text[start:s.at], blanks))
}

func (s *scanner) expect(c byte) error {
	if s.peek() != c {
		return surprise{s.at}
	}
	s.at++
	return nil
}

// read takes a whole file apart.
func read(text []byte) (*document, error) {
	s := &scanner{text: text}
	doc := &document{}
	for {
		breaks := s.skip(true)
		if s.at == len(s.text) {
			return doc, nil
		}
		l, err := s.line()
		if err != nil {
			return nil, err
		}
		l.gap = breaks > 1
		doc.lines = append(doc.lines, l)
	}
}

func (s *scanner) line() (l line, err error) {
	switch s.peek() {
	case '#':
	case '[':
		l.header, err = s.header()
	default:
		if l.key, err = s.key(); err != nil {
			return l, err
		}
		if err = s.expect('='); err != nil {
			return l, err
		}
		s.skip(false)
		l.value, err = s.value()
	}
	if err != nil {
		return l, err
	}
	s.skip(false)
	l.tail = s.comment()
	if s.at < len(s.text) && s.peek() != '\n' {
		return l, surprise{s.at}
	}
	return l, nil
}

func (s *scanner) header() (string, error) {
	s.at++
	left, right := "[", "]"
	if s.peek() == '[' {
		s.at++
		left, right = "[[", "]]"
	}
	s.skip(false)
	key, err := s.key()
	if err != nil {
		return "", err
	}
	for range right {
		if err := s.expect(']'); err != nil {
			return "", err
		}
	}
	return left + key + right, nil
}

// key reads a dotted key with the blanks around its dots and after it.
func (s *scanner) key() (string, error) {
	var key []byte
	for {
		part, err := s.keyPart()
		if err != nil {
			return "", err
		}
		key = append(key, part...)
		s.skip(false)
		if s.peek() != '.' {
			return string(key), nil
		}
		key = append(key, '.')
		s.at++
		s.skip(false)
	}
}

func (s *scanner) keyPart() (string, error) {
	if c := s.peek(); c == '"' || c == '\'' {
		return s.quoted(c)
	}
	if part := s.until(" \t\r\n.=]"); part != "" {
		return part, nil
	}
	return "", surprise{s.at}
}

// quoted reads a string of any of the four kinds, quotes included.
func (s *scanner) quoted(quote byte) (string, error) {
	start := s.at
	long := bytes.HasPrefix(s.text[s.at:], []byte{quote, quote, quote})
	width := 1
	if long {
		width = 3
	}
	s.at += width
	for s.at < len(s.text) {
		c := s.text[s.at]
		switch {
		case c == '\\' && quote == '"':
			s.at += 2
		case c == quote && !long:
			s.at++
			return string(s.text[start:s.at]), nil
		case c == quote && s.run(quote) >= 3:
			s.at += s.run(quote) // up to two quotes may stand before the closing three
			return string(s.text[start:s.at]), nil
		default:
			s.at++
		}
	}
	return "", surprise{start}
}

// run counts how often c stands here in a row.
func (s *scanner) run(c byte) int {
	n := 0
	for s.at+n < len(s.text) && s.text[s.at+n] == c {
		n++
	}
	return n
}

func (s *scanner) value() (value, error) {
	switch c := s.peek(); c {
	case '"', '\'':
		text, err := s.quoted(c)
		return value{text: text}, err
	case '[':
		return s.list('[', ']')
	case '{':
		return s.list('{', '}')
	}
	// A date may hold one blank, so the end is what can't be part of any value.
	if text := s.until(",]}#\n"); text != "" {
		return value{text: text}, nil
	}
	return value{}, surprise{s.at}
}

// list reads what stands between two brackets, with the comments in it.
func (s *scanner) list(open, end byte) (value, error) {
	v := value{open: open}
	s.at++
	carried := 0 // breaks before a comma that begins its line
	for {
		it := item{breaks: min(carried+s.skip(true), 2)}
		v.broken = v.broken || it.breaks > 0
		carried = 0
		var err error
		switch s.peek() {
		case end:
			s.at++
			return v, nil
		case ',':
			s.at++
			carried = it.breaks
			continue
		case '#':
			it.tail = s.comment()
			v.broken = true
			if last := len(v.items) - 1; it.breaks == 0 && last >= 0 && v.items[last].tail == "" {
				v.items[last].tail = it.tail
				continue
			}
		default:
			it, err = s.element(it, open == '{')
		}
		if err != nil {
			return v, err
		}
		v.items = append(v.items, it)
	}
}

// element reads one item, and its comma where that follows on the same line.
func (s *scanner) element(it item, keyed bool) (item, error) {
	var err error
	if keyed {
		if it.key, err = s.key(); err != nil {
			return it, err
		}
		if err = s.expect('='); err != nil {
			return it, err
		}
		s.skip(false)
	}
	v, err := s.value()
	if err != nil {
		return it, err
	}
	it.value = &v
	s.skip(false)
	if s.peek() == ',' {
		s.at++
	}
	return it, nil
}
