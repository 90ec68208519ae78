package source

import (
	"strings"
)

// ignoreFile is one parsed .gitignore, or a file of the same form. go-git's own
// matcher knows neither [!a], nor escapes, nor that a pattern without a slash is
// for the last name only, hence this one; a test compares it with git's.
type ignoreFile struct {
	base     string // the directory its patterns are relative to; "" is the top
	patterns []ignorePattern
}

type ignorePattern struct {
	parts   []string // split at slashes
	keep    bool     // began with "!"
	dirOnly bool     // ended with "/"
	byName  bool     // has no slash: matches the last name wherever it is
}

func parseIgnore(base, text string) ignoreFile {
	f := ignoreFile{base: base}
	text = strings.TrimPrefix(text, "\ufeff")
	for line := range strings.SplitSeq(text, "\n") {
		line = strings.TrimSuffix(line, "\r")
		if line == "" || line[0] == '#' {
			continue
		}
		if p, ok := parsePattern(trimSpaces(line)); ok {
			f.patterns = append(f.patterns, p)
		}
	}
	return f
}

// trimSpaces drops trailing spaces but for one that a backslash protects.
func trimSpaces(s string) string {
	end := len(s)
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case ' ':
			if end == len(s) {
				end = i
			}
			continue
		case '\\':
			i++
		}
		end = len(s)
	}
	return s[:end]
}

func parsePattern(s string) (ignorePattern, bool) {
	var p ignorePattern
	if rest, ok := strings.CutPrefix(s, "!"); ok {
		p.keep, s = true, rest
	}
	if rest, ok := strings.CutSuffix(s, "/"); ok {
		p.dirOnly, s = true, rest
	}
	p.byName = !strings.Contains(s, "/")
	s = strings.TrimPrefix(s, "/")
	p.parts = strings.Split(s, "/")
	return p, s != ""
}

// match finds the last pattern that matches a slash path from the top.
func (f ignoreFile) match(path string, isDir bool) (ignored, matched bool) {
	if f.base != "" {
		rest, ok := strings.CutPrefix(path, f.base+"/")
		if !ok {
			return false, false
		}
		path = rest
	}
	parts := strings.Split(path, "/")
	for i := len(f.patterns) - 1; i >= 0; i-- {
		p := &f.patterns[i]
		if p.dirOnly && !isDir {
			continue
		}
		if p.byName && glob(p.parts[0], parts[len(parts)-1]) || !p.byName && globPath(p.parts, parts) {
			return !p.keep, true
		}
	}
	return false, false
}

// ignored asks the files from the last, which is the nearest, to the first.
func ignored(files []ignoreFile, path string, isDir bool) bool {
	for i := len(files) - 1; i >= 0; i-- {
		if ign, ok := files[i].match(path, isDir); ok {
			return ign
		}
	}
	return false
}

// globPath matches names one by one; "**" stands for any number of them, at the
// end for at least one.
func globPath(pattern, names []string) bool {
	for len(pattern) > 0 {
		if pattern[0] == "**" {
			if len(pattern) == 1 {
				return len(names) > 0
			}
			for i := range len(names) + 1 {
				if globPath(pattern[1:], names[i:]) {
					return true
				}
			}
			return false
		}
		if len(names) == 0 || !glob(pattern[0], names[0]) {
			return false
		}
		pattern, names = pattern[1:], names[1:]
	}
	return len(names) == 0
}

// glob matches one name, byte by byte as git does, in time len(p)*len(s) at worst.
func glob(p, s string) bool {
	pi, si, star, from := 0, 0, -1, 0
	for si < len(s) {
		if pi < len(p) && p[pi] == '*' {
			star, from = pi, si
			pi++
			continue
		}
		if pi < len(p) {
			if n, ok := globOne(p[pi:], s[si]); ok {
				pi += n
				si++
				continue
			}
		}
		if star < 0 {
			return false
		}
		from++
		pi, si = star+1, from
	}
	return strings.Trim(p[pi:], "*") == ""
}

// globOne matches one byte and says how much of the pattern that took.
func globOne(p string, c byte) (int, bool) {
	switch p[0] {
	case '?':
		return 1, true
	case '[':
		return globClass(p, c)
	case '\\':
		if len(p) < 2 {
			return 1, false
		}
		return 2, p[1] == c
	}
	return 1, p[0] == c
}

// globClass matches [a-z], [!a], [^a], [[:digit:]] and such. A class that doesn't
// end matches nothing.
func globClass(p string, c byte) (int, bool) {
	i, not, hit := 1, false, false
	if i < len(p) && (p[i] == '!' || p[i] == '^') {
		not = true
		i++
	}
	for first := true; i < len(p); first = false {
		if p[i] == ']' && !first {
			return i + 1, hit != not
		}
		if name, ok := posixClass(p[i:]); ok {
			hit = hit || inPosix(name, c)
			i += len(name) + 4
			continue
		}
		lo, n := classByte(p[i:])
		if i += n; n == 0 {
			break
		}
		hi := lo
		if i+1 < len(p) && p[i] == '-' && p[i+1] != ']' {
			h, n := classByte(p[i+1:])
			hi = h
			i += 1 + n
		}
		hit = hit || lo <= c && c <= hi
	}
	return len(p), false
}

func classByte(p string) (byte, int) {
	switch {
	case p[0] != '\\':
		return p[0], 1
	case len(p) > 1:
		return p[1], 2
	}
	return 0, 0
}

func posixClass(p string) (string, bool) {
	if !strings.HasPrefix(p, "[:") {
		return "", false
	}
	name, _, ok := strings.Cut(p[2:], ":]")
	return name, ok && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz") == ""
}

func inPosix(name string, c byte) bool {
	lower, upper, digit := c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9'
	switch name {
	case "alpha":
		return lower || upper
	case "digit":
		return digit
	case "alnum":
		return lower || upper || digit
	case "lower":
		return lower
	case "upper":
		return upper
	case "space":
		return c == ' ' || c >= '\t' && c <= '\r'
	case "blank":
		return c == ' ' || c == '\t'
	case "xdigit":
		return digit || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
	case "punct":
		return c > ' ' && c < 0x7f && !lower && !upper && !digit
	case "print":
		return c >= ' ' && c < 0x7f
	case "graph":
		return c > ' ' && c < 0x7f
	case "cntrl":
		return c < ' ' || c == 0x7f
	}
	return false
}
