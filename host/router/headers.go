package router

import (
	"math/rand/v2"
	"net/netip"
)

// kind tells the fields that a proxy has to know from those it hands on.
type kind uint8

const (
	kindOther kind = iota
	kindHost
	kindLength
	kindCoding // Transfer-Encoding
	kindConnection
	kindUpgrade
	kindExpect
	kindHop       // hop-by-hop in any case
	kindForwarded // X-Forwarded-For and the like: what a client says of itself
	kindFor       // X-Forwarded-For
	kindProto
	kindForwardedHost
	kindChain // Forwarded
	kindRequestID
)

// hopByHop reports whether a field ends here.
func (k kind) hopByHop() bool {
	return k == kindHop || k == kindConnection || k == kindUpgrade || k == kindCoding
}

// kinds are the fields that a proxy knows. Programs that speak CGI or WSGI can't
// tell - from _, so neither does the comparison.
var kinds = [...]struct {
	name string
	kind kind
}{
	{"host", kindHost}, {"content-length", kindLength}, {"transfer-encoding", kindCoding}, {"connection", kindConnection},
	{"upgrade", kindUpgrade}, {"expect", kindExpect}, {"keep-alive", kindHop}, {"proxy-connection", kindHop},
	{"te", kindHop}, {"http2-settings", kindHop}, {"proxy-authorization", kindHop},
	{"x-forwarded-for", kindFor}, {"x-forwarded-proto", kindProto}, {"x-forwarded-host", kindForwardedHost},
	{"forwarded", kindChain}, {"x-request-id", kindRequestID}, {"x-real-ip", kindForwarded},
}

// forwarded begins the names of what proxies say of clients: programs believe
// more of them than anybody could list.
const forwarded = "x-forwarded-"

// kindOf names a field's kind. The first letter sorts out nearly all.
func kindOf(name []byte) kind {
	switch lowerByte(name[0]) {
	case 'h', 'c', 't', 'u', 'e', 'k', 'p', 'x', 'f':
	default:
		return kindOther
	}
	for i := range kinds {
		k := &kinds[i]
		if len(k.name) == len(name) && k.name[0] == lowerByte(name[0]) && sameName(name, k.name) {
			return k.kind.spelled(name)
		}
	}
	if len(name) > len(forwarded) && sameName(name[:len(forwarded)], forwarded) {
		return kindForwarded.spelled(name)
	}
	return kindOther
}

// spelled gives the kind of a name that was found by its sound: with an
// underscore it decides nothing, and is dropped with what clients say of
// themselves; a misspelled length or coding is refused by what reads it.
func (k kind) spelled(name []byte) kind {
	for _, c := range name {
		if c != '_' {
			continue
		}
		return kindHop
	}
	return k
}

func sameName(name []byte, want string) bool {
	for i := range name {
		c := lowerByte(name[i])
		if c == '_' {
			c = '-'
		}
		if c != want[i] {
			return false
		}
	}
	return true
}

// origin is who sent a request, as the backend is told.
type origin struct {
	remote  netip.AddrPort
	addr    string // of remote, as text
	trusted bool   // a proxy of ours, whose word on the client counts
	tls     bool
}

func (o *origin) proto() string {
	if o.tls {
		return "https"
	}
	return "http"
}

// appendHead writes the head of a request for a backend.
func (q *request) appendHead(b []byte, o *origin) []byte {
	b = append(b, q.method...)
	b = append(b, ' ')
	b = append(b, q.target...)
	b = append(b, " HTTP/1.1\r\nHost: "...)
	b = append(b, q.host...)
	b = append(b, crlf...)
	for i := range q.fields {
		if f := &q.fields[i]; f.kind == kindOther && !f.drop {
			b = appendField(b, f)
		}
	}
	b = q.appendForwarded(b, o)
	if q.expect && q.hasBody() {
		b = append(b, "Expect: 100-continue\r\n"...)
	}
	switch {
	case q.length < 0:
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
	case q.hasLength:
		b = append(b, "Content-Length: "...)
		b = appendInt(b, q.length)
		b = append(b, crlf...)
	}
	if q.upgrade != nil {
		b = append(b, "Connection: Upgrade\r\nUpgrade: "...)
		b = append(b, q.upgrade...)
		b = append(b, crlf...)
	}
	return append(b, crlf...)
}

// appendForwarded says who the client is. What it says of itself is kept only
// from a trusted proxy.
func (q *request) appendForwarded(b []byte, o *origin) []byte {
	var chain, list []byte
	var proto, name, id *field
	if o.trusted {
		for i := range q.fields {
			switch f := &q.fields[i]; f.kind {
			case kindFor:
				list = joinList(list, f.value)
			case kindChain:
				chain = joinList(chain, f.value)
			case kindProto:
				proto = f
			case kindForwardedHost:
				name = f
			case kindRequestID:
				id = f
			case kindForwarded:
				b = appendField(b, f)
			}
		}
	}
	b = append(b, "X-Forwarded-For: "...)
	if list != nil {
		b = append(append(b, list...), ", "...)
	}
	b = append(b, o.addr...)
	b = append(b, "\r\nX-Forwarded-Proto: "...)
	if proto != nil {
		b = append(b, proto.value...)
	} else {
		b = append(b, o.proto()...)
	}
	b = append(b, "\r\nX-Forwarded-Host: "...)
	if name != nil {
		b = append(b, name.value...)
	} else {
		b = append(b, q.host...)
	}
	b = append(b, "\r\nForwarded: "...)
	if chain != nil {
		b = append(append(b, chain...), ", "...)
	}
	b = appendElement(b, o, q.host)
	b = append(b, "\r\nX-Request-Id: "...)
	if id != nil && len(id.value) > 0 && len(id.value) <= 200 {
		b = append(b, id.value...)
	} else {
		b = appendRequestID(b)
	}
	return append(b, crlf...)
}

// appendElement writes one hop of Forwarded.
func appendElement(b []byte, o *origin, host []byte) []byte {
	b = append(b, "for="...)
	if o.remote.Addr().Is4() {
		b = append(b, o.addr...)
	} else {
		b = append(b, `"[`...)
		b = append(b, o.addr...)
		b = append(b, `]"`...)
	}
	if plainHost(host) {
		b = append(b, `;host="`...)
		b = append(b, host...)
		b = append(b, '"')
	}
	b = append(b, ";proto="...)
	return append(b, o.proto()...)
}

// plainHost reports whether a host can stand in quotes as it is.
func plainHost(host []byte) bool {
	for _, c := range host {
		if c == '"' || c == '\\' || c >= 0x80 {
			return false
		}
	}
	return len(host) > 0
}

func joinList(list, value []byte) []byte {
	if len(list) == 0 {
		return value
	}
	joined := append(append(make([]byte, 0, len(list)+2+len(value)), list...), ", "...)
	return append(joined, value...)
}

func appendField(b []byte, f *field) []byte {
	b = append(b, f.name...)
	b = append(b, ": "...)
	b = append(b, f.value...)
	return append(b, crlf...)
}

// appendRequestID writes 128 random bits.
func appendRequestID(b []byte) []byte {
	for range 2 {
		n := rand.Uint64()
		for range 16 {
			b = append(b, hexDigits[n>>60])
			n <<= 4
		}
	}
	return b
}

const hexDigits = "0123456789abcdef"

func appendInt(b []byte, n int64) []byte {
	var digits [20]byte
	i := len(digits)
	for {
		i--
		digits[i] = byte('0' + n%10)
		if n /= 10; n == 0 {
			return append(b, digits[i:]...)
		}
	}
}
