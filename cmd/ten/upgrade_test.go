package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestNewBinaryOldState starts services with the ten of the previous commit, and
// takes them over with this one: the plan is empty and every process goes on.
func TestNewBinaryOldState(t *testing.T) {
	if testing.Short() {
		t.Skip("builds another ten")
	}
	old := previousTen(t)
	w := newWorld(t)
	now := w.ten
	w.write("services/web.toml", w.service("web", "x"))
	w.write("services/worker.toml", w.service("worker", "y")+"restart = \"always\"\nmin_healthy = 0\n")
	w.write("tenement.toml", "[settings]\nmax_restarts = 5\n")
	rev := w.push("first")
	w.ten = old
	w.serve()
	w.await(rev)
	before := w.pids("w")
	w.kill()
	w.ten = now
	w.serve()
	w.await(rev)
	w.eventually("the plan is empty", func() bool {
		out, err := exec.Command(w.ten, "plan", "--detailed-exitcode", "--data-dir", w.data, w.clone).CombinedOutput()
		if err != nil {
			t.Logf("%v\n%s", err, out)
		}
		return err == nil
	})
	after := w.pids("w")
	for id, pid := range before {
		if after[id] != pid {
			t.Errorf("%s runs as pid %d, was %d under the old ten", id, after[id], pid)
		}
	}
	w.down()
	w.nothingLeft()
}

// previousTen builds ten as it was one commit ago.
func previousTen(t *testing.T) string {
	t.Helper()
	root := moduleRoot(t)
	if err := exec.Command("git", "-C", root, "rev-parse", "-q", "--verify", "HEAD~1^{commit}").Run(); err != nil {
		t.Skip("the previous commit is not here: not a git checkout, or a shallow one")
	}
	dir := t.TempDir()
	run := func(in string, name string, args ...string) {
		cmd := exec.Command(name, args...)
		cmd.Dir, cmd.Env = in, append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
		}
	}
	run(root, "sh", "-c", "git archive HEAD~1 | tar -x -C "+dir)
	run(dir, "make", "-s", "bin/ten")
	return filepath.Join(dir, "bin", "ten")
}
