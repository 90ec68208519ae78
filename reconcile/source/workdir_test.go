package source

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// treeOf is the id that a commit of everything in dir would have.
func treeOf(t *testing.T, dir string) string {
	t.Helper()
	runGit(t, dir, "add", "-A")
	return runGit(t, dir, "write-tree")
}

func snapDir(t *testing.T, dir string, opt DirOptions) *Snapshot {
	t.Helper()
	s, err := OpenDir(dir, opt)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestOpenDirHasTheIDsOfACommit(t *testing.T) {
	t.Parallel()
	r := newRepo(t)
	r.write("a.b", "1")
	r.write("a/x", "2")
	r.write("a-c", "3")
	r.write("run.sh", "#!/bin/sh\n")
	r.write("deep/er/and/deeper", "")
	os.Chmod(filepath.Join(r.dir, "run.sh"), 0o755)
	os.Mkdir(filepath.Join(r.dir, "empty"), 0o755)
	os.Symlink("a/x", filepath.Join(r.dir, "ln"))
	os.Symlink("/etc/passwd", filepath.Join(r.dir, "out"))
	s := snapDir(t, r.dir, DirOptions{})
	id, _ := s.Tree.ID(".")
	if want := treeOf(t, r.dir); id != want || s.Revision != "dir-"+want[:12] || !s.Dirty {
		t.Fatalf("tree %s, git has %s; snapshot %+v", id, want, s)
	}
	if to, err := s.Tree.ReadLink("out"); to != "/etc/passwd" || err != nil {
		t.Error(to, err)
	}
	if _, err := s.Tree.ReadFile("out"); err == nil {
		t.Error("a link was followed")
	}
}

func TestOpenDirIgnores(t *testing.T) {
	t.Parallel()
	r := newRepo(t)
	r.write("forced.log", "tracked though ignored")
	r.write("build/kept", "tracked below an ignored directory")
	r.commit("first")
	for name, text := range map[string]string{
		".gitignore":          "*.log\n/build/\n# comment\n!keep.log\n\\#hash\nspace\\ \n**/cache/\ndoc/**/*.txt\n[!a-m]*.bin\nfoo/*\n!foo/bar\r\n",
		"x.log":               "no",
		"keep.log":            "yes",
		"sub/x.log":           "yes",
		"sub/.gitignore":      "!x.log\n/only\n",
		"sub/only":            "no",
		"sub/deep/only":       "yes",
		"build/new":           "no",
		"build/.gitignore":    "!new\n",
		"#hash":               "no",
		"space ":              "no",
		"a/b/cache/f":         "no",
		"doc/f.txt":           "no",
		"doc/a/b/f.txt":       "no",
		"doc/f.md":            "yes",
		"z.bin":               "no",
		"a.bin":               "yes",
		"foo/bar":             "yes",
		"foo/baz":             "no",
		".git/info/exclude":   "private\n",
		"private":             "no",
		"sub/deep/forced.log": "no",
	} {
		r.write(name, text)
	}
	s := snapDir(t, r.dir, DirOptions{})
	got := listing(t, s.Tree)
	for name, text := range got {
		if text == "no" {
			t.Errorf("%s is in", name)
		}
	}
	if id, _ := s.Tree.ID("."); id != treeOf(t, r.dir) {
		t.Errorf("git ls-files has\n%s\nsnapshot has %v", r.git("ls-files"), got)
	}
	sub := snapDir(t, filepath.Join(r.dir, "sub"), DirOptions{})
	want, _ := s.Tree.ID("sub")
	if id, _ := sub.Tree.ID("."); id != want {
		t.Errorf("the subdirectory alone has id %s, not %s", id, want)
	}
	if _, err := OpenDir(filepath.Join(r.dir, "a/b/cache"), DirOptions{}); err == nil || !strings.Contains(err.Error(), "ignored") {
		t.Errorf("an ignored directory: %v", err)
	}
}

func TestOpenDirRefuses(t *testing.T) {
	t.Parallel()
	for name, bad := range map[string]func(t *testing.T, dir string){
		"socket": func(t *testing.T, dir string) {
			l, err := net.Listen("unix", filepath.Join(dir, "bad"))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { l.Close() })
		},
		"name":    func(t *testing.T, dir string) { writeFile(t, filepath.Join(dir, "bad\xff"), "") },
		"too big": func(t *testing.T, dir string) { writeFile(t, filepath.Join(dir, "bad"), strings.Repeat("x", 2000)) },
		"deep": func(t *testing.T, dir string) {
			writeFile(t, filepath.Join(dir, "bad", strings.Repeat("d/", 80), "f"), "")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			writeFile(t, filepath.Join(dir, "good"), "")
			bad(t, dir)
			_, err := OpenDir(dir, DirOptions{Limits: Limits{ObjectBytes: 1000}})
			if r := (*RefusedError)(nil); !errors.As(err, &r) || !strings.Contains(r.Reason, "bad") {
				t.Errorf("got %v", err)
			}
		})
	}
	r := newRepo(t)
	r.write("sub/.git/HEAD", "ref: refs/heads/main\n")
	if _, err := OpenDir(r.dir, DirOptions{}); err == nil || !strings.Contains(err.Error(), "repository of its own") {
		t.Errorf("nested repository: %v", err)
	}
}

func TestOpenDirExcludes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "f"), "x")
	before := snapDir(t, dir, DirOptions{}).Revision
	writeFile(t, filepath.Join(dir, ".ten/db"), "x")
	writeFile(t, filepath.Join(dir, ".git/config"), "x")
	if snapDir(t, dir, DirOptions{}).Revision == before {
		t.Error("the data directory went unseen without Exclude")
	}
	if got := snapDir(t, dir, DirOptions{Exclude: []string{filepath.Join(dir, ".ten")}}).Revision; got != before {
		t.Error("an excluded directory counts")
	}
}

func TestOpenDirDoesNotChange(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	small, big := filepath.Join(dir, "small"), filepath.Join(dir, "big")
	writeFile(t, small, "old")
	writeFile(t, big, strings.Repeat("x", keptFile+1))
	s := snapDir(t, dir, DirOptions{})
	writeFile(t, small, "new")
	writeFile(t, big, strings.Repeat("y", keptFile+1))
	if b, err := s.Tree.ReadFile("small"); string(b) != "old" || err != nil {
		t.Errorf("small: %q, %v", b, err)
	}
	if _, err := s.Tree.ReadFile("big"); !errors.Is(err, ErrChanged) {
		t.Errorf("big: %v", err)
	}
}
