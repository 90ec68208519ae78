package load_test

import (
	"bytes"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"testing/fstest"
)

// memTree is a tree in memory with git object ids.
type memTree struct {
	fstest.MapFS
	ids   map[string]string
	reads int
}

// newTree makes a tree of files by path. A path "a -> b" is a symbolic link.
func newTree(files map[string]string) *memTree {
	t := &memTree{MapFS: fstest.MapFS{}, ids: map[string]string{}}
	for name, data := range files {
		t.set(name, data)
	}
	return t
}

// set writes or replaces a file, and changes the ids of what is above it.
func (t *memTree) set(name, data string) {
	mode := fs.FileMode(0o644)
	if link, target, ok := strings.Cut(name, " -> "); ok {
		name, data, mode = link, target, fs.ModeSymlink|0o777
	}
	if strings.HasPrefix(data, "#!") {
		mode |= 0o111
	}
	t.MapFS[name] = &fstest.MapFile{Data: []byte(data), Mode: mode}
	for ; name != "."; name = path.Dir(name) {
		delete(t.ids, name)
	}
	delete(t.ids, ".")
}

func (t *memTree) ReadFile(name string) ([]byte, error) {
	t.reads++
	f := t.MapFS[name]
	if f == nil {
		return nil, &fs.PathError{Op: "read", Path: name, Err: fs.ErrNotExist}
	}
	return slices.Clone(f.Data), nil
}

func (t *memTree) Stat(name string) (fs.FileInfo, error) { return t.Lstat(name) }

func (t *memTree) ReadLink(name string) (string, error) { return string(t.MapFS[name].Data), nil }

func (t *memTree) ID(name string) (string, error) {
	if id, ok := t.ids[name]; ok {
		return id, nil
	}
	id, err := t.hash(name)
	t.ids[name] = id
	return id, err
}

func (t *memTree) hash(name string) (string, error) {
	if f := t.MapFS[name]; f != nil && !f.Mode.IsDir() {
		return objectID("blob", f.Data), nil
	}
	entries, err := t.ReadDir(name)
	if err != nil {
		return "", err
	}
	type line struct{ sort, text string }
	var lines []line
	for _, e := range entries {
		id, err := t.ID(path.Join(name, e.Name()))
		if err != nil {
			return "", err
		}
		raw, _ := hex.DecodeString(id)
		mode, sort := "100644", e.Name()
		switch {
		case e.IsDir():
			mode, sort = "40000", e.Name()+"/"
		case e.Type()&fs.ModeSymlink != 0:
			mode = "120000"
		case t.MapFS[path.Join(name, e.Name())].Mode&0o111 != 0:
			mode = "100755"
		}
		lines = append(lines, line{sort, mode + " " + e.Name() + "\x00" + string(raw)})
	}
	slices.SortFunc(lines, func(a, b line) int { return strings.Compare(a.sort, b.sort) })
	var body bytes.Buffer
	for _, l := range lines {
		body.WriteString(l.text)
	}
	return objectID("tree", body.Bytes()), nil
}

func objectID(kind string, data []byte) string {
	h := sha1.New()
	fmt.Fprintf(h, "%s %d\x00%s", kind, len(data), data)
	return hex.EncodeToString(h.Sum(nil))
}
