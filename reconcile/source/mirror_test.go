package source

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
)

func one(t *testing.T, pattern string) string {
	t.Helper()
	names, _ := filepath.Glob(pattern)
	if len(names) == 0 {
		t.Fatalf("nothing matches %s", pattern)
	}
	return names[0]
}

func change(t *testing.T, name string, f func([]byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	os.Chmod(name, 0o600)
	if err := os.WriteFile(name, f(b), 0o600); err != nil {
		t.Fatal(err)
	}
}

func half(b []byte) []byte { return b[:len(b)/2] }

func flip(b []byte) []byte { b[len(b)/2] ^= 1; return b }

// damages are ways for a mirror to go bad.
func damages() map[string]func(t *testing.T, mirror string) {
	pack := func(m, ext string) string { return filepath.Join(m, "mirror.git/objects/pack/pack-*."+ext) }
	return map[string]func(t *testing.T, m string){
		"empty ref":       func(t *testing.T, m string) { os.Truncate(filepath.Join(m, "mirror.git/refs/ten/main"), 0) },
		"garbage ref":     func(t *testing.T, m string) { writeFile(t, filepath.Join(m, "mirror.git/refs/ten/main"), "no id\n") },
		"truncated index": func(t *testing.T, m string) { change(t, one(t, pack(m, "idx")), half) },
		"truncated pack":  func(t *testing.T, m string) { change(t, one(t, pack(m, "pack")), half) },
		"flipped bit":     func(t *testing.T, m string) { change(t, one(t, pack(m, "pack")), flip) },
		"no pack":         func(t *testing.T, m string) { os.Remove(one(t, pack(m, "pack"))) },
		"no index":        func(t *testing.T, m string) { os.Remove(one(t, pack(m, "idx"))) },
		"nothing in it":   func(t *testing.T, m string) { os.RemoveAll(filepath.Join(m, "mirror.git/objects")) },
		"no mirror":       func(t *testing.T, m string) { os.RemoveAll(filepath.Join(m, "mirror.git")) },
		"empty note":      func(t *testing.T, m string) { os.Truncate(filepath.Join(m, "mirror.git/ten"), 0) },
		"missing subtree": func(t *testing.T, m string) { dropObject(t, m, "tree") },
		"missing blob":    func(t *testing.T, m string) { dropObject(t, m, "blob") },
		"missing commit":  func(t *testing.T, m string) { dropObject(t, m, "commit") },
	}
}

// dropObject rewrites the mirror's pack without one object of a kind.
func dropObject(t *testing.T, m, kind string) {
	t.Helper()
	dir := filepath.Join(m, "mirror.git")
	var keep []plumbing.Hash
	gone := ""
	for line := range strings.SplitSeq(runGit(t, dir, "cat-file", "--batch-all-objects", "--batch-check"), "\n") {
		f := strings.Fields(line)
		if f[1] == kind {
			gone = f[0] // the last is as good as any
		}
	}
	for line := range strings.SplitSeq(runGit(t, dir, "cat-file", "--batch-all-objects", "--batch-check"), "\n") {
		if f := strings.Fields(line); f[0] != gone {
			keep = append(keep, plumbing.NewHash(f[0]))
		}
	}
	old, err := openMirrored(filepath.Join(dir, "objects"), Limits{}.orDefault())
	if err != nil {
		t.Fatal(err)
	}
	tmp, err := os.Create(filepath.Join(t.TempDir(), "pack"))
	if err != nil {
		t.Fatal(err)
	}
	defer tmp.Close()
	if err := writePack(tmp, old, keep); err != nil {
		t.Fatal(err)
	}
	old.close()
	packs, _ := filepath.Glob(filepath.Join(dir, "objects/pack/*"))
	for _, p := range packs {
		os.Remove(p)
	}
	store, err := openMirrored(filepath.Join(dir, "objects"), Limits{}.orDefault())
	if err != nil {
		t.Fatal(err)
	}
	defer store.close()
	tmp.Seek(0, 0)
	if err := store.storePack(t.Context(), tmp); err != nil {
		t.Fatal(err)
	}
}

func sample(s *served) (first, second string, want map[string]string) {
	want = map[string]string{}
	for i := range 20 {
		name := fmt.Sprintf("d%d/f%d", i%4, i)
		want[name] = fmt.Sprintf("file %d %s", i, strings.Repeat("x", i*10))
		s.write(name, want[name])
	}
	first = s.push("one")
	s.write("d0/f0", "changed")
	want["d0/f0"] = "changed"
	return first, s.push("two"), want
}

func same(t *testing.T, tree Tree, want map[string]string) {
	t.Helper()
	got := listing(t, tree)
	if len(got) != len(want) {
		t.Fatalf("%d files, want %d", len(got), len(want))
	}
	for name, text := range want {
		if got[name] != text {
			t.Errorf("%s: %q", name, got[name])
		}
	}
}

// TestDamagedMirror damages a mirror between two runs, and under a running one:
// either way the whole revision comes out, or an error; never a part of it.
func TestDamagedMirror(t *testing.T) {
	t.Parallel()
	s := newServed(t)
	_, second, want := sample(s)
	url := gitDaemon(t, filepath.Dir(s.bare)) + "/r.git"
	for name, damage := range damages() {
		if testing.Short() && strings.HasPrefix(name, "missing") && name != "missing subtree" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := filepath.Join(t.TempDir(), "mirror")
			g := follow(t, GitConfig{URL: url, MirrorDir: m})
			latest(t, g, "")
			g.Close()
			damage(t, m)
			g = follow(t, GitConfig{URL: url, MirrorDir: m})
			got := latest(t, g, second)
			if got.Revision != second {
				t.Fatalf("revision %s", got.Revision)
			}
			same(t, got.Tree, want)
			clean(t, m)
		})
	}
}

// clean says that only what belongs there is left in a mirror directory.
func clean(t *testing.T, m string) {
	t.Helper()
	for _, pattern := range []string{"new-*", "old-*", "mirror.git/objects/pack/tmp_*", "mirror.git/refs/ten/tmp_*"} {
		if left, _ := filepath.Glob(filepath.Join(m, pattern)); len(left) > 0 {
			t.Errorf("left over: %v", left)
		}
	}
}

func TestDamageUnderARunningHost(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"flip", "truncate"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s := newServed(t)
			first, second, want := sample(s)
			m := filepath.Join(t.TempDir(), "mirror")
			g := follow(t, GitConfig{URL: s.bare, MirrorDir: m})
			a := latest(t, g, "")
			names, _ := filepath.Glob(filepath.Join(m, "mirror.git/objects/pack/*.pack"))
			for _, name := range names {
				if kind == "truncate" {
					os.Truncate(name, 40)
					continue
				}
				change(t, name, func(b []byte) []byte {
					for i := 12; i < len(b)-20; i += 40 {
						b[i] ^= 0x10
					}
					return b
				})
			}
			failed := 0
			for name, text := range want {
				b, err := a.Tree.ReadFile(name)
				if err != nil {
					failed++
				} else if string(b) != text {
					t.Errorf("%s was read wrong: %q", name, b)
				}
			}
			if failed == 0 {
				t.Fatal("the damage was not noticed")
			}
			old, err := g.At(t.Context(), first)
			if err != nil {
				t.Fatal(err)
			}
			if listing(t, old.Tree)["d0/f0"] == want["d0/f0"] {
				t.Error("At gave another revision")
			}
			b := latest(t, g, second)
			if b.Revision != second {
				t.Fatal(b)
			}
			same(t, b.Tree, want)
			same(t, a.Tree, want) // read from the mirror that replaced it
			clean(t, m)
		})
	}
}

// TestRemovedUnderARunningHost removes what is but a cache: it is built anew, also
// where the remote did not move, and older snapshots can still be read.
func TestRemovedUnderARunningHost(t *testing.T) {
	t.Parallel()
	for _, part := range []string{"", "mirror.git"} {
		s := newServed(t)
		first, _, want := sample(s)
		m := filepath.Join(t.TempDir(), "mirror")
		g := follow(t, GitConfig{URL: s.bare, MirrorDir: m})
		a := latest(t, g, "")
		if err := os.RemoveAll(filepath.Join(m, part)); err != nil {
			t.Fatal(err)
		}
		same(t, latest(t, g, "").Tree, want)
		if old, err := g.At(t.Context(), first); err != nil || old.Revision != first {
			t.Errorf("%q removed: At = %v, %v", part, old, err)
		}
		same(t, a.Tree, want)
		clean(t, m)
	}
}

// TestRepairIsLimited damages the mirror again and again: one new clone, then an
// error that says so.
func TestRepairIsLimited(t *testing.T) {
	t.Parallel()
	s := newServed(t)
	_, second, want := sample(s)
	g := follow(t, GitConfig{URL: s.bare})
	latest(t, g, "")
	hurt := func() { g.damage.Store(&corruptError{"bad object", errors.New("test")}) }
	hurt()
	latest(t, g, second)
	hurt()
	_, err := g.Latest(t.Context(), Anchor{Revision: second})
	if f := fetchError(t, err, ClassCorrupt); !strings.Contains(f.Hint, "fsck") {
		t.Errorf("%v, hint %q", f, f.Hint)
	}
	g.tried["bad object"] = time.Now().Add(-repairEvery)
	got := latest(t, g, second)
	same(t, got.Tree, want)
}

func TestDamagedRemote(t *testing.T) {
	t.Parallel()
	s := newServed(t)
	_, second, _ := sample(s)
	g := follow(t, GitConfig{URL: s.bare})
	a := latest(t, g, "")
	s.write("new/file", "x")
	s.push("three")
	blob := s.git("rev-parse", "HEAD:new/file")
	os.Remove(filepath.Join(s.bare, "objects", blob[:2], blob[2:]))
	_, err := g.Latest(t.Context(), Anchor{Revision: second})
	if f := fetchError(t, err, ClassCorrupt); !strings.Contains(f.Hint, "fsck") {
		t.Errorf("%v, hint %q", f, f.Hint)
	}
	if len(g.tried) != 0 {
		t.Error("the mirror was blamed for the remote")
	}
	if b, err := g.At(t.Context(), second); err != nil || b != a {
		t.Error("the last good revision is lost", err)
	}
}

func TestCompaction(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("fetches fifty times")
	}
	s := newServed(t)
	s.write("f", "0")
	s.push("0")
	m := filepath.Join(t.TempDir(), "mirror")
	g := follow(t, GitConfig{URL: s.bare, MirrorDir: m})
	a := latest(t, g, "")
	anchor := a.Revision
	for i := range compactPacks + 3 {
		in := strings.NewReader(fmt.Sprintf("commit refs/heads/main\ncommitter A <a@b.c> %d +0000\ndata 1\nc\nfrom refs/heads/main^0\nM 644 inline f\ndata 3\n%03d\n", 1800000000+i, i))
		fastImport(t, s.bare, in)
		anchor = latest(t, g, anchor).Revision
	}
	if n := g.mirror.store.packCount(); n > compactPacks {
		t.Errorf("%d packs", n)
	}
	if listing(t, a.Tree)["f"] != "0" {
		t.Error("the first snapshot is gone")
	}
	clean(t, m)
}

func TestOneOwner(t *testing.T) {
	t.Parallel()
	s := newServed(t)
	sample(s)
	m := filepath.Join(t.TempDir(), "mirror")
	g := follow(t, GitConfig{URL: s.bare, MirrorDir: m})
	latest(t, g, "")
	other := follow(t, GitConfig{URL: s.bare, MirrorDir: m})
	_, err := other.Latest(t.Context(), Anchor{})
	if f := fetchError(t, err, ClassDisk); !errors.Is(err, ErrLocked) || f.Hint == "" {
		t.Error(err)
	}
	g.Close()
	latest(t, other, "")
}

func TestMirrorOfAnotherRemote(t *testing.T) {
	t.Parallel()
	s, o := newServed(t), newServed(t)
	sample(s)
	o.write("other", "1")
	id := o.push("other")
	m := filepath.Join(t.TempDir(), "mirror")
	g := follow(t, GitConfig{URL: s.bare, MirrorDir: m})
	a := latest(t, g, "")
	g.Close()
	g = follow(t, GitConfig{URL: o.bare, MirrorDir: m})
	if got := latest(t, g, ""); got.Revision != id {
		t.Fatal(got)
	}
	_, err := g.At(t.Context(), a.Revision)
	if fetchError(t, err, ClassConfig); !errors.Is(err, ErrNoRevision) {
		t.Error(err)
	}
}

func TestAtAfterARestart(t *testing.T) {
	t.Parallel()
	s := newServed(t)
	first, _, want := sample(s)
	want["d0/f0"] = "file 0 "
	m := filepath.Join(t.TempDir(), "mirror")
	cfg := GitConfig{URL: s.bare, MirrorDir: m}
	g := follow(t, cfg)
	latest(t, g, "")
	g.Close()
	os.Rename(s.bare, s.bare+".gone")
	g = follow(t, cfg)
	a, err := g.At(t.Context(), first)
	if err != nil {
		t.Fatal(err)
	}
	same(t, a.Tree, want)
	if a.Revision != first || a.Subject != "one" || a.Anchor != "" {
		t.Errorf("%+v", a)
	}
}

func TestReserve(t *testing.T) {
	t.Parallel()
	s := newServed(t)
	sample(s)
	_, err := follow(t, GitConfig{URL: s.bare, Reserve: 1 << 60}).Latest(t.Context(), Anchor{})
	if f := fetchError(t, err, ClassDisk); f.Hint == "" {
		t.Error("no hint")
	}
}

// TestKilledClone kills a process in the middle of its first fetch.
func TestKilledClone(t *testing.T) {
	if dir := os.Getenv("TEN_TEST_CLONE_INTO"); dir != "" {
		g, err := NewGit(GitConfig{URL: os.Getenv("TEN_TEST_CLONE_FROM"), MirrorDir: dir})
		if err != nil {
			t.Fatal(err)
		}
		os.Stdout.WriteString("go\n")
		_, err = g.Latest(t.Context(), Anchor{})
		t.Log(err)
		return
	}
	t.Parallel()
	s := newServed(t)
	want := map[string]string{}
	for i := range 400 {
		name := fmt.Sprintf("d%d/f%d", i%10, i)
		want[name] = strings.Repeat(fmt.Sprint(i), 50)
		s.write(name, want[name])
	}
	id := s.push("many")
	url := gitDaemon(t, filepath.Dir(s.bare)) + "/r.git"
	rounds := 12
	if testing.Short() {
		rounds = 4
	}
	m := filepath.Join(t.TempDir(), "mirror")
	for i := range rounds {
		os.RemoveAll(filepath.Join(m, "mirror.git"))
		c := exec.Command(os.Args[0], "-test.run=^TestKilledClone$")
		c.Env = append(gitEnv(), "TEN_TEST_CLONE_INTO="+m, "TEN_TEST_CLONE_FROM="+url)
		out, err := c.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		out.Read(make([]byte, 3))
		time.Sleep(time.Duration(i*60/rounds) * time.Millisecond)
		c.Process.Kill()
		c.Wait()
		g := follow(t, GitConfig{URL: url, MirrorDir: m})
		a := latest(t, g, "")
		if a.Revision != id {
			t.Fatal(a)
		}
		same(t, a.Tree, want)
		clean(t, m)
		g.Close()
	}
}
