package source

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
)

// settle is how long refs must be quiet before a change counts: git writes a
// lock, renames it and touches the log within less.
const settle = 10 * time.Millisecond

// refWatch tells of changed refs in a repository on this machine. It may miss
// some (the poll is there for that), never blocks and has no goroutine before
// watch was called.
type refWatch struct {
	changed chan struct{}

	mu sync.Mutex
	w  *fsnotify.Watcher
}

func newRefWatch() *refWatch { return &refWatch{changed: make(chan struct{}, 1)} }

// watch follows the refs of a local repository. It is called before they are
// read, each time: it takes up directories that are new or were made again.
func (w *waiter) watch(at *location) error {
	if at.scheme != "local" {
		return nil
	}
	dir, err := gitDirs(at.path)
	if err != nil {
		return err
	}
	return w.refs.follow(dir)
}

func (r *refWatch) follow(dir string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.w == nil {
		w, err := fsnotify.NewWatcher()
		if err != nil {
			return err
		}
		r.w = w
		go r.run(w)
	}
	if err := r.w.Add(dir); err != nil {
		return err
	}
	return filepath.WalkDir(filepath.Join(dir, "refs", "heads"), func(name string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) || err == nil && !d.IsDir() {
			return nil
		}
		if err != nil {
			return err
		}
		return r.w.Add(name)
	})
}

// run passes changes on once they settled, and ends with the watcher.
func (r *refWatch) run(w *fsnotify.Watcher) {
	t := time.NewTimer(time.Hour)
	t.Stop()
	for {
		select {
		case e, ok := <-w.Events:
			if !ok {
				return
			}
			if !isRef(e) {
				continue
			}
			if st, err := os.Lstat(e.Name); err == nil && st.IsDir() {
				_ = w.Add(e.Name)
			}
			t.Reset(settle)
		case _, ok := <-w.Errors:
			if !ok {
				return
			}
			t.Reset(settle) // events may have been lost: look
		case <-t.C:
			poke(r.changed)
		}
	}
}

func isRef(e fsnotify.Event) bool {
	if strings.HasSuffix(e.Name, ".lock") || e.Op == fsnotify.Chmod {
		return false
	}
	name := filepath.Base(e.Name)
	return strings.Contains(filepath.ToSlash(e.Name), "/refs/heads") || name == "HEAD" || name == "packed-refs" || name == "refs"
}

func (w *waiter) close() {
	w.refs.mu.Lock()
	defer w.refs.mu.Unlock()
	if w.refs.w != nil {
		w.refs.w.Close()
		w.refs.w = nil
	}
}
