package router

import (
	"errors"
	"net/netip"
	"strings"
)

// maxHost is the longest host name of DNS.
const maxHost = 253

// errHost is what a Host header that names no host is refused with.
var errHost = errors.New("not a host name")

// host is what a request's Host header or :authority names, without its port.
type host struct {
	name string // lower case, no trailing dot; "" where the request names none
	ip   bool   // an address, in any notation that names one
}

// hostScratch is room for the lower-case form of a host, so that parsing one
// allocates nothing. A host parsed with it is valid while it is not used again.
type hostScratch [maxHost + 1]byte

// parseHost reads a Host header: a name in any case, with or without a trailing
// dot and a port, an IPv4 address or an IPv6 one in brackets. Anything else is
// refused: spaces, user names, paths, empty labels and bytes beyond ASCII (a name
// in another script comes as punycode).
func parseHost(raw string, scratch *hostScratch) (host, error) {
	if raw == "" {
		return host{}, nil
	}
	if raw[0] == '[' {
		return parseIPv6(raw)
	}
	name := raw
	if i := strings.LastIndexByte(raw, ':'); i >= 0 {
		if !validPort(raw[i+1:]) {
			return host{}, errHost
		}
		name = raw[:i]
	}
	name = strings.TrimSuffix(name, ".")
	if len(name) == 0 || len(name) > maxHost {
		return host{}, errHost
	}
	upper, letters, err := scanLabels(name)
	if err != nil {
		return host{}, err
	}
	if !letters && isIPv4(name) {
		return host{name: name, ip: true}, nil
	}
	if upper {
		name = lower(name, scratch)
	}
	return host{name: name}, nil
}

// scanLabels checks the labels of a name: letters, digits, - and _, at most 63.
func scanLabels(name string) (upper, letters bool, err error) {
	label := 0
	for i := 0; i < len(name); i++ {
		c := name[i]
		switch {
		case c == '.':
			if label == 0 {
				return false, false, errHost
			}
			label = -1
		case 'a' <= c && c <= 'z', c == '-', c == '_':
			letters = true
		case 'A' <= c && c <= 'Z':
			upper, letters = true, true
		case '0' <= c && c <= '9':
		default:
			return false, false, errHost
		}
		if label++; label > 63 {
			return false, false, errHost
		}
	}
	if label == 0 {
		return false, false, errHost
	}
	return upper, letters, nil
}

// parseIPv6 reads an address in brackets. A zone means nothing to others than
// the client, so it is refused.
func parseIPv6(raw string) (host, error) {
	end := strings.IndexByte(raw, ']')
	if end < 0 || end > 46 || strings.IndexByte(raw, '%') >= 0 {
		return host{}, errHost
	}
	rest := raw[end+1:]
	if rest != "" && (rest[0] != ':' || !validPort(rest[1:])) {
		return host{}, errHost
	}
	addr, err := netip.ParseAddr(strings.Clone(raw[1:end])) // its error keeps hold of what it is given
	if err != nil || !addr.Is6() {
		return host{}, errHost
	}
	return host{name: raw[:end+1], ip: true}, nil
}

// isIPv4 reports whether a name is four numbers up to 255.
func isIPv4(name string) bool {
	for i := range 4 {
		part, rest, more := strings.Cut(name, ".")
		n := 0
		for j := 0; j < len(part) && j < 4; j++ {
			n = n*10 + int(part[j]-'0')
		}
		if part == "" || n > 255 || more != (i < 3) {
			return false
		}
		name = rest
	}
	return true
}

// validPort accepts what may stand behind the colon: nothing, or 0 to 65535.
func validPort(s string) bool {
	if len(s) > 5 {
		return false
	}
	n := 0
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
		n = n*10 + int(s[i]-'0')
	}
	return n <= 65535
}

// lower gives the lower-case form of an ASCII name, kept in scratch.
func lower(name string, scratch *hostScratch) string {
	for i := 0; i < len(name); i++ {
		c := name[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		scratch[i] = c
	}
	return view(scratch[:len(name)])
}

// validService and validID are the grammar of the config, checked before a name
// out of a request is looked up or handed on.
func validService(s string) bool { return validName(s, true) }

func validID(s string) bool { return validName(s, false) }

func validName(s string, underscore bool) bool {
	if len(s) == 0 || len(s) > 63 || !alnum(s[0]) || !alnum(s[len(s)-1]) {
		return false
	}
	for i := 1; i < len(s)-1; i++ {
		if c := s[i]; !alnum(c) && c != '-' && (c != '_' || !underscore) {
			return false
		}
	}
	return true
}

func alnum(c byte) bool { return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' }
