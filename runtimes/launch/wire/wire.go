// Package wire is what the launcher and ten-init say to each other: the Plan
// that goes in, the Fault that comes back when a step of it fails, and the Exit
// record that init leaves behind. Everything is length-prefixed bytes, and
// decoding hostile or cut input is an error, never a panic.
//
// The package is linked into ten-init, whose size and start time are paid once
// per instance, so it imports nothing.
package wire

// The file descriptors init is started with, beside 0 (the null device), 1 and
// 2 (the write ends of the output pipes, which the program inherits).
const (
	FDConn = 3 // socket: plan and go byte in, fault out; closed = the program runs
	FDExit = 4 // the exit record, open for writing
	FDOut  = 5 // read end of the output pipe: keeps writes from failing while nobody listens
	FDErr  = 6 // the same for standard error
	FDOOM  = 7 // the cgroup file that counts out-of-memory kills, where a limit is set
)

// Go is the byte that lets init run the program. Until it arrives, the end of
// the socket means that the launcher died, and init leaves without a trace.
const Go = 'g'

// MaxPlan bounds an encoded plan; the kernel's own bound on argv and env is 2 MB.
const MaxPlan = 8 << 20

// Mount is a path of the host that the instance sees at the same path.
type Mount struct {
	Path     string
	Writable bool
}

// Plan is all that init has to do, in the order of its fields.
type Plan struct {
	Name string // what init calls itself in a process list
	// Walls says that init is pid 1 of fresh namespaces and must build the
	// instance's own view. Without it init only adopts orphans.
	Walls    bool
	Mounts   []Mount  // opened before anything is covered
	Covered  []string // directories hidden under an empty read-only one, parents first
	Scratch  []string // directories replaced by a private, writable, empty one
	Hostname string
	// DropAmbient gives up the capabilities that an ordinary user's init
	// was lent inside its user namespace.
	DropAmbient bool
	HasOOM      bool // FDOOM is open

	Dir  string
	Argv []string
	Env  []string
	Path string // where Argv[0] is looked up when it holds no slash
}

// AppendPlan encodes a plan behind its own length.
func AppendPlan(b []byte, p *Plan) []byte {
	start := len(b)
	b = append(b, 0, 0, 0, 0)
	b = appendString(b, p.Name)
	b = append(b, flags(p.Walls, p.DropAmbient, p.HasOOM))
	b = appendUint(b, uint64(len(p.Mounts)))
	for _, m := range p.Mounts {
		b = appendString(b, m.Path)
		b = append(b, flags(m.Writable))
	}
	b = appendStrings(b, p.Covered)
	b = appendStrings(b, p.Scratch)
	b = appendString(b, p.Hostname)
	b = appendString(b, p.Dir)
	b = appendStrings(b, p.Argv)
	b = appendStrings(b, p.Env)
	b = appendString(b, p.Path)
	putUint32(b[start:], uint32(len(b)-start-4))
	return b
}

// PlanSize reads the length in front of a plan: how many bytes follow the
// first four. It reports false for a length that no plan has.
func PlanSize(head []byte) (int, bool) {
	if len(head) < 4 {
		return 0, false
	}
	n := uint32(head[0]) | uint32(head[1])<<8 | uint32(head[2])<<16 | uint32(head[3])<<24
	return int(n), n <= MaxPlan
}

// DecodePlan reads what AppendPlan wrote, without the length in front. The
// strings of the plan share b.
func DecodePlan(b []byte) (*Plan, bool) {
	r := reader{b: b}
	p := &Plan{Name: r.string()}
	f := r.byte()
	p.Walls, p.DropAmbient, p.HasOOM = f&1 != 0, f&2 != 0, f&4 != 0
	for n := r.count(); n > 0 && !r.bad; n-- {
		p.Mounts = append(p.Mounts, Mount{Path: r.string(), Writable: r.byte()&1 != 0})
	}
	p.Covered = r.strings()
	p.Scratch = r.strings()
	p.Hostname = r.string()
	p.Dir = r.string()
	p.Argv = r.strings()
	p.Env = r.strings()
	p.Path = r.string()
	return p, !r.bad && len(r.b) == 0 && len(p.Argv) > 0
}

// Fault is the one message init sends when a step fails.
type Fault struct {
	Step   string // "mount", "chdir", "exec", ...
	Object string // what it worked on
	Errno  uint32
}

// AppendFault encodes a fault.
func AppendFault(b []byte, f Fault) []byte {
	b = appendUint(b, uint64(f.Errno))
	b = appendString(b, f.Step)
	return appendString(b, f.Object)
}

// DecodeFault reads what AppendFault wrote.
func DecodeFault(b []byte) (Fault, bool) {
	r := reader{b: b}
	f := Fault{Errno: uint32(r.uint())}
	f.Step = r.string()
	f.Object = r.string()
	return f, !r.bad && len(r.b) == 0
}

func flags(bits ...bool) byte {
	var f byte
	for i, on := range bits {
		if on {
			f |= 1 << i
		}
	}
	return f
}

func putUint32(b []byte, n uint32) {
	b[0], b[1], b[2], b[3] = byte(n), byte(n>>8), byte(n>>16), byte(n>>24)
}

func appendUint(b []byte, n uint64) []byte {
	for n >= 0x80 {
		b = append(b, byte(n)|0x80)
		n >>= 7
	}
	return append(b, byte(n))
}

func appendString(b []byte, s string) []byte {
	return append(appendUint(b, uint64(len(s))), s...)
}

func appendStrings(b []byte, list []string) []byte {
	b = appendUint(b, uint64(len(list)))
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
	if len(r.b) == 0 {
		r.fail()
		return 0
	}
	c := r.b[0]
	r.b = r.b[1:]
	return c
}

func (r *reader) uint() uint64 {
	var n uint64
	for shift := 0; shift < 63; shift += 7 {
		c := r.byte()
		n |= uint64(c&0x7f) << shift
		if c < 0x80 {
			return n
		}
	}
	r.fail()
	return 0
}

// count reads the length of a list or string, each element of which takes at
// least one of the bytes that follow.
func (r *reader) count() int {
	n := r.uint()
	if n > uint64(len(r.b)) {
		r.fail()
		return 0
	}
	return int(n)
}

func (r *reader) string() string {
	n := r.count()
	s := string(r.b[:n])
	r.b = r.b[n:]
	return s
}

func (r *reader) strings() []string {
	n := r.count()
	if n == 0 {
		return nil
	}
	list := make([]string, 0, n)
	for ; n > 0 && !r.bad; n-- {
		list = append(list, r.string())
	}
	return list
}
