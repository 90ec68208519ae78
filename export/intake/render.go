package intake

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/tenement/ten/export"
	"github.com/tenement/ten/schema"
)

// result writes the draft down.
func (d *draft) result() Result {
	w := &writer{}
	w.line("# Written by ten import %s. Behind each value stands where it came from.", d.format)
	w.losses(d.losses)
	if len(d.settings) > 0 {
		w.line("")
		w.line("[settings]")
		for _, f := range d.settings {
			w.field(f)
		}
	}
	r := Result{Services: len(d.services), Losses: d.losses}
	for _, s := range d.services {
		w.service(s)
		r.Losses = append(r.Losses, s.losses...)
	}
	slices.SortStableFunc(r.Losses, func(a, b Loss) int {
		return cmp.Or(strings.Compare(a.At.File, b.At.File), a.At.Line-b.At.Line)
	})
	r.Config, r.Gaps = w.text.Bytes(), w.gaps
	return r
}

// writer writes a config and counts its lines.
type writer struct {
	text  bytes.Buffer
	lines int
	gaps  []Gap
}

func (w *writer) line(format string, args ...any) {
	fmt.Fprintf(&w.text, format, args...)
	w.text.WriteByte('\n')
	w.lines++
}

func (w *writer) service(s *service) {
	w.line("")
	w.line("%s", comment(s.at, s.note))
	w.line("[service.%s]", s.name)
	for _, g := range s.gaps {
		w.line("# to fill in: %s = ...: %s", g.Field, origin(g.At, g.Why))
		g.Line = w.lines
		w.gaps = append(w.gaps, g)
	}
	w.losses(s.losses)
	for _, known := range schema.ServiceFields() {
		for _, f := range s.fields {
			if f.name == known.Name {
				w.field(f)
			}
		}
	}
	if len(s.env) == 0 {
		return
	}
	w.line("")
	w.line("[service.%s.env]", s.name)
	for _, f := range s.env {
		f.name = key(f.name)
		w.field(f)
	}
}

func (w *writer) field(f field) {
	w.line("%s = %s %s", f.name, literal(f.value), comment(f.at, f.note))
}

// losses stand as comments below the header, one a line.
func (w *writer) losses(list []Loss) {
	for _, l := range list {
		text := l.Field
		if l.Value != "" {
			text += " = " + l.Value
		}
		text += ": " + l.Why
		if l.Instead != "" {
			text += "; instead: " + l.Instead
		}
		verb := "lost"
		if l.Kind == export.Converted {
			verb = "converted"
		}
		w.line("# %s: %s", verb, origin(l.At, text))
	}
}

func comment(at schema.Position, note string) string { return "# " + origin(at, note) }

// origin is "compose.yaml:3: note" on one line.
func origin(at schema.Position, note string) string {
	where := clean(at.String())
	if note == "" {
		return where
	}
	return where + ": " + clean(note)
}

// clean keeps a text from ending the comment it stands in.
func clean(text string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, text))
}

// literal writes a value as TOML.
func literal(v any) string {
	switch v := v.(type) {
	case string:
		return quoted(v)
	case []string:
		items := make([]string, len(v))
		for i, s := range v {
			items[i] = quoted(s)
		}
		return "[" + strings.Join(items, ", ") + "]"
	case []schema.Dependency:
		items := make([]string, len(v))
		for i, d := range v {
			items[i] = quoted(d.Service)
			if d.Condition != schema.ConditionHealthy {
				items[i] = fmt.Sprintf("{ service = %s, condition = %s }", quoted(d.Service), quoted(string(d.Condition)))
			}
		}
		return "[" + strings.Join(items, ", ") + "]"
	}
	return fmt.Sprint(v) // whole numbers and booleans are written as in Go
}

// quoted writes a basic string: any text without NUL.
func quoted(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch r {
		case '"', '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case '\n':
			b.WriteString(`\n`)
		case '\t':
			b.WriteString(`\t`)
		case '\r':
			b.WriteString(`\r`)
		default:
			if r < ' ' || r == 0x7f {
				fmt.Fprintf(&b, `\u%04x`, r)
			} else {
				b.WriteRune(r)
			}
		}
	}
	b.WriteByte('"')
	return b.String()
}

// key writes a key, bare where that is legal.
func key(name string) string {
	bare := name != "" && strings.IndexFunc(name, func(r rune) bool {
		return r != '_' && r != '-' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	}) < 0
	if bare {
		return name
	}
	return quoted(name)
}
