package router

import "errors"

// errChunk is what a body in chunks that breaks their grammar is refused with.
var errChunk = errors.New("malformed chunks")

const (
	maxExtensions = 4 << 10 // bytes that say nothing, over a whole body
	maxTrailer    = 16 << 10
)

// chunked reads a body in chunks, a piece at a time and in place. Extensions are
// checked and dropped, trailers kept until the end.
type chunked struct {
	state   uint8
	digits  uint8
	left    uint64 // of the chunk
	extra   int    // bytes of extensions so far
	trailer []byte // its lines, with their ends
}

const (
	atSize uint8 = iota
	atExtension
	atSizeLF
	atData
	atDataCR
	atDataLF
	atTrailer
	atEnd
)

// decode reads b and moves the data in it to its front: b[:n]. used is how much
// of b belonged to the body; less than all only at the end of the body.
func (d *chunked) decode(b []byte) (n, used int, err error) {
	for used < len(b) && d.state != atEnd {
		if d.state == atData {
			size := min(d.left, uint64(len(b)-used))
			copy(b[n:], b[used:used+int(size)])
			n, used = n+int(size), used+int(size)
			if d.left -= size; d.left == 0 {
				d.state = atDataCR
			}
			continue
		}
		c := b[used]
		used++
		if err := d.step(c); err != nil {
			return n, used, err
		}
	}
	return n, used, nil
}

// step reads one byte that is no data.
func (d *chunked) step(c byte) error {
	switch d.state {
	case atSize:
		return d.size(c)
	case atExtension:
		if c == '\r' {
			d.state = atSizeLF
			return nil
		}
		if d.extra++; d.extra > maxExtensions || c < ' ' && c != '\t' || c == 0x7f {
			return errChunk
		}
	case atSizeLF:
		if c != '\n' {
			return errChunk
		}
		d.digits, d.state = 0, atData
		if d.left == 0 {
			d.state = atTrailer
		}
	case atDataCR:
		if c != '\r' {
			return errChunk
		}
		d.state = atDataLF
	case atDataLF:
		if c != '\n' {
			return errChunk
		}
		d.state = atSize
	case atTrailer:
		return d.trail(c)
	}
	return nil
}

// size reads a byte of "1f;name=value\r\n".
func (d *chunked) size(c byte) error {
	digit := uint64(0)
	switch l := lowerByte(c); {
	case '0' <= c && c <= '9':
		digit = uint64(c - '0')
	case 'a' <= l && l <= 'f':
		digit = uint64(l-'a') + 10
	case c == '\r' && d.digits > 0:
		d.state = atSizeLF
		return nil
	case c == ';' && d.digits > 0:
		d.state = atExtension
		return nil
	default:
		return errChunk
	}
	if d.digits++; d.digits > 15 {
		return errChunk
	}
	d.left = d.left<<4 | digit
	return nil
}

// trail reads a byte of the trailer. It ends with an empty line.
func (d *chunked) trail(c byte) error {
	d.trailer = append(d.trailer, c)
	t := d.trailer
	n := len(t)
	switch {
	case n > maxTrailer:
		return errChunk
	case c == '\n' && (n < 2 || t[n-2] != '\r'):
		return errChunk
	case n == 2 && c == '\n', n >= 4 && string(t[n-4:]) == "\r\n\r\n":
		d.state = atEnd
	}
	return nil
}

// appendTrailer writes what of the trailer may be handed on, and the empty line.
// Fields that frame or route a message have no business there.
func (d *chunked) appendTrailer(b []byte) ([]byte, error) {
	if len(d.trailer) > 2 {
		fields, err := parseFields(d.trailer, nil, 64)
		if err != nil {
			return b, errChunk
		}
		for i := range fields {
			if f := &fields[i]; f.kind == kindOther && !equalFold(f.name, "trailer") && !equalFold(f.name, "authorization") {
				b = appendField(b, f)
			}
		}
	}
	return append(b, crlf...), nil
}
