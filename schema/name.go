package schema

import "strings"

// maxName is the longest name or id, so that it fits a DNS label.
const maxName = 63

// ValidServiceName reports whether s may name a service: 1 to 63 lower-case
// letters, digits, - and _, with a letter or digit at both ends.
func ValidServiceName(s string) bool { return validName(s, true) }

// ValidInstanceID reports whether s may name an instance: 1 to 63 lower-case
// letters, digits and -, with a letter or digit at both ends. Such an id is
// safe as a path element, a DNS label and a shell word.
func ValidInstanceID(s string) bool { return validName(s, false) }

// ValidDomain reports whether s is a domain in lower case, of one label or more.
func ValidDomain(s string) bool {
	for label := range strings.SplitSeq(s, ".") {
		if !ValidInstanceID(label) {
			return false
		}
	}
	return true
}

func validName(s string, underscore bool) bool {
	if s == "" || len(s) > maxName {
		return false
	}
	for i := range len(s) {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9':
		case i == 0 || i == len(s)-1:
			return false
		case c == '-', c == '_' && underscore:
		default:
			return false
		}
	}
	return true
}
