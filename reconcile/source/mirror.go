package source

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
)

// A mirror is a bare repository that holds what was fetched of one remote:
//
//	DIR/lock                    held by the process that uses it
//	DIR/mirror.git/             HEAD, config, objects/pack, refs/ten/NAME
//	DIR/mirror.git/ten          the remote it was made from, and its first packs
//	DIR/new-*, DIR/old-*        a mirror being built, one being thrown away
//
// It is a cache: whatever is wrong with it, a new one is built beside it and
// takes its place by a rename. Promise: whoever finds a commit or tree in it
// finds everything below it, since packs arrive whole and a first fetch is not
// seen before it is complete.
type mirror struct {
	root    string
	origin  string
	limits  Limits
	lock    *os.File
	store   *objects
	shallow map[plumbing.Hash]bool
	tips    map[string]plumbing.Hash // refs/ten/NAME
	first   int                      // packs it was built with
	damage  error                    // why it can't be used and must be built anew; nil when it is sound
}

var errNoMirror = errors.New("no mirror yet")

// openMirror locks and opens the mirror in root. Damage is no error but noted.
func openMirror(root, origin string, limits Limits) (*mirror, error) {
	if err := os.MkdirAll(root, 0o700); err != nil {
		return nil, diskError(err)
	}
	lock, err := lockFile(filepath.Join(root, "lock"))
	if err != nil {
		return nil, err
	}
	m := &mirror{root: root, origin: origin, limits: limits, lock: lock}
	for _, pattern := range []string{"new-*", "old-*"} {
		left, _ := filepath.Glob(filepath.Join(root, pattern))
		for _, dir := range left {
			if err := os.RemoveAll(dir); err != nil {
				m.close()
				return nil, diskError(err)
			}
		}
	}
	m.damage = m.load()
	return m, nil
}

// look notes when somebody removed the mirror under us: then a new one is built.
func (m *mirror) look() error {
	_, err := os.Stat(filepath.Join(m.dir(), "ten"))
	if m.damage != nil || !errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := os.MkdirAll(m.root, 0o700); err != nil {
		return diskError(err)
	}
	m.lock.Close() // the file may be gone as well
	if m.lock, err = lockFile(filepath.Join(m.root, "lock")); err != nil {
		return err
	}
	m.damage = errNoMirror
	return nil
}

func diskError(err error) error {
	return &FetchError{Class: ClassDisk, Err: err, Hint: "make room in the data directory, or give it to the user that ten runs as"}
}

func (m *mirror) dir() string { return filepath.Join(m.root, "mirror.git") }

// load reads the mirror in place; an error says why it can't be used.
func (m *mirror) load() error {
	dir := m.dir()
	note, err := os.ReadFile(filepath.Join(dir, "ten"))
	if errors.Is(err, fs.ErrNotExist) {
		return errNoMirror
	}
	if err != nil {
		return corrupt("bad mirror", err)
	}
	packs, origin, _ := strings.Cut(strings.TrimSpace(string(note)), " ")
	if origin != m.origin {
		return errNoMirror
	}
	m.first, _ = strconv.Atoi(packs)
	if err := sweepPacks(filepath.Join(dir, "objects", "pack")); err != nil {
		return corrupt("bad mirror", err)
	}
	if m.tips, err = readTips(filepath.Join(dir, "refs", "ten")); err != nil {
		return err
	}
	m.shallow = map[plumbing.Hash]bool{}
	if b, err := os.ReadFile(filepath.Join(dir, "shallow")); err == nil {
		for id := range strings.FieldsSeq(string(b)) {
			m.shallow[plumbing.NewHash(id)] = true
		}
	}
	m.store, err = openMirrored(filepath.Join(dir, "objects"), m.limits)
	return err
}

// sweepPacks removes what a killed fetch left: temporary files, and packs whose
// index was never written.
func sweepPacks(dir string) error {
	names, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, n := range names {
		name := filepath.Join(dir, n.Name())
		stale := strings.HasPrefix(n.Name(), "tmp_")
		if base, ok := strings.CutSuffix(name, ".pack"); ok {
			_, err := os.Stat(base + ".idx")
			stale = errors.Is(err, fs.ErrNotExist)
		}
		if stale {
			if err := os.Remove(name); err != nil {
				return err
			}
		}
	}
	return nil
}

func readTips(dir string) (map[string]plumbing.Hash, error) {
	names, err := os.ReadDir(dir)
	if err != nil {
		return nil, corrupt("bad ref", err)
	}
	tips := map[string]plumbing.Hash{}
	for _, n := range names {
		if strings.HasPrefix(n.Name(), "tmp_") {
			continue
		}
		b, err := os.ReadFile(filepath.Join(dir, n.Name()))
		if err != nil {
			return nil, corrupt("bad ref", err)
		}
		id := strings.TrimSpace(string(b))
		if !plumbing.IsHash(id) {
			return nil, corrupt("bad ref", fmt.Errorf("%s does not hold an object id", n.Name()))
		}
		tips[n.Name()] = plumbing.NewHash(id)
	}
	return tips, nil
}

// build makes a new mirror beside the old one and puts it in its place. fill
// fetches into it. When fill fails, the old one stays untouched.
func (m *mirror) build(fill func(*mirror) error) error {
	tmp, err := os.MkdirTemp(m.root, "new-")
	if err != nil {
		return diskError(err)
	}
	defer os.RemoveAll(tmp)
	n := &mirror{root: tmp, origin: m.origin, limits: m.limits}
	if err := n.create(); err != nil {
		return diskError(err)
	}
	err = fill(n)
	first := n.store.packCount()
	n.store.close()
	if err != nil {
		return err
	}
	note := fmt.Appendf(nil, "%d %s\n", first, m.origin)
	if err := replaceFile(n.dir(), filepath.Join(n.dir(), "ten"), note); err != nil {
		return diskError(err)
	}
	return m.swap(n.dir())
}

// swap puts a built mirror in place. The store of the old one stays open.
func (m *mirror) swap(dir string) error {
	old, err := os.MkdirTemp(m.root, "old-")
	if err != nil {
		return diskError(err)
	}
	defer os.RemoveAll(old)
	err = os.Rename(m.dir(), filepath.Join(old, "mirror.git"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return diskError(err)
	}
	if err := os.Rename(dir, m.dir()); err != nil {
		return diskError(err)
	}
	if err := syncDir(m.root); err != nil {
		return diskError(err)
	}
	m.damage = m.load()
	return m.damage
}

// create makes an empty bare repository that git can read too. git must leave
// it alone, hence gc.auto and maintenance.auto.
func (m *mirror) create() error {
	dir := m.dir()
	for _, d := range []string{"objects/pack", "objects/info", "refs/heads", "refs/ten"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o700); err != nil {
			return err
		}
	}
	config := "[core]\n\trepositoryformatversion = 0\n\tbare = true\n[gc]\n\tauto = 0\n[maintenance]\n\tauto = false\n"
	for name, text := range map[string]string{"HEAD": "ref: refs/heads/none\n", "config": config} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	m.tips, m.shallow = map[string]plumbing.Hash{}, map[plumbing.Hash]bool{}
	var err error
	m.store, err = openMirrored(filepath.Join(dir, "objects"), m.limits)
	return err
}

// setTips records what was fetched last, after its objects are on disk. Each ref
// is replaced by a rename: a kill leaves the old one or the new one.
func (m *mirror) setTips(tips map[string]plumbing.Hash, shallow []plumbing.Hash) error {
	dir := filepath.Join(m.dir(), "refs", "ten")
	for name, id := range tips {
		if m.tips[name] == id {
			continue
		}
		if err := replaceFile(dir, filepath.Join(dir, name), []byte(id.String()+"\n")); err != nil {
			return diskError(err)
		}
		m.tips[name] = id
	}
	if len(shallow) == 0 {
		return nil
	}
	var text strings.Builder
	for _, id := range shallow {
		m.shallow[id] = true
		text.WriteString(id.String() + "\n")
	}
	if err := replaceFile(m.dir(), filepath.Join(m.dir(), "shallow"), []byte(text.String())); err != nil {
		return diskError(err)
	}
	return nil
}

// bytes is what the mirror takes on disk.
func (m *mirror) bytes() int64 {
	var sum int64
	_ = filepath.WalkDir(m.dir(), func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		if i, err := d.Info(); err == nil && i.Mode().IsRegular() {
			sum += i.Size()
		}
		return nil
	})
	return sum
}

func (m *mirror) history() history { return history{m.store, m.shallow} }

func (m *mirror) close() {
	if m.store != nil {
		m.store.close()
	}
	m.lock.Close()
}
