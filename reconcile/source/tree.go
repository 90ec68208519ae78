package source

import (
	"bytes"
	"io"
	"io/fs"
	"path"
	"sort"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
)

// node is one directory that was walked strictly: complete, immutable, sorted by
// name. Equal directories of different revisions share one node.
type node struct {
	id      plumbing.Hash
	entries []entry
	files   int // entries in it and below that are not directories
	height  int // directories below each other, itself included
	longest int // bytes of the longest path below it
}

type entry struct {
	name string
	id   plumbing.Hash
	mode fs.FileMode // type bits and 0644, 0755 or, for links, 0777
	dir  *node       // set for directories
}

func (n *node) find(name string) *entry {
	i := sort.Search(len(n.entries), func(i int) bool { return n.entries[i].name >= name })
	if i < len(n.entries) && n.entries[i].name == name {
		return &n.entries[i]
	}
	return nil
}

// contents gives what files hold, verified against their ids.
type contents interface {
	content(path string, id plumbing.Hash) ([]byte, error)
	length(path string, id plumbing.Hash) (int64, error)
}

// objectTree is the Tree of every Snapshot.
type objectTree struct {
	root *node
	from contents
	when time.Time
}

func (t *objectTree) entry(op, name string) (*entry, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	e := &entry{name: ".", id: t.root.id, mode: fs.ModeDir | 0o755, dir: t.root}
	if name == "." {
		return e, nil
	}
	for part := range strings.SplitSeq(name, "/") {
		if e.dir == nil {
			return nil, &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
		}
		if e = e.dir.find(part); e == nil {
			return nil, &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
		}
	}
	return e, nil
}

func (t *objectTree) info(name string, e *entry) *info {
	return &info{tree: t, path: name, entry: e, size: -1}
}

// ID implements Tree.
func (t *objectTree) ID(name string) (string, error) {
	e, err := t.entry("id", name)
	if err != nil {
		return "", err
	}
	return e.id.String(), nil
}

// Stat describes the entry itself, never what a link points to.
func (t *objectTree) Stat(name string) (fs.FileInfo, error) {
	e, err := t.entry("stat", name)
	if err != nil {
		return nil, err
	}
	i := t.info(name, e)
	if err := i.measure(); err != nil {
		return nil, &fs.PathError{Op: "stat", Path: name, Err: err}
	}
	return i, nil
}

// Lstat is Stat, which makes the tree an fs.ReadLinkFS.
func (t *objectTree) Lstat(name string) (fs.FileInfo, error) { return t.Stat(name) }

// ReadDir lists a directory, sorted by name.
func (t *objectTree) ReadDir(name string) ([]fs.DirEntry, error) {
	e, err := t.entry("readdir", name)
	if err != nil {
		return nil, err
	}
	if e.dir == nil {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: errNotDir}
	}
	out := make([]fs.DirEntry, len(e.dir.entries))
	for i := range e.dir.entries {
		c := &e.dir.entries[i]
		out[i] = t.info(path.Join(name, c.name), c)
	}
	return out, nil
}

// ReadFile gives the verified content of a regular file.
func (t *objectTree) ReadFile(name string) ([]byte, error) {
	e, err := t.entry("read", name)
	if err != nil {
		return nil, err
	}
	if !e.mode.IsRegular() {
		return nil, &fs.PathError{Op: "read", Path: name, Err: notRegular(e.mode)}
	}
	b, err := t.from.content(name, e.id)
	if err != nil {
		return nil, &fs.PathError{Op: "read", Path: name, Err: err}
	}
	return b, nil
}

// ReadLink gives the stored target of a link.
func (t *objectTree) ReadLink(name string) (string, error) {
	e, err := t.entry("readlink", name)
	if err != nil {
		return "", err
	}
	if e.mode.Type() != fs.ModeSymlink {
		return "", &fs.PathError{Op: "readlink", Path: name, Err: fs.ErrInvalid}
	}
	b, err := t.from.content(name, e.id)
	if err != nil {
		return "", &fs.PathError{Op: "readlink", Path: name, Err: err}
	}
	return string(b), nil
}

// Open opens a file or a directory. A link is refused: it is not followed.
func (t *objectTree) Open(name string) (fs.File, error) {
	e, err := t.entry("open", name)
	if err != nil {
		return nil, err
	}
	if e.dir != nil {
		list, err := t.ReadDir(name)
		return &openDir{info: t.info(name, e), list: list}, err
	}
	if !e.mode.IsRegular() {
		return nil, &fs.PathError{Op: "open", Path: name, Err: notRegular(e.mode)}
	}
	b, err := t.ReadFile(name)
	if err != nil {
		return nil, err
	}
	i := t.info(name, e)
	i.size = int64(len(b))
	return &openFile{Reader: bytes.NewReader(b), info: i}, nil
}

// info is both fs.FileInfo and fs.DirEntry of one entry.
type info struct {
	tree  *objectTree
	path  string
	entry *entry
	size  int64 // -1 until measured
}

func (i *info) measure() (err error) {
	switch {
	case i.size >= 0:
	case i.entry.dir != nil:
		i.size = 0
	default:
		i.size, err = i.tree.from.length(i.path, i.entry.id)
	}
	return err
}

func (i *info) Name() string      { return path.Base(i.path) }
func (i *info) Size() int64       { return max(i.size, 0) }
func (i *info) Mode() fs.FileMode { return i.entry.mode }
func (i *info) Type() fs.FileMode { return i.entry.mode.Type() }
func (i *info) IsDir() bool       { return i.entry.dir != nil }
func (i *info) Sys() any          { return nil }
func (i *info) String() string    { return fs.FormatDirEntry(i) }

// ModTime is the time of the revision for every entry: git keeps no other.
func (i *info) ModTime() time.Time { return i.tree.when }

func (i *info) Info() (fs.FileInfo, error) { return i, i.measure() }

type openFile struct {
	*bytes.Reader
	info *info
}

func (f *openFile) Stat() (fs.FileInfo, error) { return f.info, nil }
func (f *openFile) Close() error               { return nil }

type openDir struct {
	info *info
	list []fs.DirEntry
}

func (d *openDir) Stat() (fs.FileInfo, error) { return d.info, d.info.measure() }
func (d *openDir) Close() error               { return nil }

func (d *openDir) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: d.info.path, Err: notRegular(fs.ModeDir)}
}

func (d *openDir) ReadDir(n int) ([]fs.DirEntry, error) {
	if n <= 0 || n > len(d.list) {
		if n > 0 && len(d.list) == 0 {
			return nil, io.EOF
		}
		n = len(d.list)
	}
	out := d.list[:n:n]
	d.list = d.list[n:]
	return out, nil
}

type modeError string

func (e modeError) Error() string { return string(e) }

const errNotDir = modeError("not a directory")

func notRegular(m fs.FileMode) error {
	switch {
	case m.IsDir():
		return modeError("is a directory")
	case m.Type() == fs.ModeSymlink:
		return modeError("is a symbolic link, which is not followed")
	}
	return modeError("not a regular file")
}
