package systemd

import (
	"fmt"
	"strings"
)

// word writes one word of a unit file so that systemd reads just it: in quotes
// and with C's escapes where that is needed, % doubled.
func word(s string) string {
	if s != "" && !strings.ContainsFunc(s, func(r rune) bool { return !plain(r) }) {
		return s
	}
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '%':
			b.WriteString("%%")
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case r < ' ' || r == 0x7f:
			fmt.Fprintf(&b, `\x%02x`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

func plain(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./:@+=,", r)
}

// isPlain reports whether a path needs no quoting anywhere.
func isPlain(path string) bool {
	return !strings.ContainsFunc(path, func(r rune) bool { return !plain(r) })
}

// command writes an ExecStart or the like. A colon before it keeps systemd from
// filling in variables.
func command(words []string) string {
	out := make([]string, len(words))
	variables := false
	for i, w := range words {
		out[i] = word(w)
		variables = variables || strings.Contains(w, "$")
	}
	if variables {
		out[0] = ":" + out[0]
	}
	return strings.Join(out, " ")
}

// variable reports whether Environment= takes a variable; any other goes through
// env, which takes all.
func variable(name, value string) bool {
	for i, r := range name {
		letter := r == '_' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		if !letter && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	return name != "" && !strings.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' && r != '\n' || r == 0x7f })
}

// shellQuote writes one word for sh.
func shellQuote(s string) string {
	if s != "" && isPlain(s) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
