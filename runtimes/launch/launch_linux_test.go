package launch

import (
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tenement/ten/runtimes"
	"github.com/tenement/ten/runtimes/launch/wire"
)

func newLevel(t *testing.T, program []byte) *Level {
	t.Helper()
	l, err := New(Config{
		RunDir: t.TempDir(), CgroupParent: "ten-launch-test", Init: program,
		Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.Level(runtimes.Process, func(*runtimes.Spec) (Recipe, error) { return Recipe{}, nil })
}

func key(generation uint64) runtimes.Key {
	return runtimes.Key{ID: runtimes.ID{Service: "web", Instance: "prod"}, Generation: generation}
}

func TestKeysInFileNames(t *testing.T) {
	t.Parallel()
	for name, ok := range map[string]bool{
		"web:prod#1": true, "web:prod#18446744073709551615": true, "we b:a.b#7": true,
		"web:prod": false, "web:prod#": false, "web:prod#01": false, "web#1": false, ":prod#1": false,
		"web:prod#1.update": false, ".web:prod#1.update123": false, "web:prod#-1": false,
	} {
		got, valid := parseKey(name)
		if valid != ok || (ok && got.String() != name) {
			t.Errorf("%q: %v, %v", name, got, valid)
		}
	}
}

func TestFirstLine(t *testing.T) {
	t.Parallel()
	h, size, err := parseFirstLine("1:42:1234567:0c5a1d3e-a:99")
	if want := (handle{pid: 42, start: 1234567, boot: "0c5a1d3e-a"}); err != nil || h != want || size != 99 {
		t.Errorf("%+v %d %v", h, size, err)
	}
	for _, line := range []string{"", "1:42", "2:42:1:b:9", "1:x:1:b:9", "1:42:x:b:9", "1:0:1:b:9", "1:-1:1:b:9", "1:42:1:b:-9", "1:42:1:b:99999999999", "1:42:1:b:c:9"} {
		if _, _, err := parseFirstLine(line); err == nil {
			t.Errorf("%q was taken", line)
		}
	}
}

// A process may call itself anything; what stands behind its name counts.
func TestStatOfOddNames(t *testing.T) {
	t.Parallel()
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Skip(err)
	}
	odd := filepath.Join(t.TempDir(), ") S 1 (x")
	if err := os.Symlink(sleep, odd); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(odd, "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	st, err := readStat(cmd.Process.Pid)
	if err != nil || st.parent != os.Getpid() || st.start == 0 || st.memory == 0 || st.ended() {
		t.Errorf("%+v, %v", st, err)
	}
	if self, err := readStat(os.Getpid()); err != nil || self.start > st.start {
		t.Errorf("the child began at %d, its parent at %d (%v)", st.start, self.start, err)
	}
}

// The slow way to find the program agrees with the list of children.
func TestProgramWithoutListOfChildren(t *testing.T) {
	t.Parallel()
	cmd := exec.Command("/bin/sh", "-c", "sleep 1000 & sleep 0.05; sleep 1000 & wait")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	deadline := time.Now().Add(10 * time.Second)
	for len(family(cmd.Process.Pid)) < 3 {
		if time.Now().After(deadline) {
			t.Fatal("the shell has no two children")
		}
		time.Sleep(time.Millisecond)
	}
	fast, slow := program(cmd.Process.Pid), oldestChild(cmd.Process.Pid)
	if fast == 0 || fast != slow {
		t.Errorf("program is %d by the list, %d without", fast, slow)
	}
	all := family(cmd.Process.Pid)
	if !slices.Contains(all, cmd.Process.Pid) || !slices.Contains(all, fast) || len(all) != 3 {
		t.Errorf("family of %d is %v", cmd.Process.Pid, all)
	}
	for _, pid := range all {
		if pid != cmd.Process.Pid {
			if p, err := os.FindProcess(pid); err == nil {
				defer p.Kill()
			}
		}
	}
}

// What a start that died left goes with the next List; what is under way stays.
func TestUnfinishedStarts(t *testing.T) {
	t.Parallel()
	v := newLevel(t, []byte{})
	under, err := v.path(key(1)).create(v.root())
	if err != nil {
		t.Fatal(err)
	}
	defer under.Close()
	dead, err := v.path(key(2)).create(v.root())
	if err != nil {
		t.Fatal(err)
	}
	dead.Close()
	if list, err := v.List(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("List shows %v, %v", list, err)
	}
	if _, err := os.Stat(under.Name()); err != nil {
		t.Errorf("the start under way was cleaned up: %v", err)
	}
	if _, err := os.Stat(dead.Name()); err == nil {
		t.Error("what the dead start left is there still")
	}
	if _, err := v.Wait(t.Context(), key(1)); !errors.Is(err, runtimes.ErrNotFound) {
		t.Errorf("Wait for a start under way: %v", err)
	}
	if _, _, err := v.Output(key(1)); !errors.Is(err, runtimes.ErrNotFound) {
		t.Errorf("Output of a start under way: %v", err)
	}
	if _, err := v.path(key(1)).create(v.root()); err == nil {
		t.Error("a second start of the same key went ahead")
	}
}

// A pid that another process has by now is nobody of ours.
func TestReusedPid(t *testing.T) {
	t.Parallel()
	v := newLevel(t, []byte{})
	st, err := readStat(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	mine := handle{pid: os.Getpid(), start: st.start, boot: v.l.boot}
	if !v.l.alive(mine) {
		t.Fatal("this process is not alive")
	}
	for name, h := range map[string]handle{
		"other start": {pid: mine.pid, start: mine.start - 1, boot: mine.boot},
		"other boot":  {pid: mine.pid, start: mine.start, boot: "x"},
	} {
		f, err := v.path(key(1)).create(v.root())
		if err != nil {
			t.Fatal(err)
		}
		rec := &record{Version: 1, Spec: runtimes.Spec{Key: key(1), StopSignal: "SIGKILL"}}
		if err := rec.write(f, h); err != nil {
			t.Fatal(err)
		}
		f.Close()
		list, err := v.List(t.Context())
		if err != nil || len(list) != 1 || list[0].Phase != runtimes.Failed || list[0].Pid != 0 {
			t.Errorf("%s: List shows %+v, %v", name, list, err)
		}
		if err := v.Stop(t.Context(), key(1)); err != nil { // would kill the test
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestBuiltWithoutInit(t *testing.T) {
	t.Parallel()
	v := newLevel(t, []byte{})
	v.l.noInit = errNoInit
	spec := runtimes.Spec{Key: key(1), Command: []string{"true"}, Dir: "/"}
	_, err := v.Start(t.Context(), spec)
	var s *runtimes.StartError
	if !errors.As(err, &s) || !strings.Contains(err.Error(), "built without ten-init") || !strings.Contains(s.Hint, "make") {
		t.Errorf("Start says %v", err)
	}
	var u *runtimes.UnsupportedError
	if err := v.l.Ready(runtimes.Process); !errors.As(err, &u) || u.Hint == "" {
		t.Errorf("Ready says %v", err)
	}
	if list, err := v.List(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("List says %v, %v", list, err)
	}
}

// An init that is no program at all is told as such, and leaves nothing.
func TestInitThatCannotRun(t *testing.T) {
	t.Parallel()
	v := newLevel(t, []byte("#!/nonexistent\n"))
	_, err := v.Start(t.Context(), runtimes.Spec{Key: key(1), Command: []string{"true"}, Dir: "/"})
	var s *runtimes.StartError
	if !errors.As(err, &s) || s.Step != "clone" {
		t.Errorf("Start says %v", err)
	}
	if names, _ := os.ReadDir(v.root()); len(names) != 0 {
		t.Errorf("left behind: %v", names)
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	good := Config{RunDir: "/run/x", CgroupParent: "ten", Log: slog.New(slog.DiscardHandler)}
	if err := good.validate(); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(*Config){
		"relative":      func(c *Config) { c.RunDir = "run" },
		"not clean":     func(c *Config) { c.RunDir = "/run/../x" },
		"hide relative": func(c *Config) { c.Hide = []string{"data"} },
		"no group":      func(c *Config) { c.CgroupParent = "" },
		"group outside": func(c *Config) { c.CgroupParent = "../x" },
		"no logger":     func(c *Config) { c.Log = nil },
	} {
		c := good
		change(&c)
		if c.validate() == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

func TestTooLargePlans(t *testing.T) {
	t.Parallel()
	v := newLevel(t, []byte{})
	spec := runtimes.Spec{Key: key(1), Command: []string{"true", strings.Repeat("x", wire.MaxPlan)}, Dir: "/"}
	_, err := v.Start(t.Context(), spec)
	var s *runtimes.StartError
	if !errors.As(err, &s) || s.Step != "spec" {
		t.Errorf("Start says %v", err)
	}
}

// TestInitIsFoundWhateverIsOpen: on its way to init, a child of which many files
// were open copies some of its own to numbers above them, one of which could be
// that by which it finds its program.
func TestInitIsFoundWhateverIsOpen(t *testing.T) {
	program, err := os.ReadFile("/bin/true")
	if err != nil {
		t.Skip(err)
	}
	l := newLevel(t, program).l
	below := int(l.init.Fd()) - 1
	if _, err := unix.FcntlInt(uintptr(below), unix.F_GETFD, 0); err == nil {
		t.Skipf("file %d is open already", below)
	}
	null := int(l.null.Fd())
	if err := unix.Dup3(null, below, unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(below)
	_, pidfd, err := l.clone(&Recipe{}, nil, null, null, null, below)
	if err != nil {
		t.Fatal(err)
	}
	endInit(pidfd)
	unix.Close(pidfd)
}
