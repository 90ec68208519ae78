package source

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"golang.org/x/sync/errgroup"
)

// DirOptions say what of a working tree counts.
type DirOptions struct {
	// Exclude are directories that are never part of it, such as ten's own data.
	Exclude []string
	Limits  Limits

	known map[string]*file // what an earlier look found
}

// ErrChanged says that a file of a working tree is no longer what it was when the
// snapshot was taken. A new snapshot heals it.
var ErrChanged = errors.New("changed while being read")

// keptFile and keptAll bound the copies a snapshot keeps, so that a config is
// still what it was although somebody goes on editing.
const (
	keptFile = 64 << 10
	keptAll  = 16 << 20
)

// OpenDir takes a snapshot of a working tree. Inside a git work tree it holds what
// `git add -A` would commit, with the ids that this commit would have (as long as
// no filter rewrites content on its way into git); elsewhere it holds everything
// but .git. Links are entries and not followed; what is neither file, directory
// nor link is refused, as are repositories inside the repository. The snapshot
// doesn't change: a file edited later is an error when read, or its kept copy.
func OpenDir(dir string, opt DirOptions) (*Snapshot, error) {
	s, _, err := scanDir(dir, opt)
	return s, err
}

func scanDir(dir string, opt DirOptions) (*Snapshot, *dirWalk, error) {
	abs, err := filepath.Abs(dir)
	if err == nil {
		abs, err = filepath.EvalSymlinks(abs)
	}
	if err != nil {
		return nil, nil, err
	}
	root, err := os.OpenRoot(abs)
	if err != nil {
		return nil, nil, err
	}
	defer root.Close()
	w, err := newDirWalk(root, abs, opt)
	if err != nil {
		return nil, nil, err
	}
	top, err := w.walk(root, ".")
	if err != nil {
		return nil, nil, refuseDir(abs, err)
	}
	if err := w.hash(); err != nil {
		return nil, nil, refuseDir(abs, err)
	}
	tree := top.node(w.files)
	check := walker{limits: w.limits}
	if err := check.check(tree); err != nil {
		return nil, nil, refuseDir(abs, err)
	}
	files := &workFiles{dir: abs, files: w.files, limits: w.limits}
	when := files.newest()
	return &Snapshot{
		Revision: "dir-" + tree.id.String()[:12],
		Subject:  "working tree " + abs,
		Time:     when,
		Dirty:    true,
		Ahead:    -1,
		Tree:     &objectTree{root: tree, from: files, when: when},
	}, w, nil
}

// file is one file or link of a working tree.
type file struct {
	mode  fs.FileMode
	id    plumbing.Hash
	size  int64
	key   statKey
	seen  time.Time // when it was hashed
	kept  []byte    // its content, if small
	mtime time.Time
}

// sure says that a file with an equal key is the same: had it been written right
// after it was hashed, a coarse clock could have given the same times.
func (f *file) sure(key statKey) bool {
	return f.key == key && f.seen.Sub(f.mtime) > 2*time.Second
}

// workFiles reads the files of a snapshot of a working tree.
type workFiles struct {
	dir    string
	files  map[string]*file
	limits Limits
}

func (w *workFiles) newest() time.Time {
	var t time.Time
	for _, f := range w.files {
		if f.mtime.After(t) {
			t = f.mtime
		}
	}
	return t
}

func (w *workFiles) content(path string, id plumbing.Hash) ([]byte, error) {
	f := w.files[path]
	if f.kept != nil {
		return bytes.Clone(f.kept), nil
	}
	root, err := os.OpenRoot(w.dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	b, _, err := readEntry(root, path, f.mode, w.limits.ObjectBytes)
	if err != nil {
		return nil, err
	}
	if plumbing.ComputeHash(plumbing.BlobObject, b) != id {
		return nil, ErrChanged
	}
	return b, nil
}

func (w *workFiles) length(path string, _ plumbing.Hash) (int64, error) {
	return w.files[path].size, nil
}

// readEntry reads a file or link without following it, and fails when it changes
// meanwhile. It never blocks, whatever was put in the file's place.
func readEntry(root *os.Root, path string, mode fs.FileMode, limit int64) ([]byte, fs.FileInfo, error) {
	before, err := root.Lstat(path)
	if err != nil {
		return nil, nil, err
	}
	if before.Mode().Type() != mode.Type() {
		return nil, nil, ErrChanged
	}
	if mode.Type() == fs.ModeSymlink {
		to, err := root.Readlink(path)
		return []byte(filepath.ToSlash(to)), before, err
	}
	f, err := root.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	opened, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	if !os.SameFile(before, opened) || !opened.Mode().IsRegular() {
		return nil, nil, ErrChanged
	}
	if opened.Size() > limit {
		return nil, nil, &treeError{path, fmt.Sprintf("has %d bytes, more than %d", opened.Size(), limit), "add it to .gitignore"}
	}
	b := make([]byte, opened.Size())
	if _, err := io.ReadFull(f, b); err != nil {
		return nil, nil, ErrChanged
	}
	after, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	if keyOf(after) != keyOf(opened) {
		return nil, nil, ErrChanged
	}
	return b, opened, nil
}

// hash reads what an earlier look doesn't vouch for.
func (w *dirWalk) hash() error {
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	var fresh []*file // not part of another snapshot yet
	for path, f := range w.files {
		if f.seen.IsZero() {
			fresh = append(fresh, f)
			group.Go(func() error { return w.hashOne(path, f) })
		}
	}
	if err := group.Wait(); err != nil {
		return err
	}
	kept := int64(0)
	for _, f := range w.files {
		kept += int64(len(f.kept))
	}
	for _, f := range fresh {
		if kept > keptAll {
			kept -= int64(len(f.kept))
			f.kept = nil
		}
	}
	return nil
}

func (w *dirWalk) hashOne(path string, f *file) error {
	now := time.Now()
	b, st, err := readEntry(w.root, path, f.mode, w.limits.ObjectBytes)
	if err != nil {
		if errors.Is(err, ErrChanged) || errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s: %w", path, ErrChanged)
		}
		return err
	}
	f.id = plumbing.ComputeHash(plumbing.BlobObject, b)
	f.size, f.key, f.mtime, f.seen = int64(len(b)), keyOf(st), st.ModTime(), now
	if len(b) <= keptFile {
		f.kept = b
	}
	return nil
}

// branch is a directory on the way to becoming a node.
type branch struct {
	names []string // of its files
	path  string
	dirs  map[string]*branch
}

// node builds the tree objects from below, as git would.
func (b *branch) node(files map[string]*file) *node {
	n := &node{height: 1}
	for _, name := range b.names {
		f := files[join(b.path, name)]
		n.entries = append(n.entries, entry{name: name, id: f.id, mode: f.mode})
		n.files++
		n.longest = max(n.longest, len(name))
	}
	for name, d := range b.dirs {
		c := d.node(files)
		n.entries = append(n.entries, entry{name: name, id: c.id, mode: fs.ModeDir | 0o755, dir: c})
		n.files += c.files
		n.height = max(n.height, c.height+1)
		n.longest = max(n.longest, len(name)+1+c.longest)
	}
	n.id = plumbing.ComputeHash(plumbing.TreeObject, encodeTree(n.entries))
	slices.SortFunc(n.entries, func(a, b entry) int { return cmp.Compare(a.name, b.name) })
	return n
}

// encodeTree writes a tree object: entries in git's order, where a directory
// sorts as if its name ended in a slash.
func encodeTree(entries []entry) []byte {
	key := func(e entry) string {
		if e.mode.IsDir() {
			return e.name + "/"
		}
		return e.name
	}
	sorted := slices.SortedFunc(slices.Values(entries), func(a, b entry) int { return strings.Compare(key(a), key(b)) })
	var out []byte
	for _, e := range sorted {
		out = append(out, gitMode(e.mode)...)
		out = append(out, ' ')
		out = append(out, e.name...)
		out = append(out, 0)
		out = append(out, e.id[:]...)
	}
	return out
}

func gitMode(m fs.FileMode) string {
	switch {
	case m.IsDir():
		return "40000"
	case m.Type() == fs.ModeSymlink:
		return "120000"
	case m&0o111 != 0:
		return "100755"
	}
	return "100644"
}

func join(dir, name string) string {
	if dir == "." {
		return name
	}
	return dir + "/" + name
}
