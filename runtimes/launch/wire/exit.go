package wire

// ExitSize is the length of an exit record, with which the record file begins.
const ExitSize = 48

// Exit is what init writes when the program has ended. OutLen and ErrLen bytes
// of standard output and error, which nobody had read, follow each other at
// Saved in the same file.
type Exit struct {
	Code   uint8 // exit status, 128+Signal when a signal ended it
	Signal uint8
	OOM    bool
	Done   bool  // everything else is dead too, and the rest of the record is final
	AtNano int64 // wall clock
	Saved  uint64
	OutLen uint64
	ErrLen uint64
	// OutTaken and ErrTaken are a reader's notes; Encode leaves them out.
	OutTaken, ErrTaken bool
}

// Where a reader notes, with a one, that it took all that was saved.
const (
	OutTakenOffset = 12
	ErrTakenOffset = 13
)

const exitMagic = "tenexit1"

// Encode gives the record its fixed form.
func (e *Exit) Encode(b *[ExitSize]byte) {
	copy(b[:], exitMagic)
	b[8], b[9], b[10], b[11] = e.Code, e.Signal, 0, 0
	if e.OOM {
		b[10] = 1
	}
	if e.Done {
		b[11] = 1
	}
	putUint32(b[12:], 0)
	putUint64(b[16:], uint64(e.AtNano))
	putUint64(b[24:], e.Saved)
	putUint64(b[32:], e.OutLen)
	putUint64(b[40:], e.ErrLen)
}

// DecodeExit reads a record. It reports false while there is none yet.
func DecodeExit(b []byte) (Exit, bool) {
	if len(b) < ExitSize || string(b[:8]) != exitMagic {
		return Exit{}, false
	}
	return Exit{
		Code:   b[8],
		Signal: b[9],
		OOM:    b[10] == 1,
		Done:   b[11] == 1,
		AtNano: int64(uint64At(b[16:])),
		Saved:  uint64At(b[24:]),
		OutLen: uint64At(b[32:]),
		ErrLen: uint64At(b[40:]),

		OutTaken: b[OutTakenOffset] == 1,
		ErrTaken: b[ErrTakenOffset] == 1,
	}, true
}

// TagOffset is where in the record file init leaves the tag of the socket file
// that it made: all zero while there is none.
const TagOffset = 56

// PutTag makes the tag of a file from what tells it from others that were at the
// same path, its inode number and the time of its last change: numbers are used again.
func PutTag(b *[8]byte, ino uint64, sec, nsec int64) { putUint64(b[:], ino^uint64(sec*1e9+nsec)) }

func putUint64(b []byte, n uint64) {
	putUint32(b, uint32(n))
	putUint32(b[4:], uint32(n>>32))
}

func uint64At(b []byte) uint64 {
	var n uint64
	for i := 7; i >= 0; i-- {
		n = n<<8 | uint64(b[i])
	}
	return n
}
