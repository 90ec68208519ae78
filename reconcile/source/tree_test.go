package source

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/go-git/go-git/v5/plumbing"
	"pgregory.net/rapid"

	"github.com/tenement/ten/proptest"
)

func TestTreeIsAFileSystem(t *testing.T) {
	t.Parallel()
	r := newRepo(t)
	r.write("a/b/c.txt", "text")
	r.write("a/b/empty", "")
	r.write("z", "1")
	r.git("config", "core.symlinks", "true")
	os.Symlink("b/c.txt", filepath.Join(r.dir, "a", "ln"))
	r.commit("one")
	for _, tree := range []Tree{latest(t, follow(t, GitConfig{URL: r.dir}), "").Tree, snapDir(t, r.dir, DirOptions{}).Tree} {
		// fstest opens links, which this tree refuses: it gets a directory without.
		plain, err := fs.Sub(tree, "a/b")
		if err != nil {
			t.Fatal(err)
		}
		if err := fstest.TestFS(plain, "c.txt", "empty"); err != nil {
			t.Error(err)
		}
		if to, err := tree.ReadLink("a/ln"); to != "b/c.txt" || err != nil {
			t.Error(to, err)
		}
		st, err := tree.Stat("a/ln")
		if err != nil || st.Mode().Type() != fs.ModeSymlink {
			t.Error(st, err)
		}
		for _, bad := range []string{"none", "a/b/c.txt/x", "a/ln/x"} {
			if _, err := tree.Stat(bad); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s: %v", bad, err)
			}
		}
		if _, err := tree.Open("a/ln"); err == nil {
			t.Error("a link was opened")
		}
		if _, err := tree.ID("../x"); !errors.Is(err, fs.ErrInvalid) {
			t.Error(err)
		}
	}
}

func rawEntry(mode, name string, id byte) []byte {
	return append([]byte(mode+" "+name+"\x00"), bytes.Repeat([]byte{id}, 20)...)
}

func TestParseTreeRefuses(t *testing.T) {
	t.Parallel()
	file := func(name string) []byte { return rawEntry("100644", name, 1) }
	for name, raw := range map[string][]byte{
		"cut short":          file("a")[:15],
		"no mode":            []byte(" a\x00" + strings.Repeat("x", 20)),
		"no name":            file(""),
		"dot":                file("."),
		"dots":               file(".."),
		"slash":              file("a/b"),
		"absolute":           file("/a"),
		"git":                file(".git"),
		"Git":                rawEntry("40000", ".Git", 1),
		"not UTF-8":          file("\xff"),
		"submodule":          rawEntry("160000", "a", 1),
		"padded mode":        rawEntry("040000", "a", 1),
		"socket mode":        rawEntry("140000", "a", 1),
		"out of order":       append(file("b"), file("a")...),
		"twice":              append(file("a"), file("a")...),
		"file and directory": append(append(file("a"), file("a.b")...), rawEntry("40000", "a", 1)...),
	} {
		if e, err := parseTree(raw); err == nil {
			t.Errorf("%s: accepted as %v", name, e)
		}
	}
	good := append(append(file("a"), rawEntry("120000", "a.b", 2)...), rawEntry("40000", "c", 3)...)
	if e, err := parseTree(good); err != nil || len(e) != 3 {
		t.Error(e, err)
	}
}

// FuzzTreeWalk walks hostile tree objects: three objects, which may name each
// other by the first byte of the id.
func FuzzTreeWalk(f *testing.F) {
	f.Add(rawEntry("40000", "d", 1), rawEntry("100644", "f", 9), []byte{})
	f.Add(append(rawEntry("40000", "a", 1), rawEntry("40000", "b", 1)...), append(rawEntry("40000", "a", 2), rawEntry("40000", "b", 2)...), rawEntry("120000", "l", 9))
	f.Add(rawEntry("160000", "sub", 1), rawEntry("100644", "..", 9), rawEntry("100644", ".git", 9))
	f.Add(rawEntry("40000", "loop", 0), []byte("40000"), []byte("\x00"))
	f.Fuzz(func(t *testing.T, a, b, c []byte) {
		objects := [][]byte{a, b, c}
		limits := Limits{Files: 50, Depth: 8, PathBytes: 100}.orDefault()
		w := walker{limits: limits, seen: map[plumbing.Hash]*node{},
			has: func(id plumbing.Hash) bool { return id[0] != 7 },
			tree: func(id plumbing.Hash) ([]byte, error) {
				if int(id[0]) >= len(objects) {
					return nil, errNoObject
				}
				return objects[id[0]], nil
			}}
		root, err := w.dir(plumbing.ZeroHash, 1)
		if err != nil {
			return
		}
		if root.files > limits.Files || root.height > limits.Depth || root.longest > limits.PathBytes {
			t.Fatalf("over the limits: %+v", root)
		}
		tree := &objectTree{root: root}
		files := 0
		err = fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if !fs.ValidPath(name) || strings.Contains("/"+strings.ToLower(name)+"/", "/.git/") {
				t.Errorf("path %q", name)
			}
			if !d.IsDir() {
				files++
			}
			_, err = tree.ID(name)
			return err
		})
		if err != nil || files != root.files {
			t.Errorf("%d files, %d were counted, %v", files, root.files, err)
		}
		if got := encodeTree(root.entries); !bytes.Equal(got, a) {
			t.Errorf("read %q, means %q", a, got)
		}
	})
}

// TestTreeBomb has ten trees, each naming the next one ten times: 10^9 files in a
// kilobyte.
func TestTreeBomb(t *testing.T) {
	t.Parallel()
	r := newRepo(t)
	r.write("f", "")
	id := r.git("hash-object", "-w", "f")
	kind, mode := "blob", "100644"
	for range 9 {
		var lines []string
		for i := range 10 {
			lines = append(lines, mode+" "+kind+" "+id+"\t"+string(rune('a'+i)))
		}
		id, kind, mode = hashTree(t, r.dir, lines...), "tree", "40000"
	}
	head := r.git("commit-tree", "-m", "bomb", id)
	r.git("update-ref", "refs/heads/main", head)
	_, err := follow(t, GitConfig{URL: r.dir}).Latest(t.Context(), Anchor{})
	if x := refused(t, err, KindContent); !strings.Contains(x.Reason, "files") {
		t.Error(x)
	}
}

// TestIgnoresAsGitDoes compares with git on patterns and paths at random.
func TestIgnoresAsGitDoes(t *testing.T) {
	t.Parallel()
	r := newRepo(t)
	part := rapid.StringOfN(rapid.SampledFrom([]rune("ab*?.[]!-\\# ")), 1, 5, -1)
	// Stars beside other characters, as in "a**", are left out: there git 2.39 compares
	// pointers of two strings, and the answer depends on where they lie. So are
	// classes with a slash in them, which git matches and nobody writes.
	part = part.Filter(func(s string) bool {
		return !strings.Contains(s, "**") && (!strings.Contains(s, "[") || strings.HasSuffix(s, "]"))
	})
	piece := rapid.OneOf(part, rapid.SampledFrom([]string{"**", "*", "a", "b", "ab", "*.a", "[!a]", "[a-b]", "[[:alpha:]]"}))
	name := rapid.SampledFrom([]string{"a", "b", "ab", "ba", "a.a", "a b", "#a", "!a", "a ", "[a]", "-", "a]"})
	pattern := rapid.Custom(func(t *rapid.T) string {
		s := strings.Join(rapid.SliceOfN(piece, 1, 3).Draw(t, "parts"), "/")
		return rapid.SampledFrom([]string{"", "!", "/", "!/"}).Draw(t, "prefix") + s + rapid.SampledFrom([]string{"", "/", " ", "/**"}).Draw(t, "suffix")
	})
	proptest.Check(t, func(rt *rapid.T) {
		text := strings.Join(rapid.SliceOfN(pattern, 1, 4).Draw(rt, "patterns"), "\n") + "\n"
		names := rapid.SliceOfN(name, 1, 3).Draw(rt, "path")
		path := strings.Join(names, "/")
		r.write(".gitignore", text)
		got := false
		files := []ignoreFile{parseIgnore("", text)}
		for i := range names {
			if ignored(files, strings.Join(names[:i+1], "/"), i < len(names)-1) {
				got = true
				break
			}
		}
		if want := gitIgnores(t, r.dir, path); got != want {
			rt.Fatalf("%q for %q: git says %v", text, path, want)
		}
	})
}
