package schema

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// WriteText prints problems for people: the one-line form, the source line, a
// caret under the place, the other places, and a way out.
//
//	web.toml:3:1: error: service.web.comand: there is no such field
//	  comand = "./web"
//	  ^^^^^^
//	  help: did you mean command?
func WriteText(w io.Writer, problems []Problem) error {
	var b strings.Builder
	for _, p := range problems {
		b.WriteString(harmless(p.Error(), false) + "\n")
		if p.Excerpt != "" && p.Col > 0 {
			b.WriteString("  " + harmless(p.Excerpt, true) + "\n  " + caret(p) + "\n")
		}
		for _, r := range p.Related {
			b.WriteString("  see: " + harmless(r.String(), false) + "\n")
		}
		if p.Hint != "" {
			b.WriteString("  help: " + harmless(p.Hint, false) + "\n")
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// caret underlines a problem's place. Tabs stay tabs, so that it stands right
// whatever their width.
func caret(p Problem) string {
	var b strings.Builder
	for i, c := range p.Excerpt {
		switch {
		case i >= p.Col-1 && i > 0 && i >= p.EndCol-1 || i >= p.Col && p.EndCol == 0:
			return closeCaret(b.String())
		case i >= p.Col-1:
			b.WriteByte('^')
		case c == '\t':
			b.WriteByte('\t')
		default:
			b.WriteByte(' ')
		}
	}
	return closeCaret(b.String())
}

// closeCaret shows at least one caret: a place may be the end of its line.
func closeCaret(s string) string {
	if strings.HasSuffix(s, "^") {
		return s
	}
	return s + "^"
}

// harmless keeps text of a repository on one line and from steering the
// terminal: control characters and those that turn the direction of writing.
func harmless(s string, tabs bool) string {
	return strings.Map(func(c rune) rune {
		switch {
		case c == '\t' && tabs:
			return c
		case unicode.IsControl(c), c == utf8.RuneError, 0x202a <= c && c <= 0x202e, 0x2066 <= c && c <= 0x2069:
			return '?'
		}
		return c
	}, s)
}

// Report is the JSON form of what a check of a config found.
type Report struct {
	FormatVersion int       `json:"format_version"` // 1
	OK            bool      `json:"ok"`             // no problem has severity error
	Services      int       `json:"services"`
	Instances     int       `json:"instances"`
	Problems      []Problem `json:"problems"`
}

// NewReport makes the report of a load; m is nil where it was refused.
func NewReport(m *Model, problems []Problem) Report {
	r := Report{FormatVersion: 1, OK: m != nil, Problems: problems}
	if problems == nil {
		r.Problems = []Problem{}
	}
	if m != nil {
		r.Services, r.Instances = len(m.Services), m.InstanceCount()
	}
	return r
}

// WriteJSON prints a report for programs.
func WriteJSON(w io.Writer, r Report) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(r)
}

// WriteGitHub prints problems as workflow commands, which GitHub shows beside
// the lines of a pull request.
func WriteGitHub(w io.Writer, problems []Problem) error {
	value := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	property := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
	var b strings.Builder
	for _, p := range problems {
		fmt.Fprintf(&b, "::%s file=%s", p.Severity, property.Replace(p.File))
		if p.Line > 0 {
			fmt.Fprintf(&b, ",line=%d", p.Line)
		}
		if col, end := runeColumns(p); col > 0 {
			fmt.Fprintf(&b, ",col=%d,endColumn=%d", col, end)
		}
		title := p.Path
		if title == "" {
			title = p.Code
		}
		message := p.Message
		if p.Hint != "" {
			message += "\n" + p.Hint
		}
		for _, r := range p.Related {
			message += "\nsee " + r.String()
		}
		fmt.Fprintf(&b, ",title=%s::%s\n", property.Replace(title), value.Replace(message))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// runeColumns gives the first column of a place and the one after it, counted
// in characters. Without the source line, bytes stand in for them.
func runeColumns(p Problem) (col, end int) {
	count := func(byteCol int) int {
		if p.Excerpt == "" || byteCol <= 0 {
			return byteCol
		}
		return utf8.RuneCountInString(p.Excerpt[:min(byteCol-1, len(p.Excerpt))]) + 1
	}
	col, end = count(p.Col), count(p.EndCol)
	return col, max(end, col+1)
}
