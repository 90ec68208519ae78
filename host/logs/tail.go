package logs

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/tenement/ten/runtimes"
)

// Line is one line of an instance's output.
type Line struct {
	ID     runtimes.ID
	Time   time.Time
	Stream string // "stdout" or "stderr"
	Text   string
}

const (
	firstBlock = 4 << 10
	maxBlock   = 64 << 10
	// longest bounds a line as it is stored: each byte may be escaped to four.
	longest = 4*maxLine + 256
)

// backward reads the lines of one instance from the newest to the oldest,
// without reading more of the files than was asked for.
type backward struct {
	id    runtimes.ID
	files []*os.File // newest first
	pos   int64      // what of files[0] is before buf
	buf   []byte     // unread bytes of files[0]
	block int
	later time.Time // of the line returned before
}

// backward opens the log of an instance as it is now: it holds every append of
// this instance up to the number that is returned, and none after. The error is
// fs.ErrNotExist when there is no log.
func (c *Collector) backward(id runtimes.ID) (*backward, uint64, error) {
	f := c.hold(id)
	defer c.release(f)
	f.mu.Lock()
	defer f.mu.Unlock()
	b := &backward{id: id, block: firstBlock}
	for i := range c.cfg.Files {
		file, err := os.Open(f.rotated(i))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			b.close()
			return nil, 0, err
		}
		b.files = append(b.files, file)
	}
	if len(b.files) == 0 {
		return nil, c.appends.Load(), fs.ErrNotExist
	}
	if err := b.enter(); err != nil {
		b.close()
		return nil, 0, err
	}
	return b, c.appends.Load(), nil
}

func (b *backward) close() {
	for _, f := range b.files {
		f.Close()
	}
}

// enter begins at the end of files[0].
func (b *backward) enter() error {
	info, err := b.files[0].Stat()
	if err == nil {
		b.pos = info.Size()
	}
	return err
}

// next returns the next older line, or io.EOF.
func (b *backward) next() (Line, error) {
	for {
		raw, err := b.raw()
		if err != nil {
			return Line{}, err
		}
		if len(raw) > 0 {
			return b.parse(raw), nil
		}
	}
}

// raw returns the next older piece between two newlines, which may be empty.
func (b *backward) raw() ([]byte, error) {
	for {
		if i := bytes.LastIndexByte(b.buf, '\n'); i >= 0 {
			line := b.buf[i+1:]
			b.buf = b.buf[:i]
			return line, nil
		}
		switch {
		case b.pos > 0 && len(b.buf) <= longest:
			if err := b.fill(); err != nil {
				return nil, err
			}
		case len(b.buf) > 0: // the first line of a file, or one that no log of ours has
			line := b.buf
			b.buf = nil
			return line, nil
		case len(b.files) > 1:
			b.files[0].Close()
			b.files = b.files[1:]
			if err := b.enter(); err != nil {
				return nil, err
			}
		default:
			return nil, io.EOF
		}
	}
}

// fill puts the block before buf in front of it.
func (b *backward) fill() error {
	n := min(int64(b.block), b.pos)
	b.block = min(2*b.block, maxBlock)
	grown := make([]byte, n, n+int64(len(b.buf)))
	if _, err := b.files[0].ReadAt(grown, b.pos-n); err != nil {
		return err
	}
	b.buf = append(grown, b.buf...)
	b.pos -= n
	return nil
}

// parse reads a stored line. Its time is never after that of the line that
// follows it, so that merging keeps the order of one instance even when the
// clock was set back.
func (b *backward) parse(raw []byte) Line {
	l, ok := parse(b.id, raw)
	if !ok {
		l = Line{ID: b.id, Time: b.later, Stream: "stderr", Text: string(raw)}
	}
	if !b.later.IsZero() && l.Time.After(b.later) {
		l.Time = b.later
	}
	b.later = l.Time
	return l
}

// parse splits "time out|err text".
func parse(id runtimes.ID, raw []byte) (Line, bool) {
	stamp, rest, ok := bytes.Cut(raw, []byte(" "))
	at, err := time.Parse(stampForm, string(stamp))
	if !ok || err != nil {
		return Line{}, false
	}
	short, text, _ := bytes.Cut(rest, []byte(" "))
	l := Line{ID: id, Time: at, Text: string(text)}
	switch string(short) {
	case "out":
		l.Stream = "stdout"
	case "err":
		l.Stream = "stderr"
	default:
		return Line{}, false
	}
	return l, true
}

// Tail returns the last n lines of an instance, oldest first; none when it
// has no log.
func (c *Collector) Tail(service, id string, n int) ([]Line, error) {
	return c.newest(runtimes.ID{Service: service, Instance: id}, n)
}
