package logs

import (
	"bytes"
	"fmt"
	"time"
	"unicode/utf8"
)

const (
	chunkSize = 32 << 10 // of one read
	maxLine   = 16 << 10 // of one line, as the program wrote it
)

// keep writes what a chunk completes; a nil chunk is the end of the stream.
// from.mu is held.
func (c *Collector) keep(from *stream, chunk []byte) {
	f, s := from.a.file, &from.lines
	buf := c.outputs.Get().(*[]byte)
	now := time.Now()
	s.begin((*buf)[:0], now)
	for len(chunk) > 0 {
		chunk = chunk[s.take(chunk):]
		if len(s.out) > chunkSize {
			f.append(c, s.out, s.count, now)
			s.begin(s.out[:0], now)
		}
	}
	if chunk == nil {
		s.finish()
	}
	if s.count > 0 {
		f.append(c, s.out, s.count, now)
	}
	if cap(s.out) <= 4*chunkSize {
		*buf = s.out
		c.outputs.Put(buf)
	}
	s.out = nil
}

// lines cuts a stream into log lines.
type lines struct {
	stream   string // "out" or "err"
	rest     []byte // a line whose end has not come yet
	skipping bool   // the line was cut; its rest goes by unseen

	out   []byte // formatted
	count int
	stamp [len(stampForm)]byte
}

func (s *lines) begin(out []byte, now time.Time) {
	s.out, s.count = out, 0
	appendStamp(s.stamp[:0], now)
}

// take uses up one line of chunk, or all of it, and returns how many bytes.
func (s *lines) take(chunk []byte) int {
	end := bytes.IndexByte(chunk, '\n')
	if end < 0 {
		s.hold(chunk)
		return len(chunk)
	}
	switch {
	case s.skipping:
		s.skipping = false
	case len(s.rest) > 0:
		s.rest = append(s.rest, chunk[:min(end, maxLine)]...)
		s.emit(s.rest)
		s.rest = nil
	default:
		s.emit(chunk[:end])
	}
	return end + 1
}

// hold keeps the beginning of a line for later, up to the length of a line.
func (s *lines) hold(part []byte) {
	if s.skipping {
		return
	}
	s.rest = append(s.rest, part[:min(len(part), maxLine+1)]...)
	if len(s.rest) > maxLine {
		s.emit(s.rest)
		s.rest, s.skipping = nil, true
	}
}

// finish emits a last line that has no newline.
func (s *lines) finish() {
	if len(s.rest) > 0 {
		s.emit(s.rest)
		s.rest = nil
	}
}

func (s *lines) emit(text []byte) {
	cut := len(text) > maxLine
	if cut {
		text = text[:maxLine]
	}
	text = bytes.TrimSuffix(text, []byte("\r"))
	s.out = append(s.out, s.stamp[:]...)
	s.out = append(s.out, ' ')
	s.out = append(s.out, s.stream...)
	s.out = append(s.out, ' ')
	s.out = appendText(s.out, text)
	if cut {
		s.out = fmt.Appendf(s.out, " [ten: cut at %d bytes]", maxLine)
	}
	s.out = append(s.out, '\n')
	s.count++
}

// appendText makes text valid UTF-8: a stray byte becomes \xNN.
func appendText(out, text []byte) []byte {
	if utf8.Valid(text) {
		return append(out, text...)
	}
	for len(text) > 0 {
		r, n := utf8.DecodeRune(text)
		if r == utf8.RuneError && n == 1 {
			out = fmt.Appendf(out, `\x%02x`, text[0])
		} else {
			out = append(out, text[:n]...)
		}
		text = text[n:]
	}
	return out
}
