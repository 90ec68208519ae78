package load

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/tenement/ten/schema"
)

// The names that make a file a config file.
const (
	rootFile    = "tenement.toml"
	servicesDir = "services"
	cuePackage  = "tenement"
)

// ref is a config file that was found.
type ref struct {
	path string
	id   string
}

// layout is what configures ten in a tree.
type layout struct {
	toml []ref // tenement.toml first, then services/ by name
	cue  []ref // by path
	slum *ref  // slum.toml; nil = there is none
}

// configFiles are the paths of all of them, sorted.
func (l *layout) configFiles() []string {
	var paths []string
	for _, r := range l.toml {
		paths = append(paths, r.path)
	}
	for _, r := range l.cue {
		paths = append(paths, r.path)
	}
	if l.slum != nil {
		paths = append(paths, l.slum.path)
	}
	slices.Sort(paths)
	return paths
}

// discover finds the config files. A tree without any is an error, not an empty
// model: half a repository must never read as "remove everything".
func (r *run) discover() (*layout, error) {
	l := &layout{}
	root, err := r.tree.ReadDir(".")
	if err != nil {
		return nil, fmt.Errorf("read the root of the tree: %w", err)
	}
	if err := r.collect(l, ".", root); err != nil {
		return nil, err
	}
	if err := r.discoverServices(l, root); err != nil {
		return nil, err
	}
	if err := r.discoverPolicy(l); err != nil {
		return nil, err
	}
	if len(l.toml)+len(l.cue) == 0 && r.errors == 0 {
		r.report(whole(rootFile, "no-config", "there is no config here",
			"write "+rootFile+" with a line [service.web] and a line command = \"./web\""))
	}
	return l, nil
}

func (r *run) discoverServices(l *layout, root []fs.DirEntry) error {
	i := slices.IndexFunc(root, func(e fs.DirEntry) bool { return e.Name() == servicesDir })
	switch {
	case i < 0:
		return nil
	case root[i].Type()&fs.ModeSymlink != 0:
		r.report(whole(servicesDir, "symlink", "is a symbolic link; a config must be in the repository itself", "put the files where the link points to"))
		return nil
	case !root[i].IsDir():
		return nil
	}
	entries, err := r.tree.ReadDir(servicesDir)
	if err != nil {
		return fmt.Errorf("read directory %s: %w", servicesDir, err)
	}
	return r.collect(l, servicesDir, entries)
}

// collect takes the config files among the entries of the root or services/.
func (r *run) collect(l *layout, dir string, entries []fs.DirEntry) error {
	for _, e := range entries {
		name := path.Join(dir, e.Name())
		isTOML := name == rootFile || dir == servicesDir && path.Ext(name) == ".toml"
		isCUE := path.Ext(name) == ".cue"
		isSlum := name == schema.SlumFile
		if !isTOML && !isCUE && !isSlum || e.IsDir() && name != rootFile {
			continue
		}
		if !r.regular(name, e) {
			continue
		}
		id, err := r.tree.ID(name)
		if err != nil {
			return fmt.Errorf("read %s: %w", name, err)
		}
		if isSlum {
			l.slum = &ref{name, id}
			continue
		}
		if isTOML {
			l.toml = append(l.toml, ref{name, id})
			continue
		}
		if err := r.collectCUE(l, ref{name, id}); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) regular(name string, e fs.DirEntry) bool {
	switch {
	case e.Type()&fs.ModeSymlink != 0:
		r.report(whole(name, "symlink", "is a symbolic link; a config must be in the repository itself", "replace the link by the file"))
	case !e.Type().IsRegular():
		r.report(whole(name, "not-a-file", "is not a file", "rename it"))
	default:
		return true
	}
	r.partial = true
	return false
}

// collectCUE takes a CUE file at the root or in services/, unless it belongs to
// another package: the repository may use CUE for something else.
func (r *run) collectCUE(l *layout, f ref) error {
	file, err := r.read(f)
	if err != nil || file == nil {
		return err
	}
	switch name := packageOf(file.data); name {
	case "", cuePackage:
		l.cue = append(l.cue, f)
	default:
		p := whole(f.path, "other-package", fmt.Sprintf("is of package %s, so ten does not read it", name),
			"if it is meant for ten, write: package "+cuePackage)
		p.Severity = schema.Warning
		r.report(p)
	}
	return nil
}

// discoverPolicy adds the CUE files of package tenement that lie elsewhere.
func (r *run) discoverPolicy(l *layout) error {
	s, err := r.survey(".")
	if err != nil {
		return err
	}
	for _, name := range s.cue {
		if dir := path.Dir(name); dir == "." || dir == servicesDir {
			continue
		}
		id, err := r.tree.ID(name)
		if err != nil {
			return fmt.Errorf("read %s: %w", name, err)
		}
		l.cue = append(l.cue, ref{name, id})
	}
	slices.SortFunc(l.cue, func(a, b ref) int { return strings.Compare(a.path, b.path) })
	return nil
}

// survey is what one walk over a directory finds. Paths are relative to it.
type survey struct {
	cue   []string // files of package tenement
	links []link
}

// link is a symbolic link. A target that could not be read is "".
type link struct{ path, target string }

// maxSurveys bounds how many directories are remembered.
const maxSurveys = 200_000

// survey walks a directory, once for each of its states: an unchanged one costs
// no reading.
func (r *run) survey(dir string) (*survey, error) {
	id, err := r.tree.ID(dir)
	if err != nil {
		return nil, fmt.Errorf("read directory %s: %w", dir, err)
	}
	return r.surveyTree(dir, id)
}

func (r *run) surveyTree(dir, id string) (*survey, error) {
	known := r.loader.surveys
	if s, ok := known[id]; ok {
		return s, nil
	}
	if err := r.ctx.Err(); err != nil {
		return nil, err
	}
	entries, err := r.tree.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("read directory %s: %w", dir, err)
	}
	s := &survey{}
	for _, e := range entries {
		if err := r.surveyEntry(s, dir, e); err != nil {
			return nil, err
		}
	}
	if len(known) >= maxSurveys {
		clear(known)
	}
	known[id] = s
	return s, nil
}

func (r *run) surveyEntry(s *survey, dir string, e fs.DirEntry) error {
	name, full := e.Name(), path.Join(dir, e.Name())
	switch {
	case e.IsDir() && name != "cue.mod":
		id, err := r.tree.ID(full)
		if err != nil {
			return fmt.Errorf("read directory %s: %w", full, err)
		}
		below, err := r.surveyTree(full, id)
		if err != nil {
			return err
		}
		for _, f := range below.cue {
			s.cue = append(s.cue, path.Join(name, f))
		}
		for _, l := range below.links {
			s.links = append(s.links, link{path.Join(name, l.path), l.target})
		}
	case e.Type()&fs.ModeSymlink != 0:
		target, err := r.readLink(full)
		if err != nil {
			return err
		}
		s.links = append(s.links, link{name, target})
	case e.Type().IsRegular() && path.Ext(name) == ".cue":
		ours, err := r.isPolicy(full)
		if err != nil {
			return err
		}
		if ours {
			s.cue = append(s.cue, name)
		}
	}
	return nil
}

func (r *run) readLink(name string) (string, error) {
	t, ok := r.tree.(interface{ ReadLink(string) (string, error) })
	if !ok {
		return "", nil
	}
	target, err := t.ReadLink(name)
	if err != nil {
		return "", fmt.Errorf("read link %s: %w", name, err)
	}
	return target, nil
}

func (r *run) isPolicy(name string) (bool, error) {
	info, err := r.tree.Stat(name)
	if err != nil {
		return false, fmt.Errorf("read %s: %w", name, err)
	}
	if info.Size() > schema.MaxFileSize {
		return false, nil // somebody else's: ours would be refused for its size
	}
	data, err := r.tree.ReadFile(name)
	if err != nil {
		return false, fmt.Errorf("read %s: %w", name, err)
	}
	return packageOf(data) == cuePackage, nil
}

// packageOf gives the name in a CUE file's package clause, or "". It reads no
// further than the first thing that is neither comment nor attribute, so that
// nothing of the file is evaluated here.
func packageOf(src []byte) string {
	for {
		src = bytes.TrimLeft(src, " \t\r\n,")
		switch {
		case bytes.HasPrefix(src, []byte("//")), bytes.HasPrefix(src, []byte("@")):
			_, rest, ok := bytes.Cut(src, []byte("\n"))
			if !ok {
				return ""
			}
			src = rest
			continue
		}
		break
	}
	rest, ok := bytes.CutPrefix(src, []byte("package"))
	if !ok || len(rest) == 0 || rest[0] != ' ' && rest[0] != '\t' {
		return ""
	}
	name := bytes.TrimLeft(rest, " \t")
	if i := bytes.IndexFunc(name, notIdentifier); i >= 0 {
		name = name[:i]
	}
	return string(name)
}

func notIdentifier(c rune) bool {
	return c != '_' && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9')
}

// read gets a config file within the size limit; nil when it is refused.
func (r *run) read(f ref) (*file, error) {
	if known, ok := r.files[f.path]; ok {
		return known, nil
	}
	info, err := r.tree.Stat(f.path)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", f.path, err)
	}
	if info.Size() > schema.MaxFileSize {
		r.report(whole(f.path, "too-large", fmt.Sprintf("the file has %d bytes; at most %d are read", info.Size(), schema.MaxFileSize),
			"give each service a file of its own in "+servicesDir+"/"))
		r.partial = true
		return nil, nil
	}
	data, err := r.tree.ReadFile(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read %s: listed, but not there: %w", f.path, err)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", f.path, err)
	}
	file := &file{path: f.path, id: f.id, data: data}
	r.files[f.path] = file
	return file, nil
}
