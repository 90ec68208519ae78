package wire

// ExitSize is the length of an exit record. The file holding it goes on with
// OutLen bytes of standard output and ErrLen bytes of standard error: what
// nobody had read when the instance ended.
const ExitSize = 48

// Offsets of the two lengths, so that a reader can say "taken" in place.
const (
	OutLenOffset = 32
	ErrLenOffset = 40
)

const exitMagic = "tenexit1"

// Exit is the record init leaves when the program has ended.
type Exit struct {
	Code   uint8 // exit status, 128+Signal when a signal ended it
	Signal uint8
	OOM    bool
	Done   bool  // everything else is dead too, and the lengths are final
	AtNano int64 // wall clock
	OutLen uint64
	ErrLen uint64
}

// Encode writes the record into its fixed form.
func (e Exit) Encode() [ExitSize]byte {
	var b [ExitSize]byte
	copy(b[:], exitMagic)
	b[8], b[9], b[10] = e.Code, e.Signal, flags(e.OOM, e.Done)
	putUint64(b[16:], uint64(e.AtNano))
	putUint64(b[OutLenOffset:], e.OutLen)
	putUint64(b[ErrLenOffset:], e.ErrLen)
	return b
}

// DecodeExit reads a record. It reports false while there is none yet.
func DecodeExit(b []byte) (Exit, bool) {
	if len(b) < ExitSize || string(b[:8]) != exitMagic {
		return Exit{}, false
	}
	return Exit{
		Code:   b[8],
		Signal: b[9],
		OOM:    b[10]&1 != 0,
		Done:   b[10]&2 != 0,
		AtNano: int64(uint64At(b[16:])),
		OutLen: uint64At(b[OutLenOffset:]),
		ErrLen: uint64At(b[ErrLenOffset:]),
	}, true
}

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
