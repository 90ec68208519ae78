package source

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	gitconfig "github.com/go-git/go-git/v5/config"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/format/index"
)

// dirWalk lists a working tree.
type dirWalk struct {
	root    *os.Root
	limits  Limits
	exclude map[string]bool // absolute
	abs     string
	known   map[string]*file
	files   map[string]*file
	dirs    []string // visited, absolute
	bytes   int64

	git     bool            // inside a git work tree
	prefix  string          // from its top to the root of the walk; "" at the top
	ignores []ignoreFile    // in force where the walk is
	shut    bool            // below an ignored directory: only what is tracked counts
	tracked map[string]bool // files in the index and the directories above them
}

func newDirWalk(root *os.Root, abs string, opt DirOptions) (*dirWalk, error) {
	w := &dirWalk{root: root, abs: abs, limits: opt.Limits.orDefault(), known: opt.known,
		exclude: map[string]bool{}, files: map[string]*file{}}
	for _, dir := range opt.Exclude {
		full, err := filepath.Abs(dir)
		if err != nil {
			return nil, err
		}
		w.exclude[full] = true
		if real, err := filepath.EvalSymlinks(full); err == nil {
			w.exclude[real] = true
		}
	}
	top, gitDir, err := findWorkTree(abs)
	if err != nil || top == "" {
		return w, err
	}
	return w, w.enterGit(top, gitDir)
}

// findWorkTree looks for .git from dir upwards.
func findWorkTree(dir string) (top, gitDir string, err error) {
	for top = dir; ; top = filepath.Dir(top) {
		name := filepath.Join(top, ".git")
		st, err := os.Stat(name)
		if err == nil {
			if !st.IsDir() {
				if name, err = gitFile(name); err != nil {
					return "", "", err
				}
			}
			if _, err := os.Stat(filepath.Join(name, "HEAD")); err == nil {
				return top, name, nil
			}
		}
		if top == filepath.Dir(top) {
			return "", "", nil
		}
	}
}

// enterGit reads what decides over the tree from above it.
func (w *dirWalk) enterGit(top, gitDir string) error {
	w.git = true
	prefix, err := filepath.Rel(top, w.abs)
	if err != nil {
		return err
	}
	if w.prefix = filepath.ToSlash(prefix); w.prefix == "." {
		w.prefix = ""
	}
	if err := w.readIndex(gitDir); err != nil {
		return err
	}
	for _, name := range []string{excludesFile(gitDir), filepath.Join(commonDir(gitDir), "info", "exclude")} {
		if err := w.addIgnore("", name); err != nil {
			return err
		}
	}
	if w.prefix == "" {
		return nil
	}
	at := ""
	for part := range strings.SplitSeq(w.prefix, "/") {
		if err := w.addIgnore(at, filepath.Join(top, filepath.FromSlash(at), ".gitignore")); err != nil {
			return err
		}
		at = strings.TrimPrefix(at+"/"+part, "/")
		if ignored(w.ignores, at, true) && !w.tracked[w.prefix] {
			return &FetchError{Class: ClassConfig, URL: w.abs, Err: fmt.Errorf("the directory is ignored by the git repository %s it lies in, so nothing in it would be committed", top),
				Hint: "take it out of .gitignore, or run git init in it"}
		}
	}
	return nil
}

func commonDir(gitDir string) string {
	if b, err := os.ReadFile(filepath.Join(gitDir, "commondir")); err == nil {
		return joinFrom(gitDir, strings.TrimSpace(string(b)))
	}
	return gitDir
}

// excludesFile is core.excludesFile as git finds it: in the repository's config,
// in the user's, or at its usual place.
func excludesFile(gitDir string) string {
	home, _ := os.UserHomeDir()
	base := os.Getenv("XDG_CONFIG_HOME")
	if base == "" {
		base = filepath.Join(home, ".config")
	}
	global := []string{filepath.Join(home, ".gitconfig"), filepath.Join(base, "git", "config")}
	if g, ok := os.LookupEnv("GIT_CONFIG_GLOBAL"); ok {
		global = []string{g}
	}
	for _, name := range append([]string{filepath.Join(commonDir(gitDir), "config")}, global...) {
		f, err := os.Open(name)
		if err != nil {
			continue
		}
		cfg, err := gitconfig.ReadConfig(f)
		f.Close()
		if err != nil {
			continue
		}
		if v := cfg.Raw.Section("core").Option("excludesfile"); v != "" {
			if rest, ok := strings.CutPrefix(v, "~/"); ok {
				return filepath.Join(home, rest)
			}
			return v
		}
	}
	return filepath.Join(base, "git", "ignore")
}

// addIgnore reads an ignore file if there is one. A link is not followed.
func (w *dirWalk) addIgnore(base, name string) error {
	st, err := os.Lstat(name)
	if err != nil || !st.Mode().IsRegular() || st.Size() > 1<<20 {
		return nil
	}
	b, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	w.ignores = append(w.ignores, parseIgnore(base, string(b)))
	return nil
}

// readIndex learns which files git tracks already: those count although ignored.
func (w *dirWalk) readIndex(gitDir string) error {
	w.tracked = map[string]bool{}
	f, err := os.Open(filepath.Join(gitDir, "index"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	var idx index.Index
	if err := index.NewDecoder(f).Decode(&idx); err != nil {
		return &FetchError{Class: ClassConfig, URL: w.abs, Err: fmt.Errorf("%s: %w", f.Name(), err),
			Hint: "rewrite it in the common format: git update-index --no-split-index --index-version 2"}
	}
	for _, e := range idx.Entries {
		rel, inside := w.relative(e.Name)
		if inside && e.SkipWorktree {
			return &FetchError{Class: ClassConfig, URL: w.abs, Err: fmt.Errorf("%s is left out by a sparse checkout", rel),
				Hint: "run git sparse-checkout disable"}
		}
		if inside && e.Mode == filemode.Submodule {
			return refuseDir(w.abs, &treeError{rel, "is a submodule, which is not fetched", "commit its files instead"})
		}
		for p := e.Name; p != "" && !w.tracked[p]; {
			w.tracked[p] = true
			i := strings.LastIndexByte(p, '/')
			p = p[:max(i, 0)]
		}
	}
	return nil
}

// relative is a path of the index as seen from the root of the walk.
func (w *dirWalk) relative(name string) (string, bool) {
	if w.prefix == "" {
		return name, true
	}
	return strings.CutPrefix(name, w.prefix+"/")
}

// walk lists one directory and all below it. Directories without files vanish,
// as they do in git; the root stays.
func (w *dirWalk) walk(root *os.Root, dir string) (*branch, error) {
	if strings.Count(dir, "/") >= w.limits.Depth {
		return nil, &treeError{dir, fmt.Sprintf("more than %d directories below each other", w.limits.Depth), ""}
	}
	w.dirs = append(w.dirs, filepath.Join(w.abs, filepath.FromSlash(dir)))
	f, err := root.Open(".")
	if err != nil {
		return nil, err
	}
	list, err := f.ReadDir(-1)
	f.Close()
	if err != nil {
		return nil, err
	}
	if w.git {
		defer func(n int) { w.ignores = w.ignores[:n] }(len(w.ignores))
		if err := w.addIgnore(w.fromTop(dir), filepath.Join(w.abs, filepath.FromSlash(dir), ".gitignore")); err != nil {
			return nil, err
		}
	}
	b := &branch{path: dir, dirs: map[string]*branch{}}
	for _, d := range list {
		if err := w.entry(root, b, join(dir, d.Name()), d); err != nil {
			return nil, err
		}
	}
	return b, nil
}

func (w *dirWalk) fromTop(path string) string {
	if path == "." {
		return w.prefix
	}
	return strings.TrimPrefix(w.prefix+"/"+path, "/")
}

func (w *dirWalk) entry(root *os.Root, b *branch, path string, d fs.DirEntry) error {
	if d.Name() == ".git" {
		if w.git && b.path != "." {
			return &treeError{b.path, "is a git repository of its own, which would be committed as a submodule", "remove its .git, or add it to .gitignore"}
		}
		return nil
	}
	if d.IsDir() && w.exclude[filepath.Join(w.abs, filepath.FromSlash(path))] {
		return nil
	}
	if w.git && !w.tracked[w.fromTop(path)] && (w.shut || ignored(w.ignores, w.fromTop(path), d.IsDir())) {
		return nil
	}
	if err := checkName(d.Name()); err != nil {
		return &treeError{path, err.(*treeError).reason, "rename it"}
	}
	switch d.Type() {
	case fs.ModeDir:
		return w.subdir(root, b, path, d.Name())
	case 0, fs.ModeSymlink:
		return w.file(root, b, path, d.Name())
	}
	return &treeError{path, "is neither a file nor a directory nor a link", "remove it, or add it to .gitignore"}
}

func (w *dirWalk) subdir(root *os.Root, b *branch, path, name string) error {
	if w.git && !w.shut && ignored(w.ignores, w.fromTop(path), true) {
		w.shut = true
		defer func() { w.shut = false }()
	}
	inner, err := root.OpenRoot(name)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: %w", path, ErrChanged)
	}
	if err != nil {
		return err
	}
	defer inner.Close()
	sub, err := w.walk(inner, path)
	if err != nil {
		return err
	}
	if len(sub.names)+len(sub.dirs) > 0 {
		b.dirs[name] = sub
	}
	return nil
}

func (w *dirWalk) file(root *os.Root, b *branch, path, name string) error {
	st, err := root.Lstat(name)
	if err != nil {
		return fmt.Errorf("%s: %w", path, ErrChanged)
	}
	mode := st.Mode().Type()
	switch {
	case mode == fs.ModeSymlink:
		mode |= 0o777
	case st.Mode()&0o100 != 0:
		mode |= 0o755
	default:
		mode |= 0o644
	}
	f := &file{mode: mode}
	if old := w.known[path]; old != nil && old.mode == mode && old.sure(keyOf(st)) {
		f = old
	}
	w.files[path] = f
	b.names = append(b.names, name)
	w.bytes += st.Size()
	if len(w.files) > w.limits.Files {
		return &treeError{path, fmt.Sprintf("is one of more than %d files", w.limits.Files), "add what is not source to .gitignore"}
	}
	if w.bytes > w.limits.TreeBytes {
		return &treeError{path, fmt.Sprintf("and the files before it have more than %d bytes", w.limits.TreeBytes), "add what is not source to .gitignore"}
	}
	return nil
}

// refuseDir turns a rule that an entry of a working tree breaks into a refusal.
func refuseDir(dir string, err error) error {
	var t *treeError
	if !errors.As(err, &t) {
		return err
	}
	return &RefusedError{Kind: KindContent, Reason: fmt.Sprintf("%q in %s %s", t.path, dir, t.reason), Hint: t.hint}
}
