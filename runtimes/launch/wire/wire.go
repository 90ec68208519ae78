// Package wire is what the launcher and ten-init say to each other: the Plan
// that goes in, the Fault that comes back when a step of it fails, and the Exit
// record that init leaves behind.
//
// The half that init uses runs without a heap (see cmd/ten-init), so decoding
// allocates nothing: a View points into the bytes it was read from. Decoding
// cut or hostile bytes is a refusal, never a panic.
package wire

import "unsafe"

// The file descriptors init is started with, beside 0 (the null device), 1 and
// 2 (the write ends of the output pipes, which the program inherits).
const (
	FDConn   = 3 // socket: plan and go byte in, fault out; closed = the program runs
	FDRecord = 4 // the record file, whose first bytes are the Exit
	FDOut    = 5 // read end of the output pipe: keeps writes from failing while nobody listens
	FDErr    = 6 // the same for standard error
	FDTarget = 4 // instead, when a socket is lent: the pidfd of the init to join
	FDOOM    = 7 // the cgroup file that counts out-of-memory kills, where a limit is set
)

// FDListen is where the program finds its listening socket, once FDConn is gone.
const FDListen = 3

// Go is the byte that lets init run the program. Until it arrives, the end of
// the socket means that the launcher died, and init leaves without a trace.
const Go = 'g'

const (
	// MaxPlan bounds an encoded plan; the kernel's own bound on argv and env is 2 MB.
	MaxPlan = 4 << 20
	// MaxPlaces bounds the places of a plan.
	MaxPlaces = 128
)

// Kind is what an instance finds at a place.
type Kind byte

// The kinds of places.
const (
	Scratch  Kind = iota // an empty directory of its own, writable
	Cover                // an empty directory, read-only, but for places inside it
	ReadOnly             // what the host has there, read-only
	Writable             // what the host has there
)

// Place is a path at which an instance finds something else than the host's
// file system, read-only.
type Place struct {
	Kind Kind
	Path string
}

// Plan is all that init has to do, in the order of its fields.
type Plan struct {
	// Walls says that init is pid 1 of fresh namespaces and must build the
	// instance's own view. Without it init only adopts orphans.
	Walls    bool
	Places   []Place // outer before inner; the host's are opened before any is filled
	Hostname string
	// DropCaps keeps from the program the capabilities that an ordinary user's
	// init was lent inside its user namespace.
	DropCaps bool
	HasOOM   bool // FDOOM is open
	// Trial ends init after the walls, successfully, instead of running anything.
	Trial bool
	// Loopback switches on the loopback of a fresh network namespace.
	Loopback bool
	// Lend, when not zero, is the address family of a socket that init shall make
	// in the network of the process behind FDTarget, and send back: for a daemon
	// that may not go there itself. Nothing else is done then.
	Lend uint32

	// Listen names the socket that the program gets as file 3, with LISTEN_PID in
	// its environment: the path of a unix socket, or where ListenPort is not zero
	// that port on 127.0.0.1, for which Listen is what a Fault calls it.
	Listen     string
	ListenPort uint32

	Dir  string
	Path string // where Argv[0] is looked up when it holds no slash
	Argv []string
	Env  []string
}

// Fault is the one message init sends when a step fails.
type Fault struct {
	Step   string // "mount", "chdir", "exec", ...
	Object string // what it worked on
	Errno  uint32
}

// AppendPlan encodes a plan behind its own length. Every string is followed by
// a zero byte, as system calls want it.
func AppendPlan(b []byte, p *Plan) []byte {
	start := len(b)
	b = append(b, 0, 0, 0, 0, bits(p.Walls, p.DropCaps, p.HasOOM, p.Trial, p.Loopback))
	b = appendUint32(b, int(p.Lend))
	b = appendUint32(b, len(p.Places))
	for _, place := range p.Places {
		b = appendString(append(b, byte(place.Kind)), place.Path)
	}
	b = appendString(b, p.Hostname)
	b = appendString(b, p.Listen)
	b = appendUint32(b, int(p.ListenPort))
	b = appendString(b, p.Dir)
	b = appendString(b, p.Path)
	b = appendStrings(b, p.Argv)
	b = appendStrings(b, p.Env)
	putUint32(b[start:], uint32(len(b)-start-4))
	return b
}

// View is a Plan as init reads it.
type View struct {
	Walls, DropCaps, HasOOM, Trial, Loopback bool

	Lend                uint32
	Places              List // walk it with NextPlace
	Hostname, Dir, Path string
	Listen              string
	ListenPort          uint32
	Argv, Env           List
}

// PlanSize reads the length in front of a plan: how many bytes follow the
// first four. It reports false for a length that no plan has.
func PlanSize(head *[4]byte) (int, bool) {
	n := uint32(head[0]) | uint32(head[1])<<8 | uint32(head[2])<<16 | uint32(head[3])<<24
	return int(n), n <= MaxPlan
}

// Decode reads what AppendPlan wrote, without the length in front. The view's
// strings share b and are each followed by a zero byte.
func (v *View) Decode(b []byte) bool {
	r := reader{b: b}
	f := r.byte()
	v.Walls, v.DropCaps, v.HasOOM, v.Trial, v.Loopback = f&1 != 0, f&2 != 0, f&4 != 0, f&8 != 0, f&16 != 0
	v.Lend = r.uint32()
	v.Places = r.list(true)
	v.Hostname = r.string()
	v.Listen = r.string()
	v.ListenPort = r.uint32()
	v.Dir = r.string()
	v.Path = r.string()
	v.Argv = r.list(false)
	v.Env = r.list(false)
	return !r.bad && len(r.b) == 0 && v.Argv.Len > 0 && v.Places.Len <= MaxPlaces
}

// List is a sequence of strings or places; a copy of it starts anew.
type List struct {
	Len int
	r   reader
}

// Next takes the next string off the list.
func (l *List) Next(s *string) bool {
	if l.Len == 0 {
		return false
	}
	l.Len--
	*s = l.r.string()
	return true
}

// NextPlace takes the next place off the list.
func (l *List) NextPlace(p *Place) bool {
	if l.Len == 0 {
		return false
	}
	l.Len--
	p.Kind = Kind(l.r.byte())
	p.Path = l.r.string()
	return true
}

// MaxFault bounds an encoded fault; longer objects are cut.
const MaxFault = 4096

// Encode writes the fault into b and returns its length.
func (f *Fault) Encode(b *[MaxFault]byte) int {
	putUint32(b[:], f.Errno)
	n := copy(b[5:5+32], f.Step)
	b[4] = byte(n)
	return 5 + n + copy(b[5+n:], f.Object)
}

// DecodeFault reads what Encode wrote.
func DecodeFault(b []byte) (Fault, bool) {
	if len(b) < 5 || len(b) < 5+int(b[4]) {
		return Fault{}, false
	}
	end := 5 + int(b[4])
	errno := uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24
	return Fault{Step: string(b[5:end]), Object: string(b[end:]), Errno: errno}, true
}

func bits(on ...bool) byte {
	var f byte
	for i, b := range on {
		if b {
			f |= 1 << i
		}
	}
	return f
}

func putUint32(b []byte, n uint32) {
	b[0], b[1], b[2], b[3] = byte(n), byte(n>>8), byte(n>>16), byte(n>>24)
}

func appendUint32(b []byte, n int) []byte {
	return append(b, byte(n), byte(n>>8), byte(n>>16), byte(n>>24))
}

func appendString(b []byte, s string) []byte {
	return append(append(appendUint32(b, len(s)), s...), 0)
}

func appendStrings(b []byte, list []string) []byte {
	b = appendUint32(b, len(list))
	for _, s := range list {
		b = appendString(b, s)
	}
	return b
}

// reader takes values off the front of b; after the first fault all of them
// are zero and bad stays set.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) fail() { r.b, r.bad = nil, true }

func (r *reader) byte() byte {
	if len(r.b) < 1 {
		r.fail()
		return 0
	}
	c := r.b[0]
	r.b = r.b[1:]
	return c
}

func (r *reader) uint32() uint32 {
	if len(r.b) < 4 {
		r.fail()
		return 0
	}
	n := uint32(r.b[0]) | uint32(r.b[1])<<8 | uint32(r.b[2])<<16 | uint32(r.b[3])<<24
	r.b = r.b[4:]
	return n
}

// count reads a length; what it counts takes at least one byte each of those
// that follow.
func (r *reader) count() int {
	n := r.uint32()
	if uint64(n) > uint64(len(r.b)) {
		r.fail()
		return 0
	}
	return int(n)
}

func (r *reader) string() string {
	n := r.count()
	if r.bad || n >= len(r.b) || r.b[n] != 0 {
		r.fail()
		return ""
	}
	s := unsafe.String(&r.b[0], n)
	r.b = r.b[n+1:]
	return s
}

// list checks a list as a whole, so that walking it later cannot fail.
func (r *reader) list(places bool) List {
	l := List{Len: r.count()}
	l.r = *r
	for n := l.Len; n > 0 && !r.bad; n-- {
		if places && Kind(r.byte()) > Writable {
			r.fail()
		}
		r.string()
	}
	return l
}
