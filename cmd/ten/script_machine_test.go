package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// serveRepos serves the repositories in the script's directory by HTTP to whom
// knows the password that a file holds at that moment, and names the URL:
//
//	http-repos NAME PASSWORD-FILE
func serveRepos(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: http-repos NAME PASSWORD-FILE")
	}
	ts.Check(ts.Exec("git", "--exec-path"))
	backend := filepath.Join(strings.TrimSpace(ts.ReadFile("stdout")), "git-http-backend")
	if _, err := os.Stat(backend); err != nil {
		ts.Fatalf("git http-backend is not installed: %v", err)
	}
	repos := &cgi.Handler{Path: backend, Env: []string{"GIT_PROJECT_ROOT=" + ts.Getenv("WORK"), "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_NOSYSTEM=1"}}
	file := ts.MkAbs(args[1])
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		want, err := os.ReadFile(file)
		_, got, _ := r.BasicAuth()
		if err != nil || got != strings.TrimSpace(string(want)) {
			w.Header().Set("WWW-Authenticate", `Basic realm="repos"`)
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
		repos.ServeHTTP(w, r)
	}))
	ts.Defer(server.Close)
	ts.Setenv(args[0], server.URL)
}

// nobody is the ordinary user that a daemon runs as where the tests run as root.
const nobody = 65534

// makeOrdinary makes a directory that belongs to an ordinary user and that this
// user can reach, with ten in it:
//
//	ordinary NAME
func makeOrdinary(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: ordinary NAME")
	}
	dir, err := os.MkdirTemp("", "ten-ordinary-")
	ts.Check(err)
	ts.Defer(func() {
		clean(dir)
		os.RemoveAll(dir)
	})
	self, err := os.Executable()
	ts.Check(err)
	program, err := os.ReadFile(self)
	ts.Check(err)
	ts.Check(os.WriteFile(filepath.Join(dir, "ten"), program, 0o755))
	small, err := noop()
	ts.Check(err)
	ts.Check(os.WriteFile(filepath.Join(dir, "noop"), small, 0o755))
	if os.Geteuid() == 0 {
		ts.Check(os.Chown(dir, nobody, nobody))
	}
	ts.Check(os.Chmod(dir, 0o755))
	ts.Setenv(args[0], dir)
}

// mountSmallDisk makes a directory with a file system of its own in memory:
//
//	small-disk DIR SIZE
func mountSmallDisk(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: small-disk DIR SIZE")
	}
	dir := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(dir, 0o755))
	ts.Check(ts.Exec("mount", "-t", "tmpfs", "-o", "size="+args[1], "ten-test", dir))
	ts.Defer(func() {
		clean(dir)
		ts.Check(exec.Command("umount", "-l", dir).Run())
	})
}

// daemonCondition answers what scripts ask of the machine: [root], [limits]
// (memory and processor limits work), [level:NAME] (an isolation level works)
// and [ordinary-namespaces] (an ordinary user may make user namespaces).
func daemonCondition(name string) (bool, error) {
	level, isLevel := strings.CutPrefix(name, "level:")
	switch {
	case name == "root":
		return os.Geteuid() == 0, nil
	case name == "limits":
		return doctorSays("cgroups") && os.Geteuid() == 0, nil
	case name == "ordinary-namespaces":
		if os.Geteuid() != 0 {
			return exec.Command("unshare", "-U", "-r", "true").Run() == nil, nil
		}
		return exec.Command("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "unshare", "-U", "-r", "true").Run() == nil, nil
	case isLevel:
		return doctorSays(level), nil
	}
	return false, fmt.Errorf("unknown condition %q", name)
}

// doctorSays asks ten doctor whether a thing works here.
func doctorSays(name string) bool {
	var out bytes.Buffer
	run(context.Background(), scriptEnv(os.TempDir(), &out), []string{"doctor", "--json"})
	var found struct{ Checks []check }
	_ = json.Unmarshal(out.Bytes(), &found)
	return slices.ContainsFunc(found.Checks, func(c check) bool { return c.Name == name && c.OK })
}
