package source

import (
	"crypto/rand"
	"encoding/hex"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// TestDiskFull fills a small filesystem with a fetch: the error says so, what was
// there stays, and it goes on when there is room again.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if os.Getuid() != 0 {
		t.Skip("mounting a small filesystem needs root")
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("tmpfs can't be mounted here: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	s := newServed(t)
	_, second, want := sample(s)
	cfg := GitConfig{URL: s.bare, MirrorDir: filepath.Join(dir, "m"), Reserve: 1}
	g := follow(t, cfg)
	a := latest(t, g, "")
	noise := make([]byte, 1200<<10)
	rand.Read(noise)
	s.write("noise", hex.EncodeToString(noise))
	s.push("too much")
	_, err := g.Latest(t.Context(), Anchor{Revision: second})
	if f := fetchError(t, err, ClassDisk); f.Hint == "" {
		t.Error("no hint")
	}
	same(t, a.Tree, want)
	clean(t, cfg.MirrorDir)
	s.git("rm", "-q", "noise")
	s.git("reset", "-q", "--hard", second)
	s.write("small", "1")
	third := s.push("fits")
	if got := latest(t, g, second); got.Revision != third {
		t.Fatal(got)
	}
	g.Close()
	os.RemoveAll(cfg.MirrorDir)
	writeFile(t, filepath.Join(dir, "fill"), string(make([]byte, 1020<<10)))
	g = follow(t, cfg)
	_, err = g.Latest(t.Context(), Anchor{})
	fetchError(t, err, ClassDisk)
	os.Remove(filepath.Join(dir, "fill"))
	if got := latest(t, g, ""); got.Revision != third {
		t.Fatal(got)
	}
}
