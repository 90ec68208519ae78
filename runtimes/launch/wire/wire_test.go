package wire

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
)

func sample() *Plan {
	return &Plan{
		Walls: true, HasOOM: true,
		Places:   []Place{{Cover, "/data"}, {ReadOnly, "/data/src"}, {Writable, "/data/web"}, {Scratch, "/tmp"}},
		Hostname: "web-prod", Listen: "/data/web/s", Dir: "/data/web", Path: "/usr/bin:/bin",
		Argv: []string{"sh", "-c", ""}, Env: []string{"A=", "B=grün"},
	}
}

// read turns a view back into a plan, by the ways that init goes.
func read(v *View) *Plan {
	p := &Plan{Walls: v.Walls, DropCaps: v.DropCaps, HasOOM: v.HasOOM, Trial: v.Trial, Loopback: v.Loopback, Lend: v.Lend, Listen: v.Listen, ListenPort: v.ListenPort, Hostname: v.Hostname, Dir: v.Dir, Path: v.Path}
	var place Place
	for l := v.Places; l.NextPlace(&place); {
		p.Places = append(p.Places, place)
	}
	var s string
	for l := v.Argv; l.Next(&s); {
		p.Argv = append(p.Argv, s)
	}
	for l := v.Env; l.Next(&s); {
		p.Env = append(p.Env, s)
	}
	return p
}

func TestPlanSurvives(t *testing.T) {
	t.Parallel()
	for name, plan := range map[string]*Plan{
		"whole": sample(),
		"small": {Argv: []string{"x"}},
		"flags": {DropCaps: true, Trial: true, Argv: []string{"x"}},
		"alone": {Walls: true, Loopback: true, Argv: []string{"x"}},
		"unix":  {Listen: "/run/s", Argv: []string{"x"}},
		"tcp":   {Listen: "127.0.0.1:80", ListenPort: 80, Argv: []string{"x"}},
		"lend":  {Lend: 10, Argv: []string{"x"}},
		"long":  {Argv: []string{strings.Repeat("x", 100_000)}},
	} {
		b := AppendPlan(nil, plan)
		n, ok := PlanSize((*[4]byte)(b))
		if !ok || n != len(b)-4 {
			t.Fatalf("%s: size %d, %v of %d bytes", name, n, ok, len(b)-4)
		}
		var v View
		if !v.Decode(b[4:]) {
			t.Fatalf("%s: refused", name)
		}
		if got := read(&v); !reflect.DeepEqual(got, plan) {
			t.Errorf("%s: became %+v, was %+v", name, got, plan)
		}
	}
}

// Strings go to the kernel by address, so each must end in a zero byte.
func TestStringsEndInZero(t *testing.T) {
	t.Parallel()
	b := AppendPlan(nil, sample())
	var v View
	if !v.Decode(b[4:]) {
		t.Fatal("refused")
	}
	for _, s := range []string{v.Hostname, v.Listen, v.Dir, v.Path} {
		at := bytes.Index(b, []byte(s+"\x00"))
		if at < 0 {
			t.Errorf("%q has no zero byte behind it", s)
		}
	}
}

func TestDecodeAllocatesNothing(t *testing.T) {
	b := AppendPlan(nil, sample())
	var v View
	var s string
	var p Place
	n := testing.AllocsPerRun(100, func() {
		if !v.Decode(b[4:]) {
			t.Fatal("refused")
		}
		for l := v.Places; l.NextPlace(&p); {
		}
		for l := v.Argv; l.Next(&s); {
		}
	})
	if n != 0 {
		t.Errorf("decoding a plan allocates %v times; init has no heap", n)
	}
}

// Every plan cut short, and none with a byte too many, is refused.
func TestCutPlansAreRefused(t *testing.T) {
	t.Parallel()
	b := AppendPlan(nil, sample())[4:]
	var v View
	for i := range b {
		if v.Decode(b[:i]) {
			t.Errorf("a plan cut at %d of %d was taken", i, len(b))
		}
	}
	if v.Decode(append(bytes.Clone(b), 0)) {
		t.Error("a plan with a byte too many was taken")
	}
	if _, ok := PlanSize(&[4]byte{0xff, 0xff, 0xff, 0xff}); ok {
		t.Error("a plan of 4 GB was taken")
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(AppendPlan(nil, sample())[4:])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		var v View
		if !v.Decode(b) {
			return
		}
		plan := read(&v)
		if len(plan.Argv) == 0 || len(plan.Places) > MaxPlaces {
			t.Errorf("a plan without a command or with too many places: %+v", plan)
		}
		// A plan that is taken says the same when it is told again.
		var again View
		if !again.Decode(AppendPlan(nil, plan)[4:]) || !reflect.DeepEqual(read(&again), plan) {
			t.Errorf("%+v does not survive", plan)
		}
	})
}

func TestFaultSurvives(t *testing.T) {
	t.Parallel()
	var b [MaxFault]byte
	for _, f := range []Fault{{"mount", "/a b", 2}, {"", "", 0}, {"exec", strings.Repeat("x", MaxFault-40), 13}} {
		n := f.Encode(&b)
		if got, ok := DecodeFault(b[:n]); !ok || got != f {
			t.Errorf("fault became %+v, was %+v", got, f)
		}
	}
	long := Fault{Step: "exec", Object: strings.Repeat("x", 2*MaxFault)}
	if got, ok := DecodeFault(b[:long.Encode(&b)]); !ok || !strings.HasPrefix(long.Object, got.Object) {
		t.Error("a fault too long was not cut")
	}
	for i := range 5 {
		if _, ok := DecodeFault(make([]byte, i)); ok {
			t.Errorf("%d bytes were taken for a fault", i)
		}
	}
	if _, ok := DecodeFault([]byte{0, 0, 0, 0, 9, 'x'}); ok {
		t.Error("a cut fault was taken")
	}
}

func TestExitSurvives(t *testing.T) {
	t.Parallel()
	var b [ExitSize]byte
	e := Exit{Code: 137, Signal: 9, OOM: true, Done: true, AtNano: 1 << 60, Saved: 777, OutLen: 1 << 20, ErrLen: 3}
	e.Encode(&b)
	if got, ok := DecodeExit(b[:]); !ok || got != e {
		t.Errorf("exit became %+v, was %+v", got, e)
	}
	b[ErrTakenOffset] = 1
	if got, _ := DecodeExit(b[:]); !got.ErrTaken || got.OutTaken {
		t.Errorf("a reader's note is read as %+v", got)
	}
	if _, ok := DecodeExit(make([]byte, ExitSize)); ok {
		t.Error("an empty record was taken for an exit")
	}
	if _, ok := DecodeExit(b[:ExitSize-1]); ok {
		t.Error("a cut record was taken for an exit")
	}
}
