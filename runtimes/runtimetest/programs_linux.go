package runtimetest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"github.com/tenement/ten/runtimes"
)

func environmentIsExact(b *bench) {
	spec := b.shell("cat /proc/$$/environ > env.new; mv env.new env; exec sleep 1000")
	spec.Env = []string{"EMPTY=", "PATH=/usr/bin:/bin", "UTF=gr\u00fcn", "WITH=a=b c\nd"}
	b.start(spec)
	got := strings.Split(strings.TrimSuffix(b.made("env"), "\x00"), "\x00")
	want := spec.Env
	if b.level == runtimes.Process {
		want = slices.DeleteFunc(os.Environ(), func(kv string) bool { return strings.HasPrefix(kv, "PATH=") })
		want = append(want, spec.Env...)
	}
	slices.Sort(got)
	want = slices.Sorted(slices.Values(want))
	if !slices.Equal(got, want) {
		b.Errorf("environment is\n%q\nwant\n%q", got, want)
	}
}

func cleanState(b *bench) {
	for _, sig := range []uintptr{32, 64} { // real-time signals may come ignored, from whoever started the daemon
		ignore := [4]uintptr{1} // SIG_IGN
		if _, _, e := syscall.RawSyscall6(syscall.SYS_RT_SIGACTION, sig, uintptr(unsafe.Pointer(&ignore)), 0, 8, 0, 0); e != 0 {
			b.Fatal(e)
		}
	}
	look := func(generation uint64, command ...string) string {
		spec := b.spec(command...)
		spec.Key.Generation = generation
		b.start(spec)
		stdout, stderr := b.read(spec.Key)
		if stderr != "" {
			b.Errorf("%v: %s", command, stderr)
		}
		b.stop(spec.Key)
		return stdout
	}
	files := 0
	for line := range strings.Lines(look(1, "ls", "-l", "/proc/self/fd")) {
		name, target, ok := strings.Cut(strings.TrimSpace(line), " -> ")
		if !ok || strings.HasPrefix(target, "/proc/") { // the directory being listed
			continue
		}
		files++
		switch f := strings.Fields(name); f[len(f)-1] {
		case "0":
			if target != os.DevNull {
				b.Errorf("standard input is %s", target)
			}
		case "1", "2":
			if !strings.HasPrefix(target, "pipe:") || !strings.HasPrefix(name, "l-wx") {
				b.Errorf("output is %s", line)
			}
		default:
			b.Errorf("the program has a file of somebody else's open: %s", line)
		}
	}
	if files != 3 {
		b.Errorf("the program has %d files open, want 3", files)
	}
	for line := range strings.Lines(look(2, "cat", "/proc/self/status")) {
		for _, set := range []string{"SigBlk:", "SigIgn:"} {
			if v, ok := strings.CutPrefix(line, set); ok && strings.Trim(strings.TrimSpace(v), "0") != "" {
				b.Errorf("the program began with %s", line)
			}
		}
	}
}

func endedBySignals(b *bench) {
	for i, sig := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM, syscall.SIGUSR1, syscall.SIGSEGV} {
		spec := b.shell(fmt.Sprintf("ulimit -c 0; kill -%d $$", sig))
		spec.Key.Generation = uint64(i + 1)
		b.start(spec)
		exit := b.wait(spec.Key)
		if !exit.Known || exit.Signal != int(sig) || exit.Code != 128+int(sig) || exit.OOM {
			b.Errorf("ended by %v, Wait says %+v", sig, exit)
		}
		b.stop(spec.Key)
	}
}

func stopSignalChosen(b *bench) {
	spec := b.shell("trap 'echo yes > got; exit 7' USR1; touch ready; while :; do sleep 0.05; done")
	spec.StopSignal = "SIGUSR1"
	b.start(spec)
	b.made("ready")
	done := make(chan runtimes.Exit, 1)
	go func() {
		exit, _ := b.r.Wait(b.Context(), spec.Key)
		done <- exit
	}()
	time.Sleep(100 * time.Millisecond)
	b.stop(spec.Key)
	if got := b.made("got"); got != "yes\n" {
		b.Errorf("the program got %q", got)
	}
	if exit := <-done; exit.Code != 7 {
		b.Errorf("Wait says %+v, want exit 7", exit)
	}
}

// family is a script that starts a plain child, one that left the session, and
// one that has been orphaned on top, and then goes on.
func (b *bench) family(then string) (spec runtimes.Spec, mark string) {
	mark = marker()
	spec = b.shell(fmt.Sprintf(`sleep %[1]s & setsid sleep %[1]s &
		(setsid sh -c 'sleep %[1]s & sleep %[1]s & exit' &)
		while [ "$(ls started 2>/dev/null)" = "" ]; do sleep 0.02; done; %[2]s`, mark, then))
	return spec, mark
}

// grown waits until all four are there.
func (b *bench) grown(mark string) {
	b.Helper()
	sleepers := func() (n int) {
		for _, pid := range marked(mark) {
			if comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)); string(comm) == "sleep\n" {
				n++
			}
		}
		return n
	}
	b.eventually("the family is there", func() bool { return sleepers() == 4 })
}

func (b *bench) extinct(mark string) {
	b.Helper()
	if left := marked(mark); len(left) != 0 {
		b.Errorf("processes %v outlived their instance", left)
		for _, pid := range left {
			syscall.Kill(pid, syscall.SIGKILL) // ours, by its marker
		}
	}
}

func familyDies(b *bench) {
	spec, mark := b.family("exit 5")
	b.start(spec)
	b.grown(mark)
	os.WriteFile(filepath.Join(b.data, "started"), nil, 0o644)
	if exit := b.wait(spec.Key); exit.Code != 5 {
		b.Errorf("Wait says %+v, want exit 5", exit)
	}
	b.extinct(mark)
}

func familyStopped(b *bench) {
	spec, mark := b.family("exit 5")
	b.start(spec)
	b.grown(mark)
	b.stop(spec.Key)
	b.extinct(mark)
}

// initKilled kills the one process that knows of the others.
func initKilled(b *bench) {
	spec, mark := b.family("exit 5")
	in := b.start(spec)
	b.grown(mark)
	init := parent(in.Pid)
	if comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", init)); string(comm) != "ten-init\n" {
		b.Fatalf("the parent of the program is %q", comm)
	}
	syscall.Kill(init, syscall.SIGKILL)
	exit := b.wait(spec.Key)
	if exit.Known && exit.Signal != int(syscall.SIGKILL) {
		b.Errorf("Wait says %+v", exit)
	}
	if got := b.only(); got.Phase != runtimes.Failed {
		b.Errorf("List shows %s", got.Phase)
	}
	b.stop(spec.Key)
	if b.level == runtimes.Process && os.Geteuid() != 0 {
		// No namespace, no group: what the program had let go of is lost when
		// its init is murdered, and only then.
		for _, pid := range marked(mark) {
			syscall.Kill(pid, syscall.SIGKILL)
		}
		return
	}
	b.extinct(mark)
}

func parent(pid int) (ppid int) {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(status)) {
		fmt.Sscanf(line, "PPid: %d", &ppid)
	}
	return ppid
}

func crashNoticed(b *bench) {
	best := time.Hour
	for i := range 5 {
		spec := b.spec(Forever...)
		spec.Key.Generation = uint64(i + 1)
		in := b.start(spec)
		died := make(chan time.Time, 1)
		go func() {
			time.Sleep(50 * time.Millisecond)
			died <- time.Now()
			syscall.Kill(in.Pid, syscall.SIGKILL)
		}()
		b.wait(spec.Key)
		best = min(best, time.Since(<-died))
	}
	b.Logf("noticed after %v", best)
	if best > 50*time.Millisecond {
		b.Errorf("a crash was noticed after %v at best", best)
	}
}

func startErrors(b *bench) {
	file := func(name, content string, mode os.FileMode) string {
		path := filepath.Join(b.data, name)
		if err := os.WriteFile(path, []byte(content), mode); err != nil {
			b.Fatal(err)
		}
		return path
	}
	cases := []struct {
		name       string
		change     func(*runtimes.Spec)
		step, hint string
		err        error
	}{
		{"no such command", func(s *runtimes.Spec) { s.Command = []string{"no-such-command"} }, "exec", "PATH=/usr/local/bin:/usr/bin:/bin", syscall.ENOENT},
		{"no such file", func(s *runtimes.Spec) { s.Command = []string{b.data + "/none"} }, "exec", "missing", syscall.ENOENT},
		{"not executable", func(s *runtimes.Spec) { s.Command = []string{file("plain", "x", 0o644)} }, "exec", "chmod +x", syscall.EACCES},
		{"no first line", func(s *runtimes.Spec) { s.Command = []string{file("script", "echo", 0o755)} }, "exec", "#!", syscall.ENOEXEC},
		{"no interpreter", func(s *runtimes.Spec) { s.Command = []string{file("lost", "#!/no/interpreter\n", 0o755)} }, "exec", "interpreter", syscall.ENOENT},
		{"no directory", func(s *runtimes.Spec) { s.Dir = "/nonexistent" }, "chdir", "must exist", syscall.ENOENT},
		{"nothing to run", func(s *runtimes.Spec) { s.Command = nil }, "spec", "", nil},
		{"name that leads out", func(s *runtimes.Spec) { s.Key.Service = "../../x" }, "spec", "", nil},
		{"unknown signal", func(s *runtimes.Spec) { s.StopSignal = "SIGNAL" }, "spec", "", nil},
	}
	if b.level != runtimes.Process {
		cases = append(cases, cases[0])
		last := &cases[len(cases)-1]
		last.name, last.step, last.hint = "no such mount", "mount", "must exist"
		last.change = func(s *runtimes.Spec) { s.Mounts = append(s.Mounts, runtimes.Mount{Path: "/nonexistent"}) }
	}
	for _, c := range cases {
		spec := b.spec(Forever...)
		c.change(&spec)
		_, err := b.r.Start(b.ctx(), spec)
		var s *runtimes.StartError
		if !errors.As(err, &s) {
			b.Errorf("%s: Start returned %v", c.name, err)
			continue
		}
		if s.Step != c.step || !strings.Contains(s.Hint, c.hint) || (c.err != nil && !errors.Is(err, c.err)) {
			b.Errorf("%s: step %q, hint %q, err %v; want step %q, hint with %q, %v", c.name, s.Step, s.Hint, s.Err, c.step, c.hint, c.err)
		}
	}
	if list := b.list(); len(list) != 0 {
		b.Errorf("failed starts left %+v", list)
	}
}

// justWritten starts a program that somebody still has open for writing, as a
// child forked at the wrong moment has, and lets go of it a little later.
func justWritten(b *bench) {
	program, err := os.ReadFile("/bin/true")
	if err != nil {
		b.Fatal(err)
	}
	name := filepath.Join(b.data, "program")
	if err := os.WriteFile(name, program, 0o755); err != nil {
		b.Fatal(err)
	}
	held, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		b.Fatal(err)
	}
	time.AfterFunc(30*time.Millisecond, func() { held.Close() })
	in := b.start(b.spec(name))
	if exit := b.wait(in.Spec.Key); exit.Code != 0 {
		b.Errorf("exit %v, want 0", exit)
	}
}

func initIsSmall(b *bench) {
	in := b.start(b.spec(Forever...))
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", parent(in.Pid)))
	if err != nil {
		b.Fatal(err)
	}
	rss, threads := 0, 0
	for line := range strings.Lines(string(status)) {
		fmt.Sscanf(line, "VmRSS: %d", &rss)
		fmt.Sscanf(line, "Threads: %d", &threads)
	}
	b.Logf("init has %d kB in memory, %d thread(s)", rss, threads)
	if rss == 0 || rss > 512 || threads != 1 {
		b.Errorf("init has %d kB in memory and %d threads", rss, threads)
	}
}

func nothingLeft(b *bench) {
	mounts := func() string {
		m, err := os.ReadFile("/proc/self/mountinfo")
		if err != nil {
			b.Fatal(err)
		}
		return string(m)
	}
	before := mounts()
	for i := range 5 {
		spec, mark := b.family("exit 0")
		spec.Key.Generation = uint64(i + 1)
		b.start(spec)
		b.grown(mark)
		if now := mounts(); strings.Contains(now, b.dir) || (now != before && !strings.Contains(now, "ten-")) {
			b.Logf("mounts changed while it ran, by somebody else perhaps")
		}
		b.stop(spec.Key)
		b.extinct(mark)
	}
	if now := mounts(); strings.Contains(now, filepath.Dir(b.dir)) {
		b.Errorf("the host has a mount of an instance:\n%s", now)
	}
	b.bare()
}

// bare checks that the state directory and the groups are empty.
func (b *bench) bare() {
	b.Helper()
	if left := b.leftovers(); len(left) != 0 {
		b.Errorf("left behind: %v", left)
	}
}

func (b *bench) leftovers() (left []string) {
	filepath.WalkDir(b.dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			left = append(left, path)
		}
		return nil
	})
	for _, pattern := range []string{"/sys/fs/cgroup/*/", "/sys/fs/cgroup/"} {
		groups, _ := filepath.Glob(pattern + CgroupParent(b.dir))
		left = append(left, groups...)
	}
	return left
}

func languages(b *bench) {
	script := filepath.Join(b.data, "t.py")
	goSource := filepath.Join(b.data, "t.go")
	goProgram := filepath.Join(b.data, "t")
	files := map[string]string{
		script: "import threading,subprocess\nt=[threading.Thread(target=lambda:subprocess.check_call(['true'])) for _ in range(8)]\n" +
			"[x.start() for x in t]\n[x.join() for x in t]\nprint('fine')\n",
		goSource: "package main\nimport (\"fmt\";\"os/exec\";\"sync\")\nfunc main(){ var w sync.WaitGroup\n" +
			"for i:=0;i<8;i++{ w.Go(func(){ if err:=exec.Command(\"true\").Run(); err!=nil { panic(err) } }) }\nw.Wait(); fmt.Println(\"fine\") }\n",
	}
	for path, content := range files {
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			b.Fatal(err)
		}
	}
	node := "const c=require('child_process');const w=require('worker_threads');" +
		"c.execFileSync('true');const x=new w.Worker('1',{eval:true});x.on('exit',()=>console.log('fine'))"
	programs := map[string][]string{
		"sh":     {"/bin/sh", "-c", "for i in 1 2 3 4 5; do ls / > /dev/null || exit 1; done; (sleep 0.01 &); wait; echo fine"},
		"python": {"python3", script},
		"node":   {"node", "-e", node},
		"go":     {goProgram},
	}
	if err := goBuild(goProgram, goSource); err != nil {
		b.Logf("go: not run: %v", err)
		delete(programs, "go")
	}
	generation := uint64(0)
	for name, command := range programs {
		if _, err := exec.LookPath(command[0]); err != nil {
			b.Logf("%s: not run: %v", name, err)
			continue
		}
		generation++
		spec := b.spec(command...)
		spec.Key.Generation = generation
		spec.Env = []string{"HOME=" + b.data, "PATH=" + os.Getenv("PATH")}
		b.start(spec)
		stdout, stderr := b.read(spec.Key)
		if exit := b.wait(spec.Key); exit.Code != 0 || stdout != "fine\n" {
			b.Errorf("%s: %v\n%s%s", name, exit, stdout, stderr)
		}
	}
}

// neighboursSecret looks through the whole of /proc for a secret that another
// instance has in its environment. At the level without walls it is found,
// which shows that the search would find it.
func neighboursSecret(b *bench) {
	secret := "SECRET=" + marker()
	holder := b.spec(Forever...)
	holder.Key.Instance = "holder"
	holder.Env = append([]string{secret}, holder.Env...)
	slices.Sort(holder.Env)
	b.start(holder)
	seeker := b.shell("cat /proc/[0-9]*/environ > seen.new 2>/dev/null; mv seen.new seen; exec sleep 1000")
	b.start(seeker)
	found := strings.Contains(b.made("seen"), secret)
	if walls := b.level != runtimes.Process; walls == found {
		b.Errorf("level %s: the neighbour's secret was found: %v", b.level, found)
	}
}
