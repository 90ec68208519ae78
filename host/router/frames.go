package router

import "encoding/binary"

// frames follows a WebSocket's stream in one direction, so that a close can be
// put between two frames and never into one.
type frames struct {
	head [14]byte
	have int    // bytes of the head
	left uint64 // of the payload
}

// advance follows the bytes that were sent on.
func (f *frames) advance(b []byte) {
	for len(b) > 0 {
		if f.left > 0 {
			n := min(f.left, uint64(len(b)))
			f.left -= n
			b = b[n:]
			continue
		}
		f.head[f.have] = b[0]
		f.have++
		b = b[1:]
		if size, payload := f.measure(); f.have == size {
			f.have, f.left = 0, payload
		}
	}
}

// measure gives the size of a head, as far as it is known, and of its payload.
func (f *frames) measure() (size int, payload uint64) {
	if f.have < 2 {
		return 2, 1
	}
	size, payload = 2, uint64(f.head[1]&0x7f)
	switch payload {
	case 126:
		size, payload = 4, uint64(binary.BigEndian.Uint16(f.head[2:]))
	case 127:
		size, payload = 10, binary.BigEndian.Uint64(f.head[2:])
	}
	if f.head[1]&0x80 != 0 {
		size += 4
	}
	return size, payload
}

// between reports whether the next byte begins a frame.
func (f *frames) between() bool { return f.have == 0 && f.left == 0 }

// What says "going away" (1001): to a client, and, masked as those of clients
// are, to a backend.
const (
	goingAway       = "\x88\x02\x03\xe9"
	goingAwayMasked = "\x88\x82\x00\x00\x00\x00\x03\xe9"
)
