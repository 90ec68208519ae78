package intake

import (
	"errors"
	"strconv"
	"strings"
	"time"
)

var errOpenQuote = errors.New("a quote is left open")

// systemdWords splits a line as systemd does: quotes hold words together where
// they begin one, and \ begins the escapes of C. The unit library does not split.
func systemdWords(line string) ([]string, error) {
	var words []string
	var word strings.Builder
	var quote byte
	in := false
	for i := 0; i < len(line); i++ {
		c := line[i]
		switch {
		case c == '\\' && i+1 < len(line):
			text, n := systemdEscape(line[i+1:])
			word.WriteString(text)
			in = true
			i += n
		case quote != 0 && c == quote:
			quote = 0
		case quote == 0 && (c == '"' || c == '\''):
			quote, in = c, true
		case quote == 0 && (c == ' ' || c == '\t' || c == '\n' || c == '\r'):
			if in {
				words = append(words, word.String())
				word.Reset()
			}
			in = false
		default:
			word.WriteByte(c)
			in = true
		}
	}
	if quote != 0 {
		return nil, errOpenQuote
	}
	if in {
		words = append(words, word.String())
	}
	return words, nil
}

// systemdEscape reads what stands behind a backslash, and how long it is.
func systemdEscape(text string) (string, int) {
	plain := map[byte]string{'a': "\a", 'b': "\b", 'f': "\f", 'n': "\n", 'r': "\r", 't': "\t", 'v': "\v", 's': " ", '\\': "\\", '"': "\"", '\'': "'"}
	if out, ok := plain[text[0]]; ok {
		return out, 1
	}
	for _, form := range []struct {
		mark         byte
		skip, digits int
		base         int
	}{{'x', 1, 2, 16}, {'u', 1, 4, 16}, {'U', 1, 8, 16}, {0, 0, 3, 8}} {
		if form.mark != 0 && text[0] != form.mark || len(text) < form.skip+form.digits {
			continue
		}
		n, err := strconv.ParseUint(text[form.skip:form.skip+form.digits], form.base, 32)
		if err == nil && n > 0 && n <= 0x10ffff {
			return string(rune(n)), form.skip + form.digits
		}
	}
	return "\\" + text[:1], 1
}

// systemdSpan reads "90", "5min 20s", "1h30min".
func systemdSpan(text string) (time.Duration, bool) {
	units := map[string]time.Duration{
		"": time.Second, "us": time.Microsecond, "usec": time.Microsecond, "ms": time.Millisecond, "msec": time.Millisecond,
		"s": time.Second, "sec": time.Second, "second": time.Second, "seconds": time.Second,
		"m": time.Minute, "min": time.Minute, "minute": time.Minute, "minutes": time.Minute,
		"h": time.Hour, "hr": time.Hour, "hour": time.Hour, "hours": time.Hour,
		"d": 24 * time.Hour, "day": 24 * time.Hour, "days": 24 * time.Hour, "w": 7 * 24 * time.Hour, "week": 7 * 24 * time.Hour, "weeks": 7 * 24 * time.Hour,
	}
	const digits, most = "0123456789.", float64(10 * 365 * 24 * time.Hour)
	total := 0.0
	rest := strings.TrimSpace(text)
	for rest != "" {
		number := rest[:len(rest)-len(strings.TrimLeft(rest, digits))]
		rest = strings.TrimLeft(rest[len(number):], " \t")
		word := rest[:len(rest)-len(strings.TrimLeft(rest, "abcdefghijklmnopqrstuvwxyz"))]
		rest = strings.TrimLeft(rest[len(word):], " \t")
		n, err := strconv.ParseFloat(number, 64)
		unit, ok := units[word]
		if total += n * float64(unit); err != nil || !ok || total > most {
			return 0, false
		}
	}
	return time.Duration(total), strings.TrimSpace(text) != ""
}
