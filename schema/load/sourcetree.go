package load

import (
	"bytes"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// sourceFault is what is wrong with a service's source.
type sourceFault struct{ code, message, hint string }

// sourceResult is the outcome of one source in one run.
type sourceResult struct {
	id    string
	fault *sourceFault
}

// sourceTree gives the id of a source: the git tree id of its directory without
// ten's own config files, so that editing the config of one service is no change
// of the others' source. Where no config file lies below, that is the directory's
// own id.
func (r *run) sourceTree(source string, left omission) (string, *sourceFault, error) {
	if known, ok := r.sources[source]; ok {
		return known.id, known.fault, nil
	}
	fault, err := r.checkSource(source)
	if err != nil {
		return "", nil, err
	}
	res := sourceResult{fault: fault}
	if fault == nil {
		res.id, err = r.treeWithout(source, left)
		if err != nil {
			return "", nil, err
		}
	}
	r.sources[source] = res
	return res.id, res.fault, nil
}

func (r *run) checkSource(source string) (*sourceFault, error) {
	if !fs.ValidPath(source) {
		return &sourceFault{"bad-path", fmt.Sprintf("%q is not a path in the repository", source), "write it from the repository's root"}, nil
	}
	info, err := r.tree.Stat(source)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrInvalid):
		return &sourceFault{"not-found", fmt.Sprintf("there is no directory %q in the repository", source), "paths begin at the repository's root; is it committed?"}, nil
	case err != nil:
		return nil, fmt.Errorf("read %s: %w", source, err)
	case info.Mode()&fs.ModeSymlink != 0:
		return &sourceFault{"symlink", fmt.Sprintf("%q is a symbolic link", source), "name the directory it points to"}, nil
	case !info.IsDir():
		return &sourceFault{"not-a-directory", fmt.Sprintf("%q is a file; a source is a directory", source), fmt.Sprintf("write source = %q", path.Dir(source))}, nil
	}
	s, err := r.survey(source)
	if err != nil {
		return nil, err
	}
	return escapingLink(s.links), nil
}

// escapingLink reports links that lead out of the directory they are in. Each
// is followed through the others, as the kernel would.
func escapingLink(links []link) *sourceFault {
	byPath := make(map[string]string, len(links))
	for _, l := range links {
		byPath[l.path] = l.target
	}
	var bad []link
	for _, l := range links {
		if escapes(byPath, l) {
			bad = append(bad, l)
		}
	}
	if len(bad) == 0 {
		return nil
	}
	f := &sourceFault{
		code:    "link-escapes",
		message: fmt.Sprintf("the link %s -> %s leads out of the source", bad[0].path, bad[0].target),
		hint:    "put a copy in its place, or name a larger part of the repository as source",
	}
	if len(bad) > 1 {
		f.message += fmt.Sprintf(", and so do %d more", len(bad)-1)
	}
	return f
}

// maxHops is how many links the kernel follows in one path; beyond them it is a
// circle, which leads nowhere and so not out.
const maxHops = 40

func escapes(links map[string]string, l link) bool {
	var at []string
	if dir := path.Dir(l.path); dir != "." {
		at = strings.Split(dir, "/")
	}
	if l.target == "" || path.IsAbs(l.target) {
		return true
	}
	rest := strings.Split(l.target, "/")
	for hops := 0; len(rest) > 0; {
		step := rest[0]
		rest = rest[1:]
		switch {
		case step == "" || step == ".":
			continue
		case step == ".." && len(at) == 0:
			return true
		case step == "..":
			at = at[:len(at)-1]
			continue
		}
		target, isLink := links[strings.Join(append(slices.Clone(at), step), "/")]
		if !isLink {
			at = append(at, step)
			continue
		}
		if hops++; hops > maxHops {
			return false
		}
		if target == "" || path.IsAbs(target) {
			return true
		}
		rest = append(strings.Split(target, "/"), rest...)
	}
	return false
}

// omission is the set of files left out of source trees, and of the
// directories above them.
type omission struct{ files, above map[string]bool }

func newOmission(files []string) omission {
	o := omission{make(map[string]bool, len(files)), map[string]bool{".": true}}
	for _, f := range files {
		o.files[f] = true
		for dir := path.Dir(f); dir != "."; dir = path.Dir(dir) {
			o.above[dir] = true
		}
	}
	return o
}

// emptyTree is git's id of a tree without entries.
const emptyTree = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"

// treeWithout gives the git tree id that a directory has without the files left
// out. As in git, a directory that becomes empty is not there.
func (r *run) treeWithout(dir string, o omission) (string, error) {
	if !o.above[dir] || len(o.files) == 0 {
		id, err := r.tree.ID(dir)
		if err != nil {
			return "", fmt.Errorf("read directory %s: %w", dir, err)
		}
		return id, nil
	}
	entries, err := r.tree.ReadDir(dir)
	if err != nil {
		return "", fmt.Errorf("read directory %s: %w", dir, err)
	}
	var kept []treeEntry
	for _, e := range entries {
		full := path.Join(dir, e.Name())
		if o.files[full] {
			continue
		}
		entry, err := r.treeEntry(e, full, o)
		if err != nil {
			return "", err
		}
		if entry.id != emptyTree {
			kept = append(kept, entry)
		}
	}
	return hashTree(kept)
}

// treeEntry is one line of a git tree object.
type treeEntry struct{ mode, name, id string }

func (r *run) treeEntry(e fs.DirEntry, full string, o omission) (treeEntry, error) {
	if e.IsDir() {
		id, err := r.treeWithout(full, o)
		return treeEntry{"40000", e.Name(), id}, err
	}
	id, err := r.tree.ID(full)
	if err != nil {
		return treeEntry{}, fmt.Errorf("read %s: %w", full, err)
	}
	if e.Type()&fs.ModeSymlink != 0 {
		return treeEntry{"120000", e.Name(), id}, nil
	}
	info, err := e.Info()
	if err != nil {
		return treeEntry{}, fmt.Errorf("read %s: %w", full, err)
	}
	if info.Mode()&0o111 != 0 {
		return treeEntry{"100755", e.Name(), id}, nil
	}
	return treeEntry{"100644", e.Name(), id}, nil
}

// hashTree gives the id of a tree object. Git sorts directories as if their
// names ended in a slash.
func hashTree(entries []treeEntry) (string, error) {
	sortName := func(e treeEntry) string {
		if e.mode == "40000" {
			return e.name + "/"
		}
		return e.name
	}
	slices.SortFunc(entries, func(a, b treeEntry) int { return strings.Compare(sortName(a), sortName(b)) })
	var body bytes.Buffer
	for _, e := range entries {
		raw, err := hex.DecodeString(e.id)
		if err != nil || len(raw) != sha1.Size {
			return "", fmt.Errorf("object id %q of %s is not 40 hex digits", e.id, e.name)
		}
		fmt.Fprintf(&body, "%s %s\x00%s", e.mode, e.name, raw)
	}
	h := sha1.New()
	fmt.Fprintf(h, "tree %d\x00", body.Len())
	h.Write(body.Bytes())
	return hex.EncodeToString(h.Sum(nil)), nil
}
