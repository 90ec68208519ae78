package launch

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
)

func TestParseMaps(t *testing.T) {
	t.Parallel()
	maps := `55d0c0a00000-55d0c0a01000 r--p 00000000 fe:00 123    /usr/bin/x
55d0c0a01000-55d0c0a03000 rw-p 00001000 fe:00 123    /usr/bin/x y (deleted)
7f0000000000-7f0000001000 ---p 00000000 00:00 0
7ffd00000000-7ffd00021000 rw-p 00000000 00:00 0    [stack]
nonsense
ffff-0000 rw-p 0 0 0
ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0    [vsyscall]
`
	want := []remote{{0x55d0c0a01000, 0x2000}, {0x7ffd00000000, 0x21000}}
	if got := parseMaps([]byte(maps)); !reflect.DeepEqual(got, want) {
		t.Errorf("got %x, want %x", got, want)
	}
}

// TestPageOut takes memory away from a process that may have written it and has
// not: those pages need no swap to go to, so this shows on every host.
func TestPageOut(t *testing.T) {
	t.Parallel()
	const python = "/usr/bin/python3"
	if _, err := exec.LookPath(python); err != nil {
		t.Skip("needs " + python)
	}
	file := filepath.Join(t.TempDir(), "pages")
	const size = 32 << 20
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(make([]byte, size)); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); err != nil { // a page under way to the disk does not go
		t.Fatal(err)
	}
	f.Close()
	cmd := exec.Command(python, "-c", `
import mmap, sys
f = open(sys.argv[1], "r+b")
m = mmap.mmap(f.fileno(), 0, flags=mmap.MAP_PRIVATE)
print(sum(m[i] for i in range(0, len(m), 4096)), flush=True)
sys.stdin.read()
print(sum(m[i] for i in range(0, len(m), 4096)), flush=True)
`, file)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	ready, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer ready.Close()
	cmd.Stdout, cmd.Stderr = w, os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	defer cmd.Process.Kill()
	line := make([]byte, 16)
	n, err := ready.Read(line)
	if err != nil {
		t.Fatal(err)
	}
	out.Write(line[:n])
	pids := []int{cmd.Process.Pid}
	before := resident(pids)
	switch e := pageOut(cmd.Process.Pid); e {
	case 0:
	case syscall.EPERM, syscall.ENOSYS:
		t.Skip("the memory of another process is not this user's to advise: ", e)
	default:
		t.Fatal(e)
	}
	if given := before - resident(pids); given < size/2 {
		t.Errorf("%d of %d bytes were given back, want most of %d", given, before, size)
	}
	in.Close()
	rest, err := io.ReadAll(ready)
	if err != nil {
		t.Fatal(err)
	}
	out.Write(rest)
	if err := cmd.Wait(); err != nil || out.String() != "0\n0\n" {
		t.Errorf("afterwards the program says %q, %v", out.String(), err)
	}
}
