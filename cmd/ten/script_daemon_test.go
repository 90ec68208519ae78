package main

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/tenement/ten/host/api"
)

// daemonCommands are what scripts that run a daemon have beside the builtins.
// The daemon itself is started in plain sight: exec ten serve ... &daemon&
func daemonCommands() map[string]func(*testscript.TestScript, bool, []string) {
	return map[string]func(*testscript.TestScript, bool, []string){
		"repo":         makeRepo,
		"push":         pushRepo,
		"up":           awaitDaemon,
		"await":        awaitState,
		"pids":         writePids,
		"instances":    awaitInstances,
		"pid":          setPid,
		"fetch":        fetchInstance,
		"post":         postHook,
		"nothing-left": nothingLeft,
		"json-keys":    jsonKeys,
		"http-repos":   serveRepos,
		"ordinary":     makeOrdinary,
		"small-disk":   mountSmallDisk,
		"authority":    startAuthority,
	}
}

// scriptClient asks the daemon of the script's TENEMENT_DATA_DIR.
func scriptClient(ts *testscript.TestScript) *api.Client {
	return api.NewLocalClient(ts.MkAbs(ts.Getenv(envDataDir)))
}

func scriptContext() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), scriptPatience)
}

// noop is the smallest service there is, built once a run.
var noop = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "ten-noop-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "noop")
	cmd := exec.Command("go", "build", "-ldflags", "-s -w", "-o", file, "../../testdata/noop")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build noop: %w\n%s", err, out)
	}
	return os.ReadFile(file)
})

// makeRepo makes a bare repository and a clone of it to push from, with what
// the script put there already; the clone holds bin/noop, and a data directory
// is named for every command that follows:
//
//	repo [CLONE]
func makeRepo(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) > 1 {
		ts.Fatalf("usage: repo [CLONE]")
	}
	clone := "clone"
	if len(args) == 1 {
		clone = args[0]
	}
	clone = ts.MkAbs(clone)
	work := ts.Getenv("WORK")
	bare := filepath.Join(work, filepath.Base(clone)+".git")
	ts.Check(os.MkdirAll(clone, 0o755))
	git(ts, work, "init", "-q", "--bare", "-b", "main", bare)
	git(ts, clone, "init", "-q", "-b", "main")
	git(ts, clone, "remote", "add", "origin", bare)
	program, err := noop()
	ts.Check(err)
	ts.Check(os.MkdirAll(filepath.Join(clone, "bin"), 0o755))
	ts.Check(os.WriteFile(filepath.Join(clone, "bin", "noop"), program, 0o755))
	ts.Setenv("REPO", bare)
	ts.Setenv(envDataDir, ts.Getenv("DATA"))
}

func git(ts *testscript.TestScript, dir string, args ...string) {
	ts.Check(ts.Exec("git", append([]string{"-C", dir}, args...)...))
}

// pushRepo commits everything in the clone (or none, with --allow-empty as git
// has it), pushes it, and keeps the commit's name:
//
//	push SUBJECT [NAME]       NAME is REV when not given
func pushRepo(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 || len(args) > 2 {
		ts.Fatalf("usage: push SUBJECT [NAME]")
	}
	name := "REV"
	if len(args) == 2 {
		name = args[1]
	}
	clone := strings.TrimSuffix(ts.Getenv("REPO"), ".git")
	git(ts, clone, "add", "-A")
	git(ts, clone, "commit", "-q", "--allow-empty", "-m", args[0])
	git(ts, clone, "push", "-q", "origin", "HEAD:main")
	git(ts, clone, "rev-parse", "HEAD")
	rev := strings.TrimSpace(ts.ReadFile("stdout"))
	ts.Setenv(name, rev)
	ts.Setenv(name+"_SHORT", rev[:7])
}

// awaitDaemon waits until the daemon answers.
func awaitDaemon(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) > 0 {
		ts.Fatalf("usage: up")
	}
	eventually(ts, "the daemon answers", func(s api.Status) bool { return true })
}

// awaitState waits until the host is in a state, and at a revision where one is
// given: attempted it, and in sync also applied it.
//
//	await STATE [REVISION]
func awaitState(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 || len(args) > 2 {
		ts.Fatalf("usage: await STATE [REVISION]")
	}
	eventually(ts, strings.Join(args, " at "), func(s api.Status) bool {
		return string(s.State) == args[0] &&
			(len(args) == 1 || s.Revision.Attempted == args[1] && (s.State != api.InSync || s.Revision.Applied == args[1]))
	})
}

func eventually(ts *testscript.TestScript, what string, ok func(api.Status) bool) {
	ctx, cancel := scriptContext()
	defer cancel()
	c := scriptClient(ts)
	defer c.Close()
	var last api.Status
	for {
		s, err := c.Status(ctx)
		if err == nil && ok(s) {
			return
		}
		if ctx.Err() != nil {
			text, _ := json.MarshalIndent(last, "", "  ")
			ts.Fatalf("not within %s: %s\nlast status: %s %v", scriptPatience, what, text, err)
		}
		if err == nil {
			last = s
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func scriptInstances(ts *testscript.TestScript) []api.Instance {
	ctx, cancel := scriptContext()
	defer cancel()
	c := scriptClient(ts)
	defer c.Close()
	list, err := c.Instances(ctx, false)
	ts.Check(err)
	return list
}

// writePids writes one line "service:id pid" for every instance alive:
//
//	pids FILE
func writePids(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: pids FILE")
	}
	var b strings.Builder
	for _, in := range scriptInstances(ts) {
		fmt.Fprintf(&b, "%s:%s %d\n", in.Service, in.ID, in.Pid)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(b.String()), 0o644))
}

// awaitInstances waits until the list of instances alive, one line
// "service:id health" each, matches; without the time that starting ten takes:
//
//	instances PATTERN
func awaitInstances(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: instances PATTERN")
	}
	pattern, err := regexp.Compile(args[0])
	ts.Check(err)
	var list strings.Builder
	for end := time.Now().Add(scriptPatience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		list.Reset()
		for _, in := range scriptInstances(ts) {
			fmt.Fprintf(&list, "%s:%s %s\n", in.Service, in.ID, in.Health)
		}
		if pattern.MatchString(list.String()) {
			return
		}
	}
	ts.Fatalf("instances never matched %q within %s; the last were\n%s", args[0], scriptPatience, &list)
}

// theInstance is the one of that name that runs.
func theInstance(ts *testscript.TestScript, name string) api.Instance {
	for _, in := range scriptInstances(ts) {
		if in.Service+":"+in.ID == name {
			return in
		}
	}
	ts.Fatalf("%s is not running", name)
	return api.Instance{}
}

// setPid sets a variable to the pid of an instance:
//
//	pid NAME SERVICE:ID
func setPid(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: pid NAME SERVICE:ID")
	}
	ts.Setenv(args[0], strconv.Itoa(theInstance(ts, args[1]).Pid))
}

// fetchInstance gets a path of an instance by HTTP; the body is standard output:
//
//	fetch SERVICE:ID [PATH]
func fetchInstance(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 || len(args) > 2 {
		ts.Fatalf("usage: fetch SERVICE:ID [PATH]")
	}
	path := "/"
	if len(args) == 2 {
		path = args[1]
	}
	address := theInstance(ts, args[0]).Address
	for end := time.Now().Add(scriptPatience); address == "" && time.Now().Before(end); {
		time.Sleep(20 * time.Millisecond) // an adopted one is asked soon
		address = theInstance(ts, args[0]).Address
	}
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			network, where := "tcp", address
			if file, ok := strings.CutPrefix(address, "unix:"); ok {
				network, where = "unix", file
			}
			return new(net.Dialer).DialContext(ctx, network, where)
		},
	}}
	resp, err := client.Get("http://instance" + path)
	ts.Check(err)
	defer resp.Body.Close()
	_, err = io.Copy(ts.Stdout(), resp.Body)
	ts.Check(err)
}

// nothingLeft checks that no process, mount, cgroup or file of the data
// directory is left, the instances' own data and what ten remembers aside.
func nothingLeft(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) > 0 {
		ts.Fatalf("usage: nothing-left")
	}
	data := ts.MkAbs(ts.Getenv(envDataDir))
	var left []string
	for end := time.Now().Add(2 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if left = leftovers(data); len(left) == 0 {
			return
		}
		if time.Now().After(end) {
			ts.Fatalf("left over:\n%s", strings.Join(left, "\n"))
		}
	}
}

func leftovers(data string) []string {
	var left []string
	pids, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range pids {
		if cwd, _ := os.Readlink(filepath.Join(dir, "cwd")); strings.HasPrefix(cwd, data+"/") {
			line, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
			left = append(left, fmt.Sprintf("process %s in %s: %q", filepath.Base(dir), cwd, line))
		}
	}
	if mounts, _ := os.ReadFile("/proc/self/mountinfo"); strings.Contains(string(mounts), " "+data+"/") {
		left = append(left, "mounts beneath "+data)
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(data))
	_ = filepath.WalkDir("/sys/fs/cgroup", func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.IsDir() && e.Name() == fmt.Sprintf("ten-%016x", h.Sum64()) {
			left = append(left, "cgroup "+path)
		}
		return nil
	})
	for _, kind := range []string{"run", "sock"} {
		_ = filepath.WalkDir(filepath.Join(data, stateDir, kind), func(path string, e fs.DirEntry, err error) error {
			if err == nil && !e.IsDir() {
				left = append(left, "file "+path)
			}
			return nil
		})
	}
	return left
}

// postHook sends a push notification to the webhook of the script's daemon,
// signed with a secret ("" = not signed), and compares the answer's status:
//
//	post URL SECRET STATUS
func postHook(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: post URL SECRET STATUS")
	}
	ctx, cancel := scriptContext()
	defer cancel()
	body := []byte(`{"ref":"refs/heads/main"}`)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, args[0], bytes.NewReader(body))
	ts.Check(err)
	if args[1] != "" {
		m := hmac.New(sha256.New, []byte(args[1]))
		m.Write(body)
		req.Header.Set("X-Hub-Signature-256", "sha256="+hex.EncodeToString(m.Sum(nil)))
	}
	resp, err := http.DefaultClient.Do(req)
	ts.Check(err)
	resp.Body.Close()
	if strconv.Itoa(resp.StatusCode) != args[2] {
		ts.Fatalf("%s answers %s, want %s", args[0], resp.Status, args[2])
	}
}

// clean stops whatever a script left running, so that even one that fails
// leaves no instance behind.
func clean(work string) {
	var dirs []string
	_ = filepath.WalkDir(work, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.IsDir() {
			return nil
		}
		if e.Name() == stateDir {
			dirs = append(dirs, filepath.Dir(path))
			return fs.SkipDir
		}
		return nil
	})
	for _, dir := range dirs {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		run(ctx, scriptEnv(work, io.Discard), []string{"down", "--yes", "--data-dir", dir})
		cancel()
	}
}

// scriptEnv is what ten sees when a test runs it within itself.
func scriptEnv(dir string, stdout io.Writer) *env {
	return &env{
		stdin: strings.NewReader(""), stdout: stdout, stderr: io.Discard, dir: dir,
		log: slog.New(slog.DiscardHandler), getenv: func(string) string { return "" },
	}
}

// jsonKeys prints the sorted paths of all keys of the JSON in a file:
//
//	json-keys FILE
func jsonKeys(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: json-keys FILE")
	}
	var value any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[0])), &value))
	seen := map[string]bool{}
	keyPaths("", value, seen)
	for _, path := range slices.Sorted(maps.Keys(seen)) {
		fmt.Fprintln(ts.Stdout(), path)
	}
}

func keyPaths(prefix string, value any, seen map[string]bool) {
	switch value := value.(type) {
	case []any:
		for _, v := range value {
			keyPaths(prefix+"[]", v, seen)
		}
	case map[string]any:
		for key, v := range value {
			path := strings.TrimPrefix(prefix+"."+key, ".")
			seen[path] = true
			keyPaths(path, v, seen)
		}
	}
}
