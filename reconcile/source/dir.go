package source

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
)

// DirConfig says which working tree a host follows.
type DirConfig struct {
	Dir string
	DirOptions
	Watch bool // follow edits; without it only a Hint makes it look again
	Log   *slog.Logger
}

// Dir follows a working tree, for `ten serve` at somebody's desk. It has the
// methods of Git. There is no history: an Anchor is not looked at.
type Dir struct {
	cfg   DirConfig
	hint  chan struct{}
	edits chan struct{}

	mu     sync.Mutex
	recent []*Snapshot // newest first
	files  map[string]*file
	watch  *fsnotify.Watcher
}

const (
	editPause  = 300 * time.Millisecond // quiet after an edit before it counts
	editAtMost = 3 * time.Second        // though somebody goes on writing
	keptTrees  = 8
	tries      = 4
	recheck    = 30 * time.Second // where edits can't be watched
)

// NewDir checks the configuration. Nothing is read or watched before Latest.
func NewDir(cfg DirConfig) (*Dir, error) {
	abs, err := filepath.Abs(cfg.Dir)
	if err == nil {
		abs, err = filepath.EvalSymlinks(abs)
	}
	if err != nil {
		return nil, &FetchError{Class: ClassConfig, URL: cfg.Dir, Err: err, Hint: "check the directory"}
	}
	cfg.Dir = abs
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Dir{cfg: cfg, hint: make(chan struct{}, 1), edits: make(chan struct{}, 1)}, nil
}

// Latest takes a snapshot of the tree as it is now; the same pointer as long as
// nothing changed. Files that a stat shows to be untouched are not read again.
func (d *Dir) Latest(ctx context.Context, _ Anchor) (*Snapshot, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var s *Snapshot
	var err error
	for try := 1; ; try++ {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		var more bool
		s, more, err = d.look()
		if try == tries || !more && !errors.Is(err, ErrChanged) {
			break
		}
	}
	if err != nil {
		return nil, d.explain(err)
	}
	if len(d.recent) > 0 && d.recent[0].Revision == s.Revision {
		return d.recent[0], nil
	}
	d.recent = append([]*Snapshot{s}, d.recent...)
	d.recent = d.recent[:min(len(d.recent), keptTrees)]
	return s, nil
}

// look reads the tree once. More says that directories were found which had not
// been watched yet, so that an edit in them may have gone unseen.
func (d *Dir) look() (s *Snapshot, more bool, err error) {
	opt := d.cfg.DirOptions
	opt.known = d.files
	s, w, err := scanDir(d.cfg.Dir, opt)
	if err != nil {
		return nil, false, err
	}
	d.files = w.files
	if !d.cfg.Watch {
		return s, false, nil
	}
	if more, err = d.follow(w.dirs); err != nil {
		d.cfg.Log.Warn("edits could not be watched", "err", err)
	}
	return s, more && err == nil, nil
}

func (d *Dir) explain(err error) error {
	var r *RefusedError
	var f *FetchError
	switch {
	case errors.As(err, &r) || errors.As(err, &f):
		return err
	case errors.Is(err, ErrChanged):
		return &FetchError{Class: ClassNetwork, URL: d.cfg.Dir, Err: err, Hint: "somebody is editing; it is read again"}
	}
	return &FetchError{Class: ClassConfig, URL: d.cfg.Dir, Err: err, Hint: "check the directory and the rights to read it"}
}

// At gives one of the last few snapshots again. Files too large to be kept may
// have changed since; reading one then fails.
func (d *Dir) At(_ context.Context, revision string) (*Snapshot, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, s := range d.recent {
		if s.Revision == revision {
			return s, nil
		}
	}
	return nil, &FetchError{Class: ClassConfig, URL: d.cfg.Dir, Err: ErrNoRevision, Hint: "a working tree has no history: commit, and serve the repository"}
}

// Hint asks for a look now. It never blocks.
func (d *Dir) Hint() { poke(d.hint) }

// Wait returns nil when it is time to call Latest again: after a Hint, or an edit
// when the tree is watched. It returns ctx's error when that ends first.
func (d *Dir) Wait(ctx context.Context) error {
	var again <-chan time.Time
	if d.cfg.Watch {
		t := time.NewTimer(recheck)
		defer t.Stop()
		again = t.C
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-d.hint:
	case <-d.edits:
	case <-again:
	}
	return nil
}

// Close ends the watching.
func (d *Dir) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.watch == nil {
		return nil
	}
	defer func() { d.watch = nil }()
	return d.watch.Close()
}

// follow watches the directories that a look visited, and says whether one of
// them is new. What is ignored is not watched.
func (d *Dir) follow(dirs []string) (more bool, err error) {
	if d.watch == nil {
		w, err := fsnotify.NewWatcher()
		if err != nil {
			return false, err
		}
		d.watch = w
		go d.run(w)
	}
	watched := map[string]bool{}
	for _, dir := range d.watch.WatchList() {
		watched[dir] = true
	}
	for _, dir := range dirs {
		if watched[dir] {
			continue
		}
		more = true
		if err := d.watch.Add(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return false, err
		}
	}
	return more, nil
}

// aside says that a path is not part of the tree.
func (d *Dir) aside(name string) bool {
	if filepath.Base(name) == ".git" {
		return true
	}
	for _, x := range d.cfg.Exclude {
		if full, err := filepath.Abs(x); err == nil {
			if rel, err := filepath.Rel(full, name); err == nil && filepath.IsLocal(rel) {
				return true
			}
		}
	}
	return false
}

// run passes edits on once they pause, and ends with the watcher.
func (d *Dir) run(w *fsnotify.Watcher) {
	quiet := time.NewTimer(time.Hour)
	quiet.Stop()
	var first time.Time
	for {
		select {
		case e, ok := <-w.Events:
			if !ok {
				return
			}
			if d.aside(e.Name) {
				continue
			}
			if first.IsZero() {
				first = time.Now()
			}
			quiet.Reset(min(editPause, max(0, editAtMost-time.Since(first))))
		case _, ok := <-w.Errors:
			if !ok {
				return
			}
			quiet.Reset(editPause) // events may have been lost: look
		case <-quiet.C:
			first = time.Time{}
			poke(d.edits)
		}
	}
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
