package namespace_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tenement/ten/runtimes"
	"github.com/tenement/ten/runtimes/launch"
	"github.com/tenement/ten/runtimes/namespace"
	"github.com/tenement/ten/runtimes/process"
	"github.com/tenement/ten/runtimes/runtimetest"
)

// house is a data directory as a daemon has it, with both levels over it, so
// that every claim about walls is tried without them too.
type house struct {
	*testing.T
	data   string // hidden, but for what is mounted
	own    string // data/web/prod, writable
	source string // data/source, read-only
	levels map[runtimes.Level]runtimes.Runtime
	n      uint64
}

func newHouse(t *testing.T) *house {
	t.Helper()
	base, err := os.MkdirTemp("/var/tmp", "ten-house-") // not in /tmp, which every instance has for itself
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(base) })
	data := filepath.Join(base, "data")
	h := &house{T: t, data: data, own: data + "/web/prod", source: data + "/source"}
	for _, dir := range []string{h.own, h.source, data + "/web/neighbour", data + "/.ten"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range []string{h.source + "/code", data + "/web/neighbour/secret", data + "/.ten/token"} {
		if err := os.WriteFile(file, []byte("content of "+filepath.Base(file)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	program, err := runtimetest.Init()
	if err != nil {
		t.Fatal(err)
	}
	l, err := launch.New(launch.Config{
		RunDir: data + "/.ten/run", Hide: []string{data}, CgroupParent: runtimetest.CgroupParent(data),
		Init: program, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	h.levels = map[runtimes.Level]runtimes.Runtime{runtimes.Namespace: namespace.New(l), runtimes.Process: process.New(l)}
	if err := h.levels[runtimes.Namespace].Check(t.Context()); err != nil {
		t.Skip(err)
	}
	return h
}

// run gives what a shell line says at a level, its errors included.
func (h *house) run(level runtimes.Level, line string, change ...func(*runtimes.Spec)) string {
	h.Helper()
	h.n++
	spec := runtimes.Spec{
		Key:         runtimes.Key{ID: runtimes.ID{Service: "web", Instance: "prod"}, Generation: h.n},
		Level:       level,
		Command:     []string{"/bin/sh", "-c", line},
		Env:         []string{"PATH=/usr/bin:/bin"},
		Dir:         h.own,
		Mounts:      []runtimes.Mount{{Path: h.source}, {Path: h.own, Writable: true}},
		StopSignal:  "SIGTERM",
		StopTimeout: time.Second,
	}
	for _, c := range change {
		c(&spec)
	}
	ctx, cancel := context.WithTimeout(h.Context(), 20*time.Second)
	defer cancel()
	r := h.levels[level]
	if _, err := r.Start(ctx, spec); err != nil {
		return "start: " + err.Error()
	}
	defer r.Stop(ctx, spec.Key)
	if _, err := r.Wait(ctx, spec.Key); err != nil {
		h.Fatal(err)
	}
	out, errs, err := r.(runtimes.Outputter).Output(spec.Key)
	if err != nil {
		h.Fatal(err)
	}
	defer out.Close()
	defer errs.Close()
	var all bytes.Buffer
	for _, pipe := range []io.Reader{out, errs} {
		if _, err := io.Copy(&all, pipe); err != nil {
			h.Fatal(err)
		}
	}
	return strings.TrimSpace(all.String())
}

// Every row is tried behind the walls and, as the positive control, without.
func TestWalls(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	marker := fmt.Sprintf("/tmp/ten-walls-%d", os.Getpid())
	if err := os.WriteFile(marker, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(marker) })
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	writableFile := h.own + "/written"
	cases := []struct{ name, line, walled, open string }{
		{"own host name", "cat /proc/sys/kernel/hostname", "web-prod", host},
		{"pid 1 is init", "cat /proc/1/comm", "ten-init", ""},
		{"few processes", "set -- /proc/[0-9]*; [ $# -le 3 ] && echo few || echo many", "few", "many"},
		{"init's environment is empty", "cat /proc/1/environ 2>/dev/null | wc -c", "0", ""},
		{"the host's /tmp is not there", "ls " + marker + " 2>/dev/null || echo none", "none", marker},
		{"/tmp is empty and writable", "ls -A /tmp | wc -l; touch /tmp/x && echo ok; rm -f /tmp/x", "0\nok", ""},
		{"/dev/shm is its own", "touch /dev/shm/x && echo ok; rm -f /dev/shm/x", "ok", "ok"},
		{"neighbours are not there", "cat " + h.data + "/web/neighbour/secret 2>/dev/null || echo none", "none", "content of secret"},
		{"the daemon's files are not there", "cat " + h.data + "/.ten/token 2>/dev/null || echo none", "none", "content of token"},
		{"the run directory is not there", "ls " + h.data + "/.ten/run 2>/dev/null || echo none", "none", "namespace\nprocess"},
		{"nothing can be put beside", "touch " + h.data + "/x 2>/dev/null && echo written || echo refused", "refused", "written"},
		{"the source is readable", "cat " + h.source + "/code", "content of code", "content of code"},
		{"the source is read-only", "touch " + h.source + "/x 2>/dev/null && echo written || echo refused", "refused", "written"},
		{"its own directory is writable", "echo a > " + writableFile + "; cat " + writableFile, "a", "a"},
		{"no devices of the host in it", "awk '$5==\"" + h.own + "\"{print $6}' /proc/self/mountinfo | tr , '\\n' | grep -c -e nodev -e nosuid", "2", "0"},
		{"the host is read-only", "touch /usr/ten-walls-test 2>/dev/null && echo written || echo refused; rm -f /usr/ten-walls-test", "refused", ""},
		{"init's root is no way out", "ls /proc/1/root" + h.data + "/.ten 2>/dev/null || echo none", "none", ""},
		{"no session of somebody else's", "(: < /dev/tty) 2>/dev/null && echo terminal || echo none", "none", "none"},
	}
	for _, c := range cases {
		if got := h.run(runtimes.Namespace, c.line); got != c.walled {
			t.Errorf("%s: behind walls %q, want %q", c.name, got, c.walled)
		}
		if c.open == "" {
			continue
		}
		if got := h.run(runtimes.Process, c.line); got != c.open {
			t.Errorf("%s: without walls %q, want %q", c.name, got, c.open)
		}
	}
}

func TestNamespacesAreItsOwn(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for _, ns := range []string{"pid", "mnt", "ipc", "uts", "cgroup"} {
		mine, err := os.Readlink("/proc/self/ns/" + ns)
		if err != nil {
			t.Fatal(err)
		}
		line := "readlink /proc/self/ns/" + ns
		if got := h.run(runtimes.Namespace, line); got == mine || !strings.HasPrefix(got, ns+":") {
			t.Errorf("%s namespace behind walls is %s, the host's is %s", ns, got, mine)
		}
		if got := h.run(runtimes.Process, line); got != mine {
			t.Errorf("%s namespace without walls is %s, the host's is %s", ns, got, mine)
		}
	}
}

// Files that an instance writes belong to the user that the daemon is.
func TestOwnership(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	caps := h.run(runtimes.Namespace, "touch mine; id -u > id; grep -E 'Cap(Inh|Prm|Eff|Amb)' /proc/self/status")
	for line := range strings.Lines(caps) {
		if _, set, _ := strings.Cut(line, ":"); os.Geteuid() != 0 && strings.Trim(set, "0\t\n") != "" {
			t.Errorf("an ordinary user's program got capabilities: %s", line)
		}
	}
	info, err := os.Stat(h.own + "/mine")
	if err != nil {
		t.Fatal(err)
	}
	own, err := os.Stat(h.own)
	if err != nil {
		t.Fatal(err)
	}
	x, y := info.Sys().(*syscall.Stat_t), own.Sys().(*syscall.Stat_t)
	if x.Uid != y.Uid || x.Gid != y.Gid {
		t.Error("the file belongs to somebody else")
	}
	if id, _ := os.ReadFile(h.own + "/id"); strings.TrimSpace(string(id)) != fmt.Sprint(os.Getuid()) {
		t.Errorf("inside, the user is %s, outside %d", id, os.Getuid())
	}
}

// Mounts may hold each other and what is hidden, in any order.
func TestMountsNest(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	parent := filepath.Dir(h.data)
	nested := func(s *runtimes.Spec) {
		s.Mounts = []runtimes.Mount{{Path: h.own, Writable: true}, {Path: h.source + "/code"}, {Path: parent}}
	}
	line := "cat " + h.source + "/code; echo; ls " + h.data + "/.ten 2>/dev/null || echo hidden; touch here && echo ok; touch " + parent + "/x 2>/dev/null || echo refused"
	want := "content of code\nhidden\nok\nrefused"
	if got := h.run(runtimes.Namespace, line, nested); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	cases := map[string]struct {
		change func(*runtimes.Spec)
		want   string
	}{
		"the whole host":           {func(s *runtimes.Spec) { s.Mounts = []runtimes.Mount{{Path: "/"}} }, "undo the walls"},
		"a socket nobody can see":  {func(s *runtimes.Spec) { s.Socket = "/tmp/web.sock" }, "nobody outside would see"},
		"a socket in a source":     {func(s *runtimes.Spec) { s.Socket = h.source + "/web.sock" }, "nobody outside would see"},
		"a mount that is a detour": {func(s *runtimes.Spec) { s.Mounts = []runtimes.Mount{{Path: "/proc/self/root"}} }, "mount"},
	}
	for name, c := range cases {
		if got := h.run(runtimes.Namespace, "true", c.change); !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q in it", name, got, c.want)
		}
	}
	fine := func(s *runtimes.Spec) { s.Socket = h.own + "/web.sock" }
	if got := h.run(runtimes.Namespace, "true", fine); got != "" {
		t.Errorf("a socket in a writable mount: %s", got)
	}
}

// A mount inside a directory that the instance can write to could be swapped
// for a link to anywhere before the next start.
func TestMountsAreNotSwapped(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	if err := os.Symlink(h.data+"/web/neighbour", h.own+"/run"); err != nil {
		t.Fatal(err)
	}
	inside := func(writable bool) func(*runtimes.Spec) {
		return func(s *runtimes.Spec) {
			s.Mounts = append(s.Mounts, runtimes.Mount{Path: h.own + "/run", Writable: writable})
		}
	}
	if got := h.run(runtimes.Namespace, "cat run/secret 2>/dev/null || echo none", inside(true)); got != "none" {
		t.Errorf("a link in the place of a writable mount shows %q", got)
	}
	if got := h.run(runtimes.Namespace, "cat run/secret", inside(false)); !strings.Contains(got, "inside a writable mount") {
		t.Errorf("a link in the place of a read-only mount: %q", got)
	}
	control := func(s *runtimes.Spec) { s.Mounts = []runtimes.Mount{{Path: h.data + "/web/neighbour"}} }
	if got := h.run(runtimes.Namespace, "cat "+h.data+"/web/neighbour/secret", control, func(s *runtimes.Spec) { s.Dir = "/" }); got != "content of secret" {
		t.Errorf("what is mounted shows %q", got)
	}
}

// Nothing an instance mounts shows on the host.
func TestMountsStayInside(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	if os.Geteuid() != 0 {
		t.Skip("only root may mount, in there too")
	}
	h.run(runtimes.Namespace, "mkdir -p m && mount -t tmpfs none m && touch m/inside && sleep 0.1")
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(mounts), h.data) {
		t.Errorf("the host has the instance's mount:\n%s", mounts)
	}
	if names, err := filepath.Glob(h.own + "/m/*"); err != nil || slices.Contains(names, "inside") {
		t.Errorf("the host sees inside the instance's mount: %v", names)
	}
}
