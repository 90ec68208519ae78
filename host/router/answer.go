package router

import "errors"

// errAnswer is what a backend's answer that is no HTTP is refused with.
var errAnswer = errors.New("the answer is no HTTP/1.1")

// answer is the head of a backend's answer.
type answer struct {
	status    int
	line      []byte // "200 OK"
	fields    []field
	length    int64 // of the body; -1 = in chunks, -2 = until the connection ends
	hasLength bool
	keep      bool // the connection can be used again
	stream    bool // text/event-stream
}

const eventStream = "text/event-stream"

const (
	inChunks = -1
	untilEnd = -2
)

// parse reads a whole head; method is that of the request it answers.
func (a *answer) parse(head []byte, method []byte, maxFields int) error {
	*a = answer{fields: a.fields[:0], length: untilEnd}
	line, rest, ok := cutLine(head)
	if !ok || len(line) < 12 || string(line[:7]) != "HTTP/1." || line[8] != ' ' || !isText(line) {
		return errAnswer
	}
	old := line[7] == '0'
	if !old && line[7] != '1' {
		return errAnswer
	}
	a.line = line[9:]
	for _, c := range a.line[:3] {
		if c < '0' || c > '9' {
			return errAnswer
		}
		a.status = a.status*10 + int(c-'0')
	}
	if a.status < 100 || len(a.line) > 3 && a.line[3] != ' ' {
		return errAnswer
	}
	var err error
	if a.fields, err = parseFields(rest, a.fields, maxFields); err != nil {
		return errAnswer
	}
	if err := a.settle(old); err != nil {
		return err
	}
	a.bodiless(method)
	return nil
}

// settle takes from the fields what this hop decides by.
func (a *answer) settle(old bool) error {
	chunked, keepAlive, closes := false, false, false
	for i := range a.fields {
		f := &a.fields[i]
		f.drop = f.drop || f.kind.hopByHop()
		switch f.kind {
		case kindLength:
			n, ok := parseLength(f.value)
			if !ok || a.hasLength && n != a.length {
				return errAnswer
			}
			f.drop = true // written by us
			a.length, a.hasLength = n, true
		case kindCoding:
			if chunked || !equalFold(f.value, "chunked") {
				return errAnswer
			}
			chunked = true
		case kindConnection:
			for rest := f.value; len(rest) > 0; {
				var token []byte
				token, rest = cutToken(rest)
				closes = closes || equalFold(token, "close")
				keepAlive = keepAlive || equalFold(token, "keep-alive")
				dropNamed(a.fields, token)
			}
		case kindOther:
			a.stream = a.stream || equalFold(f.name, "content-type") && len(f.value) >= len(eventStream) && equalFold(f.value[:len(eventStream)], eventStream)
		}
	}
	a.keep = !closes && (!old || keepAlive)
	if chunked {
		if a.hasLength { // whom to believe? this connection is not used again
			a.keep, a.hasLength = false, false
		}
		a.length = inChunks
	}
	return nil
}

// bodiless settles the answers that have no body whatever their fields say.
func (a *answer) bodiless(method []byte) {
	switch {
	case a.status < 200 || a.status == 204:
		a.length, a.hasLength = 0, false
	case a.status == 304 || string(method) == "HEAD":
		if a.hasLength {
			return // told, but not sent: see body
		}
		a.length = 0
	}
}

// body is how many bytes follow; -1 and -2 as length.
func (a *answer) body(method []byte) int64 {
	if a.status == 304 || string(method) == "HEAD" {
		return 0
	}
	return a.length
}

// appendHead writes the head for the client, without its empty line. chunked
// says how the body is framed where its length isn't known.
func (a *answer) appendHead(b []byte, chunked bool) []byte {
	b = append(b, "HTTP/1.1 "...)
	b = append(b, a.line...)
	if len(a.line) == 3 {
		b = append(b, ' ')
	}
	b = append(b, crlf...)
	for i := range a.fields {
		if f := &a.fields[i]; !f.drop {
			b = appendField(b, f)
		}
	}
	switch {
	case a.hasLength:
		b = append(b, "Content-Length: "...)
		b = appendInt(b, a.length)
		b = append(b, crlf...)
	case chunked:
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
	}
	return b
}
