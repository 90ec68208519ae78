package source

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"

	gitconfig "github.com/go-git/go-git/v5/config"
	"github.com/go-git/go-git/v5/plumbing"
)

// local is a repository on this machine. It is read in this process: no git
// binary is needed, and none of its hooks or settings run.
type local struct {
	path   string
	limits Limits
}

// gitDirs finds the directories of the repository at path: bare, with a work
// tree, or a linked work tree of another.
func gitDirs(path string) (common string, err error) {
	dir := path
	if st, err := os.Stat(filepath.Join(path, ".git")); err == nil {
		dir = filepath.Join(path, ".git")
		if !st.IsDir() {
			if dir, err = gitFile(dir); err != nil {
				return "", err
			}
		}
	}
	common = dir
	if b, err := os.ReadFile(filepath.Join(dir, "commondir")); err == nil {
		common = joinFrom(dir, strings.TrimSpace(string(b)))
	}
	for _, need := range []string{"HEAD", "objects", "refs"} {
		if _, err := os.Stat(filepath.Join(common, need)); err != nil {
			return "", fmt.Errorf("%s is not a git repository: %w", path, err)
		}
	}
	return common, nil
}

// gitFile follows a .git file, which names the directory of a linked work tree.
func gitFile(name string) (string, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return "", err
	}
	target, ok := strings.CutPrefix(strings.TrimSpace(string(b)), "gitdir: ")
	if !ok {
		return "", fmt.Errorf("%s doesn't name a git directory", name)
	}
	return joinFrom(filepath.Dir(name), target), nil
}

func joinFrom(dir, target string) string {
	if filepath.IsAbs(target) {
		return target
	}
	return filepath.Join(dir, target)
}

func (l *local) connect(context.Context) (session, error) {
	dir, err := gitDirs(l.path)
	if err != nil {
		return nil, &FetchError{Class: ClassConfig, Err: err, Hint: "check the path given with --repo"}
	}
	if err := checkFormat(dir); err != nil {
		return nil, err
	}
	r, err := readRefs(dir)
	if err != nil {
		return nil, err
	}
	return &localSession{dir: dir, limits: l.limits, list: r}, nil
}

// checkFormat refuses repositories in formats that can't be read here.
func checkFormat(dir string) error {
	f, err := os.Open(filepath.Join(dir, "config"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	cfg, err := gitconfig.ReadConfig(f)
	if err != nil {
		return &FetchError{Class: ClassConfig, Err: fmt.Errorf("%s: %w", f.Name(), err), Hint: "repair the repository's config file"}
	}
	ext := cfg.Raw.Section("extensions")
	if v := strings.ToLower(ext.Option("objectformat")); v != "" && v != "sha1" {
		return &FetchError{Class: ClassConfig, Err: fmt.Errorf("object format %q can't be read", v),
			Hint: "use a repository made with git init --object-format=sha1"}
	}
	if v := strings.ToLower(ext.Option("refstorage")); v != "" && v != "files" {
		return &FetchError{Class: ClassConfig, Err: fmt.Errorf("ref format %q can't be read", v),
			Hint: "run git refs migrate --ref-format=files in it"}
	}
	return nil
}

// readRefs reads the branches of a repository from its files.
func readRefs(dir string) (*refs, error) {
	r := &refs{heads: map[string]plumbing.Hash{}}
	symbolic := map[string]string{}
	if err := packedRefs(dir, r); err != nil {
		return nil, err
	}
	heads := filepath.Join(dir, "refs", "heads")
	err := filepath.WalkDir(heads, func(name string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // deleted while it was listed, or none at all
		}
		if err != nil || d.IsDir() || strings.HasSuffix(name, ".lock") {
			return err
		}
		branch, _ := filepath.Rel(heads, name)
		return looseRef(name, filepath.ToSlash(branch), r, symbolic)
	})
	if err != nil {
		return nil, err
	}
	for name, target := range symbolic {
		if h, ok := r.heads[strings.TrimPrefix(target, "refs/heads/")]; ok {
			r.heads[name] = h
		}
	}
	if b, err := os.ReadFile(filepath.Join(dir, "HEAD")); err == nil {
		r.head, _ = strings.CutPrefix(strings.TrimSpace(string(b)), "ref: refs/heads/")
	}
	if b, err := os.ReadFile(filepath.Join(dir, "shallow")); err == nil {
		for line := range strings.FieldsSeq(string(b)) {
			r.shallow = append(r.shallow, plumbing.NewHash(line))
		}
	}
	return r, nil
}

func packedRefs(dir string, r *refs) error {
	f, err := os.Open(filepath.Join(dir, "packed-refs"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		hash, name, _ := strings.Cut(lines.Text(), " ")
		if branch, ok := strings.CutPrefix(name, "refs/heads/"); ok && plumbing.IsHash(hash) {
			r.heads[branch] = plumbing.NewHash(hash)
		}
	}
	return lines.Err()
}

func looseRef(name, branch string, r *refs, symbolic map[string]string) error {
	b, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	text := strings.TrimSpace(string(b))
	if target, ok := strings.CutPrefix(text, "ref: "); ok {
		symbolic[branch] = target
		return nil
	}
	if !plumbing.IsHash(text) {
		return &FetchError{Class: ClassCorrupt, Err: fmt.Errorf("ref file %s is damaged", name),
			Hint: "push the branch again, or run git fsck in that repository"}
	}
	r.heads[branch] = plumbing.NewHash(text)
	return nil
}

type localSession struct {
	dir    string
	limits Limits
	list   *refs
}

func (s *localSession) refs() *refs { return s.list }
func (s *localSession) close()      {}

// fetch copies what is missing. A first fetch takes the packs as they are and
// then whatever of the branch is not in them; later ones take single objects.
func (s *localSession) fetch(ctx context.Context, want request, sink func(io.Reader) error) error {
	from := openForeign(objectDirs(filepath.Join(s.dir, "objects"), 0), s.limits)
	defer from.close()
	c := copier{ctx: ctx, from: from, has: want.has, full: len(want.haves) == 0,
		seen: map[plumbing.Hash]bool{}, shallow: map[plumbing.Hash]bool{}}
	for _, h := range s.list.shallow {
		c.shallow[h] = true
	}
	if c.full {
		if err := s.packs(ctx, from.dirs, sink); err != nil {
			return err
		}
	}
	for _, h := range want.wants {
		if err := c.commits(h); err != nil {
			return s.damaged(err)
		}
	}
	if len(c.list) == 0 {
		return nil
	}
	r, w := io.Pipe()
	defer r.Close()
	go func() { w.CloseWithError(s.damaged(writePack(w, from, c.list))) }()
	return sink(r)
}

// damaged keeps damage at the remote apart from damage of the mirror, which a
// new clone could repair.
func (s *localSession) damaged(err error) error {
	if c := (*corruptError)(nil); errors.As(err, &c) {
		return &FetchError{Class: ClassCorrupt, Err: fmt.Errorf("the repository itself is damaged: %w", err),
			Hint: "run git fsck in " + s.dir}
	}
	return err
}

func (s *localSession) packs(ctx context.Context, dirs []string, sink func(io.Reader) error) error {
	left := s.limits.PackBytes
	for _, dir := range dirs {
		names, _ := filepath.Glob(filepath.Join(dir, "pack", "*.pack"))
		sort.Strings(names)
		for _, name := range names {
			f, err := os.Open(name)
			if errors.Is(err, fs.ErrNotExist) {
				continue // repacked meanwhile: its objects are found one by one
			}
			if err != nil {
				return err
			}
			in := &limited{ctx: ctx, r: f, left: left, limit: s.limits.PackBytes}
			err = sink(in)
			left = in.left
			f.Close()
			if err != nil {
				return s.damaged(err)
			}
		}
	}
	return nil
}

// objectDirs is an objects directory and those it borrows from.
func objectDirs(dir string, depth int) []string {
	dirs := []string{dir}
	b, err := os.ReadFile(filepath.Join(dir, "info", "alternates"))
	if err != nil || depth > 5 {
		return dirs
	}
	for line := range strings.Lines(string(b)) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			dirs = append(dirs, objectDirs(joinFrom(dir, line), depth+1)...)
		}
	}
	return dirs
}

// copier lists the objects that a mirror lacks. Unless full, it relies on what a
// mirror promises: whoever has a commit or tree has everything below it.
type copier struct {
	ctx           context.Context
	from          *objects
	has           func(plumbing.Hash) bool
	full          bool
	shallow, seen map[plumbing.Hash]bool
	list          []plumbing.Hash
}

// visit says whether h needs to be looked into, and lists it if it is missing.
func (c *copier) visit(h plumbing.Hash) bool {
	if c.seen[h] {
		return false
	}
	c.seen[h] = true
	if c.has(h) {
		return c.full
	}
	c.list = append(c.list, h)
	return true
}

func (c *copier) commits(head plumbing.Hash) error {
	for todo := []plumbing.Hash{head}; len(todo) > 0; {
		id := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if !c.visit(id) {
			continue
		}
		if err := c.ctx.Err(); err != nil {
			return err
		}
		commit, err := history{from: c.from}.commit(id)
		if err != nil {
			return err
		}
		if err := c.tree(commit.TreeHash); err != nil {
			return err
		}
		if !c.shallow[id] {
			todo = append(todo, commit.ParentHashes...)
		}
	}
	return nil
}

// tree lists a tree and what is below it; with a stack of its own, since nobody
// promises that somebody else's trees are flat.
func (c *copier) tree(root plumbing.Hash) error {
	for todo := []plumbing.Hash{root}; len(todo) > 0; {
		id := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if !c.visit(id) {
			continue
		}
		raw, err := c.from.read(plumbing.TreeObject, id)
		if err != nil {
			return err
		}
		err = eachEntry(raw, func(mode, _ string, h plumbing.Hash) error {
			switch mode {
			case "160000": // a submodule: its commits are somewhere else
			case "40000":
				todo = append(todo, h)
			default:
				c.visit(h)
			}
			return nil
		})
		if err != nil {
			return corrupt("bad object", err)
		}
	}
	return nil
}
