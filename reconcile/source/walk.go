package source

import (
	"bytes"
	"fmt"
	"io/fs"
	"sort"
	"strings"
	"unicode/utf8"

	"github.com/go-git/go-git/v5/plumbing"
)

// Limits bound what one repository may cost. Zero fields take the defaults.
type Limits struct {
	PackBytes   int64 // of one fetch as sent; 200 MB
	ObjectBytes int64 // of one file, tree or commit, unpacked; 100 MB
	Files       int   // in one revision; 200,000
	Depth       int   // directories below each other; 64
	PathBytes   int   // of one path; 1,024
	TreeBytes   int64 // of a working tree altogether; 1 GB
}

func (l Limits) orDefault() Limits {
	set := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	if l.PackBytes <= 0 {
		l.PackBytes = 200 << 20
	}
	if l.ObjectBytes <= 0 {
		l.ObjectBytes = 100 << 20
	}
	if l.TreeBytes <= 0 {
		l.TreeBytes = 1 << 30
	}
	set(&l.Files, 200_000)
	set(&l.Depth, 64)
	set(&l.PathBytes, 1024)
	return l
}

// treeError says which entry of a tree breaks a rule.
type treeError struct {
	path, reason, hint string
}

func (e *treeError) Error() string { return fmt.Sprintf("%q: %s", e.path, e.reason) }

// below moves an error one directory up.
func below(dir string, err error) error {
	if t, ok := err.(*treeError); ok {
		return &treeError{dir + "/" + t.path, t.reason, t.hint}
	}
	return fmt.Errorf("%s: %w", dir, err)
}

// walker reads trees whole. It fails on the first thing it can't read or must
// not accept, so that a missing piece is never mistaken for a smaller tree.
type walker struct {
	tree   func(plumbing.Hash) ([]byte, error) // verified content of a tree object
	has    func(plumbing.Hash) bool            // whether a file's object is there
	limits Limits
	// known are nodes of earlier walks over the same store; seen are this walk's.
	known, seen map[plumbing.Hash]*node
}

func (w *walker) dir(id plumbing.Hash, depth int) (*node, error) {
	if n := w.seen[id]; n != nil {
		return n, nil
	}
	if n := w.known[id]; n != nil {
		w.keep(n)
		return n, nil
	}
	if depth > w.limits.Depth {
		return nil, &treeError{".", fmt.Sprintf("more than %d directories below each other", w.limits.Depth), ""}
	}
	raw, err := w.tree(id)
	if err != nil {
		return nil, err
	}
	entries, err := parseTree(raw)
	if err != nil {
		return nil, err
	}
	n := &node{id: id, entries: entries, height: 1}
	for i := range n.entries {
		if err := w.entry(n, &n.entries[i], depth); err != nil {
			return nil, err
		}
	}
	sort.Slice(n.entries, func(i, j int) bool { return n.entries[i].name < n.entries[j].name })
	w.seen[id] = n
	return n, w.check(n)
}

func (w *walker) entry(n *node, e *entry, depth int) error {
	longest := len(e.name)
	if e.mode.IsDir() {
		d, err := w.dir(e.id, depth+1)
		if err != nil {
			return below(e.name, err)
		}
		e.dir = d
		n.files += d.files
		n.height = max(n.height, d.height+1)
		longest += 1 + d.longest
	} else {
		if !w.has(e.id) {
			return corrupt("missing object", fmt.Errorf("%s: object %s not found", e.name, e.id))
		}
		n.files++
	}
	n.longest = max(n.longest, longest)
	return nil
}

// check holds the limits by sums kept in nodes: a tree that names one subtree
// many times is counted as many, though it is read once.
func (w *walker) check(n *node) error {
	switch l := w.limits; {
	case n.files > l.Files:
		return &treeError{".", fmt.Sprintf("more than %d files", l.Files), "serve a smaller directory with --path"}
	case n.longest > l.PathBytes:
		return &treeError{".", fmt.Sprintf("a path longer than %d bytes", l.PathBytes), ""}
	case n.height > l.Depth:
		return &treeError{".", fmt.Sprintf("more than %d directories below each other", l.Depth), ""}
	}
	return nil
}

// keep carries a known node and all below it into this walk's set.
func (w *walker) keep(n *node) {
	if w.seen[n.id] != nil {
		return
	}
	w.seen[n.id] = n
	for i := range n.entries {
		if d := n.entries[i].dir; d != nil {
			w.keep(d)
		}
	}
}

// parseTree reads one tree object. Entries keep git's order, which it demands:
// a tree out of order could hold a name twice.
func parseTree(raw []byte) ([]entry, error) {
	entries := make([]entry, 0, len(raw)/40+1)
	prev := ""
	err := eachEntry(raw, func(mode, name string, id plumbing.Hash) error {
		e := entry{name: name, id: id}
		if err := checkName(e.name); err != nil {
			return err
		}
		if err := e.setMode(mode); err != nil {
			return err
		}
		key := e.name
		if e.mode.IsDir() {
			key += "/"
		}
		if prev != "" && key <= prev {
			return &treeError{e.name, "entries of the tree object are not sorted or not unique", fsckHint}
		}
		prev = key
		entries = append(entries, e)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return entries, dupes(entries)
}

const fsckHint = "run git fsck in the repository it was pushed from"

// eachEntry calls f with every entry of a tree object, whatever it is.
func eachEntry(raw []byte, f func(mode, name string, id plumbing.Hash) error) error {
	for len(raw) > 0 {
		sp := bytes.IndexByte(raw, ' ')
		nul := bytes.IndexByte(raw, 0)
		if sp < 1 || nul < sp || len(raw) < nul+1+20 {
			return &treeError{".", "malformed tree object", fsckHint}
		}
		id := plumbing.Hash(raw[nul+1 : nul+21])
		if err := f(string(raw[:sp]), string(raw[sp+1:nul]), id); err != nil {
			return err
		}
		raw = raw[nul+21:]
	}
	return nil
}

// dupes finds a file and a directory of one name, which sort apart ("a", "a.b",
// "a/") and so pass the order test.
func dupes(entries []entry) error {
	names := make(map[string]bool)
	for i := range entries {
		if entries[i].mode.IsDir() {
			names[entries[i].name] = true
		}
	}
	for i := range entries {
		if e := &entries[i]; !e.mode.IsDir() && names[e.name] {
			return &treeError{e.name, "is both a file and a directory", fsckHint}
		}
	}
	return nil
}

func (e *entry) setMode(mode string) error {
	switch mode {
	case "40000":
		e.mode = fs.ModeDir | 0o755
	case "100644":
		e.mode = 0o644
	case "100755":
		e.mode = 0o755
	case "120000":
		e.mode = fs.ModeSymlink | 0o777
	case "160000":
		return &treeError{e.name, "is a submodule, which is not fetched", "commit its files instead, or serve a directory without it with --path"}
	default:
		return &treeError{e.name, "has the unknown mode " + mode, fsckHint}
	}
	return nil
}

func checkName(name string) error {
	switch {
	case name == "" || name == "." || name == ".." || strings.Contains(name, "/"):
		return &treeError{name, "is not a file name", fsckHint}
	case strings.EqualFold(name, ".git"):
		return &treeError{name, "is a name that git keeps for itself", fsckHint}
	case !utf8.ValidString(name):
		return &treeError{name, "has a name that is not valid UTF-8", "rename it"}
	}
	return nil
}
