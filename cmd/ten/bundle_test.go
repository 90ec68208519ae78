package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tenement/ten/export"
)

// bundleOf makes a bundle of names and texts, with its report.
func bundleOf(files ...string) export.Bundle {
	var b export.Bundle
	for i := 0; i < len(files); i += 2 {
		b.Files = append(b.Files, export.File{Path: files[i], Data: []byte(files[i+1])})
	}
	return withReport(b, newReport(export.Target{Name: "x"}, export.Options{Project: "shop"}, b, nil))
}

// rewrite writes a bundle over what is there.
func rewrite(t *testing.T, dir string, b export.Bundle) (kept []string, err error) {
	t.Helper()
	before, err := readReport(dir)
	if err != nil {
		t.Fatal(err)
	}
	return writeBundle(dir, before, b)
}

func tree(t *testing.T, dir string) string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && d.Name() != reportName {
			rel, _ := filepath.Rel(dir, path)
			names = append(names, filepath.ToSlash(rel))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(names, " ")
}

func TestWriteBundleRemovesOnlyItsOwn(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "mine"), []byte("m"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := rewrite(t, dir, bundleOf("a/one", "1", "a/two", "2", "b", "3")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "a", "two"), []byte("edited"), 0o644); err != nil {
		t.Fatal(err)
	}
	kept, err := rewrite(t, dir, bundleOf("b", "4"))
	if err != nil || strings.Join(kept, " ") != "a/two" || tree(t, dir) != "a/two b mine" {
		t.Errorf("kept %q, left %q, %v", kept, tree(t, dir), err)
	}
	if err := os.Remove(filepath.Join(dir, "a", "two")); err != nil {
		t.Fatal(err)
	}
	if _, err := rewrite(t, dir, bundleOf("a/x/y", "5", "b", "4")); err != nil {
		t.Fatal(err)
	}
	if _, err := rewrite(t, dir, bundleOf("b", "4")); err != nil || tree(t, dir) != "b mine" {
		t.Errorf("left %q, %v", tree(t, dir), err)
	}
	if _, err := os.Stat(filepath.Join(dir, "a")); err == nil {
		t.Error("an empty directory of an earlier export is left")
	}
}

// TestWriteBundleStaysInside has links in the directory that lead out of it, and a
// report that names a file elsewhere.
func TestWriteBundleStaysInside(t *testing.T) {
	t.Parallel()
	dir, away := t.TempDir(), t.TempDir()
	secret := filepath.Join(away, "secret")
	if err := os.WriteFile(secret, []byte("s"), 0o600); err != nil {
		t.Fatal(err)
	}
	for link, to := range map[string]string{"sub": away, "file": secret} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := rewrite(t, dir, bundleOf("sub/secret", "x")); err == nil {
		t.Error("a file was written through a link to a directory")
	}
	if _, err := rewrite(t, dir, bundleOf("file", "x")); err != nil {
		t.Errorf("a link in a file's place: %v", err)
	}
	if info, err := os.Lstat(filepath.Join(dir, "file")); err != nil || !info.Mode().IsRegular() {
		t.Errorf("the link is still there: %v", err)
	}
	out := &exportReport{Files: []writtenFile{{"../" + filepath.Base(away) + "/secret", hash([]byte("s"))}, {"sub/secret", hash([]byte("s"))}}}
	if _, err := writeBundle(dir, out, bundleOf("file", "y")); err != nil {
		t.Error(err)
	}
	if data, err := os.ReadFile(secret); err != nil || string(data) != "s" {
		t.Errorf("a file outside was touched: %q %v", data, err)
	}
}

// TestWriteBundleIsWholeOrOld fails at the last file and finds the first as it was.
func TestWriteBundleIsWholeOrOld(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if _, err := rewrite(t, dir, bundleOf("a", "old", "b", "old")); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "b")); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "b", "c"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := rewrite(t, dir, bundleOf("a", "new", "b", "new")); err == nil || !strings.Contains(err.Error(), "a directory is in its place") {
		t.Errorf("got %v", err)
	}
	if data, err := os.ReadFile(filepath.Join(dir, "a")); err != nil || string(data) != "old" {
		t.Errorf("a is %q, %v", data, err)
	}
	if left := tree(t, dir); left != "a" {
		t.Errorf("left behind: %q", left)
	}
}
