package source

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func followDir(t *testing.T, cfg DirConfig) *Dir {
	t.Helper()
	d, err := NewDir(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func latestDir(t *testing.T, d *Dir) *Snapshot {
	t.Helper()
	s, err := d.Latest(t.Context(), Anchor{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestDir(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "f"), "1")
	d := followDir(t, DirConfig{Dir: dir})
	a := latestDir(t, d)
	if latestDir(t, d) != a {
		t.Error("another pointer though nothing changed")
	}
	quiet(t, "an edit without --watch", d.Wait)
	writeFile(t, filepath.Join(dir, "f"), "2")
	quiet(t, "an edit without --watch", d.Wait)
	d.Hint()
	noticed(t, "a hint", d.Wait)
	b := latestDir(t, d)
	if b.Revision == a.Revision || listing(t, b.Tree)["f"] != "2" {
		t.Errorf("%+v", b)
	}
	old, err := d.At(t.Context(), a.Revision)
	if err != nil || old != a || listing(t, old.Tree)["f"] != "1" {
		t.Error(old, err)
	}
	_, err = d.At(t.Context(), "dir-000000000000")
	if fetchError(t, err, ClassConfig); !errors.Is(err, ErrNoRevision) {
		t.Error(err)
	}
	os.RemoveAll(dir)
	_, err = d.Latest(t.Context(), Anchor{})
	fetchError(t, err, ClassConfig)
}

func TestDirWatch(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	writeFile(t, filepath.Join(dir, "sub/f"), "1")
	writeFile(t, filepath.Join(data, "db"), "1")
	d := followDir(t, DirConfig{Dir: dir, Watch: true, DirOptions: DirOptions{Exclude: []string{data}}})
	a := latestDir(t, d)
	writeFile(t, filepath.Join(data, "db"), "2")
	quiet(t, "the data directory", d.Wait)
	start := time.Now()
	writeFile(t, filepath.Join(dir, "sub/f"), "2")
	noticed(t, "an edit", d.Wait)
	if time.Since(start) < editPause {
		t.Errorf("it didn't wait for the edit to end: %s", time.Since(start))
	}
	b := latestDir(t, d)
	if b.Revision == a.Revision {
		t.Error("the edit is not in it")
	}
	writeFile(t, filepath.Join(dir, "new/deep/f"), "1")
	noticed(t, "a new directory", d.Wait)
	c := latestDir(t, d)
	writeFile(t, filepath.Join(dir, "new/deep/f"), "2")
	noticed(t, "an edit in a new directory", d.Wait)
	if e := latestDir(t, d); e.Revision == c.Revision || listing(t, e.Tree)["new/deep/f"] != "2" {
		t.Error("the last edit is not in it")
	}
	os.RemoveAll(filepath.Join(dir, "new"))
	noticed(t, "a removal", d.Wait)
	if e := latestDir(t, d); e.Revision != b.Revision {
		t.Error("the removal is not in it")
	}
	writeFile(t, filepath.Join(dir, "new/deep/f"), "1")
	noticed(t, "a directory made again", d.Wait)
	latestDir(t, d)
	writeFile(t, filepath.Join(dir, "new/deep/f"), "3")
	noticed(t, "an edit in it", d.Wait)
}

// TestDirTrustsStat says when a file is not read again, by breaking that trust.
func TestDirTrustsStat(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	name := filepath.Join(dir, "f")
	writeFile(t, name, "1")
	old := time.Now().Add(-time.Hour)
	os.Chtimes(name, old, old)
	d := followDir(t, DirConfig{Dir: dir})
	a := latestDir(t, d)
	first := d.files["f"]
	latestDir(t, d)
	if d.files["f"] != first {
		t.Error("an old file was read again")
	}
	writeFile(t, name, "2")
	os.Chtimes(name, old, old) // the same size and mtime: the ctime tells
	if latestDir(t, d).Revision == a.Revision {
		t.Error("a change behind a faked mtime went unseen")
	}
	fresh := d.files["f"]
	writeFile(t, filepath.Join(dir, "g"), "1")
	latestDir(t, d)
	young := d.files["g"]
	latestDir(t, d)
	if d.files["g"] == young || d.files["f"] == nil || fresh == nil {
		t.Error("a file written a moment ago was trusted")
	}
}
