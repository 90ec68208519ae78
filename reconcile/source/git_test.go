package source

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-git/go-git/v5/plumbing"
)

// repo is a repository with a work tree, made by the git binary.
type repo struct {
	t   *testing.T
	dir string
}

func newRepo(t *testing.T) *repo {
	t.Helper()
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("git is not installed")
	}
	r := &repo{t, t.TempDir()}
	r.git("init", "-q", "-b", "main")
	return r
}

func (r *repo) git(args ...string) string {
	r.t.Helper()
	return runGit(r.t, r.dir, args...)
}

func runGit(t testing.TB, dir string, args ...string) string {
	t.Helper()
	c := exec.Command("git", args...)
	c.Dir = dir
	c.Env = gitEnv()
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

func gitEnv() []string {
	return []string{
		"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=Ann", "GIT_AUTHOR_EMAIL=ann@example.com", "GIT_COMMITTER_NAME=Ann", "GIT_COMMITTER_EMAIL=ann@example.com",
	}
}

func (r *repo) write(name, text string) {
	r.t.Helper()
	writeFile(r.t, filepath.Join(r.dir, name), text)
}

func writeFile(t testing.TB, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// commit commits everything and gives the new head.
func (r *repo) commit(subject string) string {
	r.t.Helper()
	r.git("add", "-A")
	r.git("commit", "-q", "--allow-empty", "-m", subject)
	return r.git("rev-parse", "HEAD")
}

func follow(t *testing.T, cfg GitConfig) *Git {
	t.Helper()
	if cfg.MirrorDir == "" {
		cfg.MirrorDir = filepath.Join(t.TempDir(), "mirror")
	}
	g, err := NewGit(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.Close() })
	return g
}

func latest(t *testing.T, g *Git, anchor string) *Snapshot {
	t.Helper()
	s, err := g.Latest(t.Context(), Anchor{Revision: anchor})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// listing is every file of a tree with its content, for comparing.
func listing(t *testing.T, tree Tree) map[string]string {
	t.Helper()
	m := map[string]string{}
	err := fs.WalkDir(tree, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		switch d.Type() {
		case 0:
			b, err := tree.ReadFile(p)
			m[p] = string(b)
			return err
		case fs.ModeSymlink:
			to, err := tree.ReadLink(p)
			m[p] = "-> " + to
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestLatestLocal(t *testing.T) {
	t.Parallel()
	r := newRepo(t)
	r.write("tenement.toml", "a = 1\n")
	r.write("services/web.toml", "x\n")
	first := r.commit("one\n\nmore")
	g := follow(t, GitConfig{URL: r.dir})
	s := latest(t, g, "")
	if s.Revision != first || s.Anchor != first || s.Subject != "one" || s.Author != "Ann" || s.Ahead != -1 || s.Branch != "main" {
		t.Fatalf("snapshot %+v", s)
	}
	if id, _ := s.Tree.ID("."); id != r.git("rev-parse", "HEAD^{tree}") {
		t.Errorf("root id %s", id)
	}
	if id, _ := s.Tree.ID("services/web.toml"); id != r.git("rev-parse", "HEAD:services/web.toml") {
		t.Errorf("file id %s", id)
	}
	if latest(t, g, first) != s {
		t.Error("an unmoved branch gave another pointer")
	}
	r.write("services/web.toml", "y\n")
	r.commit("two")
	second := r.commit("three")
	n := latest(t, g, first)
	if n.Revision != second || n.Ahead != 2 {
		t.Fatalf("snapshot %+v", n)
	}
	if got := listing(t, n.Tree)["services/web.toml"]; got != "y\n" {
		t.Errorf("new content %q", got)
	}
	if got := listing(t, s.Tree)["services/web.toml"]; got != "x\n" {
		t.Errorf("the old snapshot changed: %q", got)
	}
	old, err := g.At(t.Context(), first)
	if err != nil || old.Revision != first {
		t.Fatal(old, err)
	}
}

// hashTree writes a tree object of ls-tree lines as they are, well formed or not.
func hashTree(t *testing.T, dir string, lines ...string) string {
	t.Helper()
	var raw []byte
	for _, l := range lines {
		head, name, _ := strings.Cut(l, "\t")
		f := strings.Fields(head)
		id := plumbing.NewHash(f[2])
		raw = append(append(raw, f[0]+" "+name+"\x00"...), id[:]...)
	}
	file := filepath.Join(t.TempDir(), "tree")
	writeFile(t, file, string(raw))
	return runGit(t, dir, "hash-object", "-t", "tree", "-w", "--literally", file)
}

func gitIgnores(t *testing.T, dir, path string) bool {
	t.Helper()
	c := exec.Command("git", "check-ignore", "-q", "--no-index", "--", path)
	c.Dir, c.Env = dir, gitEnv()
	err := c.Run()
	if x := (*exec.ExitError)(nil); err != nil && (!errors.As(err, &x) || x.ExitCode() != 1) {
		t.Fatal(err)
	}
	return err == nil
}

func fastImport(t testing.TB, bare string, in io.Reader) {
	t.Helper()
	c := exec.Command("git", "fast-import", "--quiet")
	c.Dir, c.Env, c.Stdin = bare, gitEnv(), in
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}
