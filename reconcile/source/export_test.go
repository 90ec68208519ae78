package source

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func TestExport(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "app/main.py"), "print(1)\n")
	writeFile(t, filepath.Join(dir, "app/lib/run"), "#!/bin/sh\n")
	writeFile(t, filepath.Join(dir, "app/skipped/f"), "")
	os.Chmod(filepath.Join(dir, "app/lib/run"), 0o775)
	os.Symlink("../main.py", filepath.Join(dir, "app/lib/ln"))
	s := snapDir(t, dir, DirOptions{})
	dst := filepath.Join(t.TempDir(), "a", "dst")
	for range 2 { // the second time there is nothing to do
		err := Export(t.Context(), s.Tree, "app", dst, func(p string) bool { return p == "skipped" })
		if err != nil {
			t.Fatal(err)
		}
	}
	got := map[string]fs.FileMode{}
	filepath.WalkDir(dst, func(name string, d fs.DirEntry, err error) error {
		st, _ := os.Lstat(name)
		rel, _ := filepath.Rel(dst, name)
		got[rel] = st.Mode()
		return err
	})
	want := map[string]fs.FileMode{".": fs.ModeDir | 0o755, "main.py": 0o644, "lib": fs.ModeDir | 0o755, "lib/run": 0o755, "lib/ln": fs.ModeSymlink | 0o777}
	if len(got) != len(want) {
		t.Errorf("got %v", got)
	}
	for name, mode := range want {
		if got[name] != mode {
			t.Errorf("%s: %v, want %v", name, got[name], mode)
		}
	}
	if left, _ := os.ReadDir(filepath.Dir(dst)); len(left) != 1 {
		t.Errorf("something was left beside it: %v", left)
	}
}

func TestExportLinks(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		links map[string]string
		bad   bool
	}{
		"inside":              {map[string]string{"app/d/l": "../x"}, false},
		"dangling inside":     {map[string]string{"app/l": "none/here"}, false},
		"absolute":            {map[string]string{"app/l": "/etc/passwd"}, true},
		"out by dots":         {map[string]string{"app/l": "../x"}, true},
		"out and in again":    {map[string]string{"app/l": "../app/x"}, true},
		"out through a link":  {map[string]string{"app/d/deep/up": "../..", "app/l": "d/deep/up/../x"}, true},
		"in through a link":   {map[string]string{"app/d/deep/up": "..", "app/l": "d/deep/up/../x"}, false},
		"dots after nothing":  {map[string]string{"app/l": "none/../../x"}, true},
		"circle":              {map[string]string{"app/a": "b", "app/b": "a"}, true},
		"out by way of a dir": {map[string]string{"app/d/deep/l": "../../../x"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			writeFile(t, filepath.Join(dir, "app/x"), "")
			writeFile(t, filepath.Join(dir, "app/d/deep/f"), "")
			writeFile(t, filepath.Join(dir, "x"), "")
			for l, to := range c.links {
				if err := os.Symlink(to, filepath.Join(dir, l)); err != nil {
					t.Fatal(err)
				}
			}
			dst := filepath.Join(t.TempDir(), "dst")
			err := Export(t.Context(), snapDir(t, dir, DirOptions{}).Tree, "app", dst, nil)
			if (err != nil) != c.bad {
				t.Fatalf("got %v", err)
			}
			left, _ := os.ReadDir(filepath.Dir(dst))
			if want := map[bool]int{true: 0, false: 1}[c.bad]; len(left) != want {
				t.Errorf("left %v", left)
			}
		})
	}
	if err := staysInside(nil, ".", ".", "/x"); !errors.Is(err, ErrLeaves) {
		t.Error(err)
	}
}
