package router

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
)

// errCutShort is a body that ended before its end.
var errCutShort = errors.New("the body was cut short")

const (
	pieceSize = 32 << 10
	pieceHead = 18                // "ffffffffffffffff\r\n" before a piece that goes out as a chunk
	pieceTail = maxTrailer + 1024 // behind it
	spliceMin = 256 << 10         // bodies with as much to come are moved by the kernel
	spliceRun = 1 << 20           // at a time, so that it is seen to move
)

// piece is room for a part of a body with its framing around it.
type piece [pieceHead + pieceSize + pieceTail]byte

var pieces = sync.Pool{New: func() any { return new(piece) }}

// transfer moves one body from a connection to another as it comes, with
// bounded memory. What was read already comes first; what was read beyond the
// body's end is left in rest.
type transfer struct {
	from  net.Conn
	first []byte // read before
	to    net.Conn
	head  []byte // to be written before the body's first bytes, with them in one go
	rest  []byte // read beyond the end

	length int64 // what follows; inChunks, untilEnd
	encode bool  // to send it in chunks
	limit  int64 // of bytes; 0 = none
	moved  int64 // bytes of data

	due      *atomic.Int64 // when to give up
	clock    *clock
	stall    int64 // nanoseconds a write may take
	silence  int64 // and a read
	activity *activity
	dec      chunked

	failedRead bool // which side an error is of
}

// run moves the body. Each part goes out as soon as it is there.
func (t *transfer) run() error {
	if t.length == 0 {
		return t.flush(nil)
	}
	buf := pieces.Get().(*piece)
	defer pieces.Put(buf)
	data := buf[pieceHead : pieceHead+pieceSize]
	for {
		n, err := t.read(data)
		if n > 0 || err == nil {
			done, emitErr := t.emit(buf, n)
			if done || emitErr != nil {
				return emitErr
			}
		}
		if err == io.EOF && t.length == untilEnd {
			return t.finish(buf)
		}
		if err != nil {
			t.failedRead = true
			if err == io.EOF {
				err = errCutShort
			}
			return err
		}
		if t.length >= spliceMin && !t.encode {
			if err := t.splice(); err != nil || t.length == 0 {
				return err
			}
		}
	}
}

// read gets the next part. The head doesn't wait for it.
func (t *transfer) read(b []byte) (int, error) {
	if len(t.first) > 0 {
		n := copy(b, t.first)
		t.first = t.first[n:]
		return n, nil
	}
	if err := t.flush(nil); err != nil {
		return 0, err
	}
	if t.length >= 0 && int64(len(b)) > t.length {
		b = b[:t.length]
	}
	t.due.Store(t.clock.in(t.silence))
	return t.from.Read(b)
}

// emit sends n bytes of data, read into buf behind its head, as framed.
func (t *transfer) emit(buf *piece, n int) (done bool, err error) {
	data := buf[pieceHead : pieceHead+n]
	switch {
	case t.length == inChunks:
		size, used, err := t.dec.decode(data)
		if err != nil {
			t.failedRead = true
			return false, err
		}
		if done = t.dec.state == atEnd; done {
			t.keep(data[used:])
		}
		data = data[:size]
	case t.length >= 0:
		if int64(n) > t.length {
			t.keep(data[t.length:])
			data = data[:t.length]
		}
		t.length -= int64(len(data))
		done = t.length == 0
	}
	if t.moved += int64(len(data)); t.limit > 0 && t.moved > t.limit {
		t.failedRead = true
		return false, faultBody
	}
	if !t.encode {
		return done, t.flush(data)
	}
	out := buf[:pieceHead]
	start := pieceHead
	if len(data) > 0 {
		start = chunkHead(buf, len(data))
		out = append(buf[:pieceHead+len(data)], crlf...)
	}
	if done {
		if out, err = t.dec.appendTrailer(append(out, "0\r\n"...)); err != nil {
			t.failedRead = true
			return false, err
		}
	}
	if len(out) <= start {
		return done, nil
	}
	return done, t.flush(out[start:])
}

// keep saves what belongs to the next message.
func (t *transfer) keep(b []byte) {
	if len(b)+len(t.first) > 0 {
		t.rest = append(append([]byte(nil), b...), t.first...)
	}
	t.first = nil
}

// finish ends a body that ends with its connection.
func (t *transfer) finish(buf *piece) error {
	if !t.encode {
		return t.flush(nil)
	}
	return t.flush(append(buf[:0], "0\r\n\r\n"...))
}

// chunkHead writes a chunk's size right before its data and says where it begins.
func chunkHead(buf *piece, n int) int {
	at := pieceHead - 2
	buf[at], buf[at+1] = '\r', '\n'
	for {
		at--
		buf[at] = hexDigits[n&15]
		if n >>= 4; n == 0 {
			return at
		}
	}
}

// flush writes b, and before it the head where it waits still.
func (t *transfer) flush(b []byte) error {
	if len(t.head) > 0 {
		if cap(t.head)-len(t.head) >= len(b) {
			b = append(t.head, b...)
		} else if err := t.write(t.head); err != nil {
			return err
		}
		t.head = nil
	}
	if len(b) == 0 {
		return nil
	}
	return t.write(b)
}

func (t *transfer) write(b []byte) error {
	t.due.Store(t.clock.in(t.stall))
	_, err := t.to.Write(b)
	t.activity.touch(t.clock.load())
	return err
}

// splice has the kernel move what is left of a body whose length is known, where
// both ends allow it; elsewhere it does nothing.
func (t *transfer) splice() error {
	to, ok := t.to.(io.ReaderFrom)
	if !ok || !spliceable(t.from) || !spliceable(t.to) {
		return nil
	}
	for t.length > 0 {
		t.due.Store(t.clock.in(t.silence))
		n, err := to.ReadFrom(&io.LimitedReader{R: t.from, N: min(t.length, spliceRun)})
		t.length -= n
		t.moved += n
		t.activity.touch(t.clock.load())
		if err == nil && n == 0 {
			err = errCutShort
		}
		if err != nil {
			t.failedRead = errors.Is(err, errCutShort)
			return err
		}
	}
	return nil
}

// spliceable reports whether a connection is a socket and nothing around it.
func spliceable(c net.Conn) bool {
	switch c.(type) {
	case *net.TCPConn, *net.UnixConn:
		return true
	}
	return false
}
