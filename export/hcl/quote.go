package hcl

import (
	"fmt"
	"strings"
	"unicode"

	"github.com/apparentlymart/go-textseg/v15/textseg"
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// Quote gives the expression for a text.
func Quote(s string) string { return `"` + Inner(s) + `"` }

// Inner is text as it stands between the quotes of a template.
func Inner(s string) string {
	if !strings.ContainsFunc(s, special) {
		return s
	}
	var b strings.Builder
	for i, r := range s {
		switch {
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == '"', r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case (r == '$' || r == '%') && strings.HasPrefix(s[i+1:], "{"):
			b.WriteRune(r) // twice, else it begins a template
			b.WriteRune(r)
		case unicode.IsPrint(r):
			b.WriteRune(r)
		case r > 0xffff:
			fmt.Fprintf(&b, `\U%08x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

// special holds for whatever might not stand for itself between quotes.
func special(r rune) bool {
	return r == '"' || r == '\\' || r == '$' || r == '%' || r < ' ' || r > '~'
}

// key is the name of an entry of an object: bare where it is a plain word, and
// not for, which would begin an expression.
func key(name string) string {
	plain := func(r rune) bool {
		return r == '_' || r == '-' || 'a' <= r|0x20 && r|0x20 <= 'z' || '0' <= r && r <= '9'
	}
	if name == "" || name == "for" || name[0] == '-' || name[0] <= '9' || strings.ContainsFunc(name, func(r rune) bool { return !plain(r) }) {
		return Quote(name)
	}
	return name
}

// width counts the letters of a name as people see them, as the formatter does:
// an accent joins no letter of another token.
func width(name string) int {
	if !strings.ContainsFunc(name, func(r rune) bool { return r > '~' }) {
		return len(name)
	}
	tokens, diags := hclsyntax.LexExpression([]byte(name), "", hcl.InitialPos)
	if diags.HasErrors() {
		return len(name) // its place on the line is all that hangs on it
	}
	n := 0
	for _, t := range tokens {
		letters, err := textseg.TokenCount(t.Bytes, textseg.ScanGraphemeClusters)
		if err != nil {
			return len(name)
		}
		n += letters
	}
	return n
}
