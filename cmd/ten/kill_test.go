package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tenement/ten/host/api"
	"github.com/tenement/ten/proptest"
	"github.com/tenement/ten/runtimes"
)

// TestKillAnywhere kills the daemon with -9 at random moments of a rolling
// series of pushes. What should not change keeps its pid, nothing is started
// twice, the last push is served in the end, and down leaves nothing behind.
func TestKillAnywhere(t *testing.T) {
	rounds := 200
	if testing.Short() {
		rounds = 10
	}
	w := newWorld(t)
	seed, err := proptest.Seed()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("TEN_SEED=%d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	for i := range 3 {
		w.write(fmt.Sprintf("services/still%d.toml", i), w.service(fmt.Sprintf("still%d", i), "same"))
	}
	roll := func(n int) {
		for i := range 3 {
			w.write(fmt.Sprintf("services/roll%d.toml", i), w.service(fmt.Sprintf("roll%d", i), strconv.Itoa(n)))
		}
	}
	roll(0)
	rev := w.push("first")
	w.serve()
	w.await(rev)
	still := w.pids("still")
	if len(still) != 3 {
		t.Fatalf("still services run as %v, want 3", still)
	}
	for n := 1; n <= rounds; n++ {
		if random.IntN(3) > 0 {
			roll(n)
			rev = w.push("roll " + strconv.Itoa(n))
		}
		time.Sleep(time.Duration(random.IntN(250)) * time.Millisecond)
		w.kill()
		for id, pid := range still {
			if !alive(pid) {
				t.Fatalf("round %d: %s (pid %d) died with the daemon\n%s", n, id, pid, w.log())
			}
		}
		w.serve()
	}
	w.await(rev)
	for id, pid := range w.pids("still") {
		if still[id] != pid {
			t.Errorf("%s runs as pid %d, was %d: it was started again for no reason", id, pid, still[id])
		}
	}
	if got := w.pids("roll"); len(got) != 3 {
		t.Errorf("roll services run as %v, want 3", got)
	}
	w.eventually("exactly six programs run", func() bool { return len(w.programs()) == 6 })
	w.down()
	w.nothingLeft()
}

// world is a bare repository, a clone to push from and a data directory.
type world struct {
	t                       testing.TB
	root, bare, clone, data string
	program, ten            string
	isolation               runtimes.Level
	daemon                  *exec.Cmd
	client                  *api.Client
	args                    []string
}

func newWorld(t testing.TB) *world {
	t.Helper()
	for _, tool := range []string{"git", "go"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed", tool)
		}
	}
	root := t.TempDir()
	w := &world{
		t: t, root: root, bare: filepath.Join(root, "bare.git"), clone: filepath.Join(root, "clone"),
		data: filepath.Join(root, "data"), isolation: runtimes.Namespace,
	}
	if os.Getuid() != 0 {
		w.isolation = runtimes.Process
	}
	w.ten = filepath.Join(root, "ten")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, w.ten); err != nil { // TestMain makes this binary be ten
		t.Fatal(err)
	}
	w.run("", "git", "init", "-q", "--bare", "-b", "main", w.bare)
	w.run("", "git", "clone", "-q", w.bare, w.clone)
	// The program's name tells this world's processes from all others.
	w.program = "noop-" + strconv.FormatInt(time.Now().UnixNano(), 36)
	w.run(moduleRoot(t), "go", "build", "-ldflags", "-s -w", "-o", filepath.Join(w.clone, "prog", w.program), "./testdata/noop")
	w.client = api.NewLocalClient(w.data)
	t.Cleanup(w.end)
	return w
}

func moduleRoot(t testing.TB) string {
	dir, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func (w *world) run(dir, name string, args ...string) string {
	w.t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1", "CGO_ENABLED=0",
		"GIT_AUTHOR_NAME=Ana", "GIT_AUTHOR_EMAIL=ana@example.com", "GIT_COMMITTER_NAME=Ana", "GIT_COMMITTER_EMAIL=ana@example.com")
	out, err := cmd.CombinedOutput()
	if err != nil {
		w.t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// service is the config of a service that differs by value.
func (w *world) service(name, value string) string {
	return fmt.Sprintf("[service.%s]\ncommand = %q\nhealth = \"/\"\nisolation = %q\nsource = \"prog\"\nenv = { VALUE = %q }\ninstances = [\"a\"]\nstop_timeout = 2\n",
		name, "./"+w.program, w.isolation, value)
}

func (w *world) write(name, content string) {
	w.t.Helper()
	file := filepath.Join(w.clone, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) push(subject string) string {
	w.t.Helper()
	w.run(w.clone, "git", "add", "-A")
	w.run(w.clone, "git", "commit", "-q", "-m", subject)
	w.run(w.clone, "git", "push", "-q", "origin", "HEAD:main")
	return w.run(w.clone, "git", "rev-parse", "HEAD")
}

func (w *world) serve() {
	w.t.Helper()
	out, err := os.OpenFile(filepath.Join(w.root, "serve.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		w.t.Fatal(err)
	}
	defer out.Close()
	w.daemon = exec.Command(w.ten, append([]string{"serve", "--repo", w.bare, "--host", "test", "--data-dir", w.data}, w.args...)...)
	w.daemon.Stdout, w.daemon.Stderr = out, out
	if err := w.daemon.Start(); err != nil {
		w.t.Fatal(err)
	}
	w.eventually("the daemon answers", func() bool { _, err := w.status(); return err == nil })
}

func (w *world) status() (api.Status, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return w.client.Status(ctx)
}

// kill ends the daemon as a crash would.
func (w *world) kill() {
	w.t.Helper()
	if err := w.daemon.Process.Kill(); err != nil {
		w.t.Fatal(err)
	}
	_ = w.daemon.Wait()
	w.daemon = nil
}

func (w *world) await(revision string) {
	w.t.Helper()
	w.eventually("revision "+revision+" is applied", func() bool {
		s, err := w.status()
		return err == nil && s.Revision.Applied == revision && s.State == api.InSync
	})
}

func (w *world) eventually(what string, ok func() bool) {
	w.t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			s, err := w.status()
			text, _ := json.MarshalIndent(s, "", "  ")
			w.t.Fatalf("not within 30 s: %s\nstatus: %s %v\n%s", what, text, err, w.log())
		}
	}
}

func (w *world) log() string {
	b, _ := os.ReadFile(filepath.Join(w.root, "serve.log"))
	return string(b[max(0, len(b)-200000):])
}

// pids are those of the running instances whose service begins with prefix.
func (w *world) pids(prefix string) map[string]int {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	list, err := w.client.Instances(ctx, false)
	if err != nil {
		w.t.Fatal(err)
	}
	pids := map[string]int{}
	for _, in := range list {
		if strings.HasPrefix(in.Service, prefix) {
			pids[in.Service+":"+in.ID] = in.Pid
		}
	}
	return pids
}

// programs are the pids of every process that runs this world's program,
// whoever knows of it.
func (w *world) programs() []int {
	var pids []int
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if line, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline")); strings.HasPrefix(string(line), "./"+w.program+"\x00") {
			pids = append(pids, pid)
		}
	}
	return pids
}

func alive(pid int) bool {
	_, err := os.Stat("/proc/" + strconv.Itoa(pid))
	return err == nil
}

func (w *world) down() {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if _, err := w.client.Do(ctx, api.Command{Verb: api.VerbDown}); err != nil {
		w.t.Fatal(err)
	}
	if err := w.daemon.Wait(); err != nil {
		w.t.Errorf("the daemon ended with %v after down\n%s", err, w.log())
	}
	w.daemon = nil
}

// nothingLeft checks for processes, mounts, cgroups and files of this world.
func (w *world) nothingLeft() {
	w.t.Helper()
	if pids := w.programs(); len(pids) > 0 {
		w.t.Errorf("processes left over: %v", pids)
	}
	if mounts, _ := os.ReadFile("/proc/self/mountinfo"); strings.Contains(string(mounts), w.data) {
		w.t.Error("mounts left over")
	}
	if left, _ := filepath.Glob("/sys/fs/cgroup/*/" + cgroupParent(w.data)); len(left) > 0 {
		w.t.Errorf("cgroups left over: %v", left)
	}
	for _, dir := range []string{"run", "sock"} {
		_ = filepath.WalkDir(filepath.Join(w.data, ".ten", dir), func(path string, e os.DirEntry, err error) error {
			if err == nil && !e.IsDir() {
				w.t.Errorf("file left over: %s", path)
			}
			return nil
		})
	}
}

// end stops whatever a failed test left.
func (w *world) end() {
	if w.daemon != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		_, _ = w.client.Do(ctx, api.Command{Verb: api.VerbDown})
		_ = w.daemon.Process.Kill()
		_ = w.daemon.Wait()
	}
	for _, pid := range w.programs() {
		if p, err := os.FindProcess(pid); err == nil {
			_ = p.Kill()
		}
	}
}
