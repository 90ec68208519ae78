package router

import (
	"bytes"
	"net/http"
)

// This file reads heads of HTTP/1.1 messages, in place. What two servers could
// read in two ways is refused rather than mended, since that is what request
// smuggling lives on: bare CR or LF, folded lines, spaces around names, two
// lengths, a length beside chunks.

// field is one line of a head; name and value lie in the buffer it was read into.
type field struct {
	name, value []byte
	kind        kind
	drop        bool // hop-by-hop: not handed on
}

// fault is why a request is refused; as a status.
type fault int

func (f fault) Error() string { return http.StatusText(int(f)) }

const (
	faultBad       fault = http.StatusBadRequest
	faultTooLarge  fault = http.StatusRequestHeaderFieldsTooLarge
	faultBody      fault = http.StatusRequestEntityTooLarge
	faultVersion   fault = http.StatusHTTPVersionNotSupported
	faultMethod    fault = http.StatusMethodNotAllowed
	faultCoding    fault = http.StatusNotImplemented
	faultMisplaced fault = http.StatusMisdirectedRequest
)

// request is the head of a request.
type request struct {
	method, target []byte
	host           []byte // as sent
	fields         []field
	old            bool  // HTTP/1.0
	length         int64 // of the body; -1 = in chunks
	hasLength      bool
	close          bool // the client wants the connection closed
	keepAlive      bool // Connection: keep-alive
	expect         bool // Expect: 100-continue
	upgrade        []byte
	wantsUpgrade   bool
}

// hasBody reports whether a body follows.
func (q *request) hasBody() bool { return q.length != 0 }

// repeatable reports whether the request may be sent twice.
func (q *request) repeatable() bool {
	if q.hasBody() {
		return false
	}
	switch string(q.method) {
	case "GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE":
		return q.upgrade == nil
	}
	return false
}

// headEnd finds the end of a head in b, whose first `seen` bytes were looked at
// before; 0 = not there yet.
func headEnd(b []byte, seen int) int {
	from := max(0, seen-3)
	if i := bytes.Index(b[from:], crlfcrlf); i >= 0 {
		return from + i + 4
	}
	return 0
}

var (
	crlf     = []byte("\r\n")
	crlfcrlf = []byte("\r\n\r\n")
)

// bareLF reports whether a line ends without CR, so that no end of the head can
// be waited for.
func bareLF(b []byte) bool {
	for off := 0; ; {
		i := bytes.IndexByte(b[off:], '\n')
		if i < 0 {
			return false
		}
		if at := off + i; at == 0 || b[at-1] != '\r' {
			return true
		}
		off += i + 1
	}
}

// parse reads a whole head, up to and with its empty line.
func (q *request) parse(head []byte, maxFields int) error {
	*q = request{fields: q.fields[:0]}
	line, rest, ok := cutLine(head)
	if !ok {
		return faultBad
	}
	if err := q.parseLine(line); err != nil {
		return err
	}
	var err error
	if q.fields, err = parseFields(rest, q.fields, maxFields); err != nil {
		return err
	}
	return q.settle()
}

// cutLine splits at the first CRLF; a CR or LF elsewhere in the line is refused.
func cutLine(b []byte) (line, rest []byte, ok bool) {
	i := bytes.IndexByte(b, '\n')
	if i < 1 || b[i-1] != '\r' || bytes.IndexByte(b[:i-1], '\r') >= 0 {
		return nil, nil, false
	}
	return b[:i-1], b[i+1:], true
}

// parseLine reads "GET /path HTTP/1.1".
func (q *request) parseLine(line []byte) error {
	i := bytes.IndexByte(line, ' ')
	j := bytes.LastIndexByte(line, ' ')
	if i < 1 || j <= i+1 {
		return faultBad
	}
	q.method, q.target = line[:i], line[i+1:j]
	if !isToken(q.method) {
		return faultBad
	}
	switch version := line[j+1:]; {
	case string(version) == "HTTP/1.1":
	case string(version) == "HTTP/1.0":
		q.old = true
	case len(version) == 8 && string(version[:5]) == "HTTP/":
		return faultVersion
	default:
		return faultBad
	}
	if string(q.method) == "CONNECT" {
		return faultMethod
	}
	for _, c := range q.target {
		if c <= ' ' || c == 0x7f || c == '#' {
			return faultBad
		}
	}
	if q.target[0] == '/' || string(q.target) == "*" && string(q.method) == "OPTIONS" {
		return nil
	}
	return q.parseAbsolute()
}

// parseAbsolute reads "http://host/path": the host is taken from it.
func (q *request) parseAbsolute() error {
	i := bytes.Index(q.target, []byte("://"))
	if i < 0 || !equalFold(q.target[:i], "http") && !equalFold(q.target[:i], "https") {
		return faultBad
	}
	rest := q.target[i+3:]
	end := bytes.IndexAny(rest, "/?")
	if end < 0 {
		end = len(rest)
	}
	q.host = rest[:end]
	switch {
	case len(q.host) == 0:
		return faultBad
	case end == len(rest):
		q.target = []byte{'/'}
	case rest[end] == '?':
		q.target = append([]byte{'/'}, rest[end:]...)
	default:
		q.target = rest[end:]
	}
	return nil
}

// parseFields reads lines up to the empty one, which must end them.
func parseFields(b []byte, fields []field, maxFields int) ([]field, error) {
	for {
		if len(b) == 2 && b[0] == '\r' && b[1] == '\n' {
			return fields, nil
		}
		line, rest, ok := cutLine(b)
		if !ok {
			return fields, faultBad
		}
		if len(fields) == maxFields {
			return fields, faultTooLarge
		}
		colon := bytes.IndexByte(line, ':')
		if colon < 1 || !isToken(line[:colon]) { // a folded line begins with a space, so it ends here too
			return fields, faultBad
		}
		value := trimSpace(line[colon+1:])
		if !isText(value) {
			return fields, faultBad
		}
		name := line[:colon]
		fields = append(fields, field{name: name, value: value, kind: kindOf(name)})
		b = rest
	}
}

// settle takes from the fields what this hop decides by.
func (q *request) settle() error {
	hosts, coding := 0, false
	for i := range q.fields {
		f := &q.fields[i]
		f.drop = f.kind.hopByHop()
		switch f.kind {
		case kindHost:
			if hosts++; hosts > 1 || q.host != nil && !bytes.EqualFold(q.host, f.value) {
				return faultBad
			}
			f.drop = true // written by us, first
			q.host = f.value
		case kindLength:
			n, ok := parseLength(f.value)
			if !ok || q.hasLength {
				return faultBad
			}
			q.length, q.hasLength = n, true
		case kindCoding:
			if coding || q.old {
				return faultBad
			}
			if coding = true; !equalFold(f.value, "chunked") {
				return faultCoding
			}
		case kindExpect:
			q.expect = q.expect || equalFold(f.value, "100-continue")
		case kindUpgrade:
			if q.upgrade != nil {
				return faultBad
			}
			q.upgrade = f.value
		}
	}
	if hosts == 0 && !q.old {
		return faultBad
	}
	if coding {
		if q.hasLength {
			return faultBad
		}
		q.length = -1
	}
	if err := q.connection(); err != nil {
		return err
	}
	// An upgrade to HTTP/2 is between a client and its own server, and one with a
	// body is nobody's.
	if !q.wantsUpgrade || q.old || q.hasBody() || toHTTP2(q.upgrade) {
		q.upgrade = nil
	}
	return nil
}

// toHTTP2 reports whether an Upgrade, one of several or alone, is to HTTP/2: in
// such a tunnel a client could say of itself what it likes.
func toHTTP2(upgrade []byte) bool {
	for rest := upgrade; len(rest) > 0; {
		var token []byte
		token, rest = cutToken(rest)
		if len(token) >= 2 && equalFold(token[:2], "h2") || len(token) >= 5 && equalFold(token[:5], "http/") {
			return true
		}
	}
	return false
}

// connection reads what Connection says, and drops the fields that it names.
func (q *request) connection() error {
	tokens := 0
	for i := range q.fields {
		if q.fields[i].kind != kindConnection {
			continue
		}
		for rest := q.fields[i].value; len(rest) > 0; {
			var token []byte
			token, rest = cutToken(rest)
			if tokens++; tokens > 32 {
				return faultBad
			}
			switch {
			case equalFold(token, "close"):
				q.close = true
			case equalFold(token, "keep-alive"):
				q.keepAlive = true
			case equalFold(token, "upgrade"):
				q.wantsUpgrade = true
			default:
				dropNamed(q.fields, token)
			}
		}
	}
	return nil
}

// cutToken takes the first member of a list with commas.
func cutToken(b []byte) (token, rest []byte) {
	if i := bytes.IndexByte(b, ','); i >= 0 {
		return trimSpace(b[:i]), b[i+1:]
	}
	return trimSpace(b), nil
}

// dropNamed drops the fields of a name, but none that this hop itself decides by.
func dropNamed(fields []field, name []byte) {
	for i := range fields {
		if f := &fields[i]; f.kind != kindHost && f.kind != kindLength && f.kind != kindExpect && bytes.EqualFold(f.name, name) {
			f.drop = true
		}
	}
}

// parseLength reads a Content-Length: digits and nothing else.
func parseLength(b []byte) (int64, bool) {
	if len(b) == 0 || len(b) > 18 {
		return 0, false
	}
	n := int64(0)
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}

func trimSpace(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t') {
		b = b[:len(b)-1]
	}
	return b
}

// isToken reports whether b is a token of RFC 9110.
func isToken(b []byte) bool {
	for _, c := range b {
		if !tokenBytes[c] {
			return false
		}
	}
	return len(b) > 0
}

// isText reports whether b may be the value of a field: no control bytes.
func isText(b []byte) bool {
	for _, c := range b {
		if c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

var tokenBytes = func() (set [256]bool) {
	for _, c := range []byte("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") {
		set[c] = true
	}
	return set
}()
