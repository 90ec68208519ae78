package source

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// Export writes the directory at path of a tree to dst, a new directory: complete
// or absent, also when the machine dies in between, for it is written beside dst
// and renamed. Where dst exists, nothing is done. Files are 0644 or 0755. Links
// that stay inside path are kept; one that leaves it is an error that names it.
// skip, if set, is asked for every path below path (relative to it) and leaves out
// what it says, with all below.
func Export(ctx context.Context, t Tree, path, dst string, skip func(path string) bool) error {
	if _, err := os.Lstat(dst); err == nil {
		return nil
	}
	st, err := t.Stat(path)
	if err != nil {
		return err
	}
	if !st.IsDir() {
		return &fs.PathError{Op: "export", Path: path, Err: errNotDir}
	}
	parent := filepath.Dir(dst)
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(parent, "."+filepath.Base(dst)+".tmp-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	root, err := os.OpenRoot(tmp)
	if err != nil {
		return err
	}
	defer root.Close()
	e := exporter{ctx: ctx, tree: t, base: path, root: root, skip: skip}
	if err := e.dir("."); err != nil {
		return fmt.Errorf("export %s: %w", path, err)
	}
	if err := os.Chmod(tmp, 0o755); err != nil {
		return err
	}
	if err := settleDir(tmp); err != nil {
		return err
	}
	return publish(tmp, dst)
}

// publish renames tmp to dst. Somebody else may have been first: then theirs
// stays, for it has the same content.
func publish(tmp, dst string) error {
	err := os.Rename(tmp, dst)
	if err == nil {
		return syncDir(filepath.Dir(dst))
	}
	if st, serr := os.Lstat(dst); serr == nil && st.IsDir() {
		return nil
	}
	return err
}

type exporter struct {
	ctx  context.Context
	tree Tree
	base string // of the tree
	root *os.Root
	skip func(string) bool
}

func (e *exporter) dir(rel string) error {
	list, err := e.tree.ReadDir(path.Join(e.base, rel))
	if err != nil {
		return err
	}
	for _, d := range list {
		if err := e.ctx.Err(); err != nil {
			return err
		}
		name := path.Join(rel, d.Name())
		if e.skip != nil && e.skip(name) {
			continue
		}
		if err := e.entry(name, d); err != nil {
			return err
		}
	}
	return nil
}

func (e *exporter) entry(name string, d fs.DirEntry) error {
	switch d.Type() {
	case fs.ModeDir:
		if err := e.root.Mkdir(name, 0o755); err != nil {
			return err
		}
		if err := e.root.Chmod(name, 0o755); err != nil {
			return err
		}
		return e.dir(name)
	case fs.ModeSymlink:
		return e.link(name)
	}
	b, err := e.tree.ReadFile(path.Join(e.base, name))
	if err != nil {
		return err
	}
	st, err := d.Info()
	if err != nil {
		return err
	}
	return e.file(name, b, st.Mode().Perm())
}

func (e *exporter) file(name string, b []byte, mode fs.FileMode) error {
	f, err := e.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Write(b); err != nil {
		return err
	}
	// Neither the umask nor what a tree claims decides.
	if mode &= 0o755; mode&0o100 == 0 {
		mode = 0o644
	} else {
		mode = 0o755
	}
	if err := f.Chmod(mode); err != nil {
		return err
	}
	return f.Close()
}

func (e *exporter) link(name string) error {
	to, err := e.tree.ReadLink(path.Join(e.base, name))
	if err != nil {
		return err
	}
	if err := staysInside(e.tree, e.base, path.Dir(name), to); err != nil {
		return fmt.Errorf("link %s -> %s: %w", name, to, err)
	}
	return e.root.Symlink(to, name)
}

// ErrLeaves says that a link points out of the directory it is part of.
var ErrLeaves = errors.New("leaves the directory; only links inside it are kept")

const maxHops = 40 // links on the way of one path, as in Linux

// staysInside resolves to, found in dir, as a kernel would: link by link, so that
// ".." after a link goes where that link leads. Names that don't exist count as
// plain directories.
func staysInside(t Tree, base, dir, to string) error {
	var at []string
	if dir != "." {
		at = strings.Split(dir, "/")
	}
	todo := []string{to}
	for hops := 0; len(todo) > 0; {
		if strings.HasPrefix(todo[0], "/") {
			return ErrLeaves
		}
		part, rest, _ := strings.Cut(todo[0], "/")
		rest = strings.TrimLeft(rest, "/")
		if todo[0] = rest; rest == "" {
			todo = todo[1:]
		}
		switch part {
		case "", ".":
			continue
		case "..":
			if len(at) == 0 {
				return ErrLeaves
			}
			at = at[:len(at)-1]
			continue
		}
		at = append(at, part)
		next, err := t.ReadLink(path.Join(base, path.Join(at...)))
		if err != nil {
			continue // not a link, or nothing there
		}
		if hops++; hops > maxHops {
			return errors.New("runs in a circle")
		}
		at = at[:len(at)-1]
		todo = append([]string{next}, todo...)
	}
	return nil
}
