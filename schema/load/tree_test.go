package load_test

import (
	"bytes"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"time"
)

// memTree is a tree in memory with git object ids, which are known beforehand as
// those of a commit are.
type memTree struct {
	root  *memFile
	reads int // files read
}

// memFile is a file, directory or link: its own fs.DirEntry and fs.FileInfo.
type memFile struct {
	name     string
	mode     fs.FileMode
	data     string
	children map[string]*memFile
	id       string
}

func (f *memFile) Name() string               { return f.name }
func (f *memFile) IsDir() bool                { return f.mode.IsDir() }
func (f *memFile) Type() fs.FileMode          { return f.mode.Type() }
func (f *memFile) Info() (fs.FileInfo, error) { return f, nil }
func (f *memFile) Size() int64                { return int64(len(f.data)) }
func (f *memFile) Mode() fs.FileMode          { return f.mode }
func (f *memFile) ModTime() time.Time         { return time.Time{} }
func (f *memFile) Sys() any                   { return nil }

// newTree makes a tree of files by path. A path "a -> b" is a symbolic link; a
// file that begins with #! is executable.
func newTree(files map[string]string) *memTree {
	t := &memTree{root: newDir(".")}
	for name, data := range files {
		t.put(name, data)
	}
	t.root.hash()
	return t
}

func newDir(name string) *memFile {
	return &memFile{name: name, mode: fs.ModeDir | 0o755, children: map[string]*memFile{}}
}

// set writes or replaces a file.
func (t *memTree) set(name, data string) {
	t.put(name, data)
	t.root.hash()
}

func (t *memTree) put(name, data string) {
	mode := fs.FileMode(0o644)
	if link, target, ok := strings.Cut(name, " -> "); ok {
		name, data, mode = link, target, fs.ModeSymlink|0o777
	} else if strings.HasPrefix(data, "#!") {
		mode = 0o755
	}
	dir := t.root
	dir.id = ""
	parts := strings.Split(name, "/")
	for _, part := range parts[:len(parts)-1] {
		if dir.children[part] == nil {
			dir.children[part] = newDir(part)
		}
		dir = dir.children[part]
		dir.id = ""
	}
	dir.children[parts[len(parts)-1]] = &memFile{name: parts[len(parts)-1], mode: mode, data: data}
}

// remove takes a file out, and the directories that become empty: git has none.
func (t *memTree) remove(name string) {
	for {
		parent, err := t.find(path.Dir(name))
		if err != nil {
			return
		}
		delete(parent.children, path.Base(name))
		name = path.Dir(name)
		if len(parent.children) > 0 || name == "." {
			break
		}
	}
	for dir := name; ; dir = path.Dir(dir) {
		if f, err := t.find(dir); err == nil {
			f.id = ""
		}
		if dir == "." {
			break
		}
	}
	t.root.hash()
}

func (f *memFile) hash() string {
	if f.id != "" {
		return f.id
	}
	if !f.IsDir() {
		f.id = objectID("blob", []byte(f.data))
		return f.id
	}
	sortName := func(c *memFile) string {
		if c.IsDir() {
			return c.name + "/"
		}
		return c.name
	}
	children := slices.SortedFunc(maps.Values(f.children), func(a, b *memFile) int { return strings.Compare(sortName(a), sortName(b)) })
	var body bytes.Buffer
	for _, c := range children {
		mode := "100644"
		switch {
		case c.IsDir():
			mode = "40000"
		case c.mode&fs.ModeSymlink != 0:
			mode = "120000"
		case c.mode&0o111 != 0:
			mode = "100755"
		}
		raw, _ := hex.DecodeString(c.hash())
		fmt.Fprintf(&body, "%s %s\x00%s", mode, c.name, raw)
	}
	f.id = objectID("tree", body.Bytes())
	return f.id
}

func objectID(kind string, data []byte) string {
	h := sha1.New()
	fmt.Fprintf(h, "%s %d\x00%s", kind, len(data), data)
	return hex.EncodeToString(h.Sum(nil))
}

func (t *memTree) find(name string) (*memFile, error) {
	f := t.root
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "find", Path: name, Err: fs.ErrInvalid}
	}
	if name == "." {
		return f, nil
	}
	for part := range strings.SplitSeq(name, "/") {
		if f = f.children[part]; f == nil {
			return nil, &fs.PathError{Op: "find", Path: name, Err: fs.ErrNotExist}
		}
	}
	return f, nil
}

func (t *memTree) Open(name string) (fs.File, error) {
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
}

func (t *memTree) ReadDir(name string) ([]fs.DirEntry, error) {
	f, err := t.find(name)
	if err != nil {
		return nil, err
	}
	entries := make([]fs.DirEntry, 0, len(f.children))
	for _, key := range slices.Sorted(maps.Keys(f.children)) {
		entries = append(entries, f.children[key])
	}
	return entries, nil
}

func (t *memTree) ReadFile(name string) ([]byte, error) {
	t.reads++
	f, err := t.find(name)
	if err != nil {
		return nil, err
	}
	return []byte(f.data), nil
}

func (t *memTree) Stat(name string) (fs.FileInfo, error) { return t.find(name) }

func (t *memTree) ReadLink(name string) (string, error) {
	f, err := t.find(name)
	if err != nil {
		return "", err
	}
	return f.data, nil
}

func (t *memTree) ID(name string) (string, error) {
	f, err := t.find(name)
	if err != nil {
		return "", err
	}
	return f.id, nil
}
