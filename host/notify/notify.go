// Package notify hears what instances say of themselves, in the words of
// sd_notify(3): READY=1 once, and BUSY=1 and BUSY=0 around work in which they are
// not to be put to sleep. One socket serves all instances. Who speaks is asked of
// the kernel and never read in a message, so no instance can speak for another.
//
// Nobody keeps another from being heard: of what an instance says, 200 messages a
// second are heard, and what it sends along is closed aside.
//
// What was said outlasts the daemon: one that is restarted does not put to sleep
// what is in the middle of something.
package notify

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/tenement/ten/runtimes"
)

// How many parts of an instance may be busy by name, and how long a name may be.
const (
	maxHolders = 64
	maxName    = 64
)

// Config is what a Listener needs; Changed may be nil.
type Config struct {
	Socket string // its path; the directory is what instances see
	Keep   string // a directory that they do not see: what was said
	// Owner and Has are those of the levels; see runtimes.Owner.
	Owner func(pid int) (runtimes.Key, bool)
	Has   func(runtimes.Key) bool
	// Changed is called after an incarnation has become ready, busy or idle.
	Changed func(runtimes.Key)
	Log     *slog.Logger
}

// Said is what an incarnation has said of itself.
type Said struct {
	Ready bool
	busy  []string // names of what is busy in it, sorted; "" where it gave none
}

// Busy reports whether anything in it is.
func (s Said) Busy() bool { return len(s.busy) > 0 }

// notes is what was said, by incarnation.
type notes struct {
	cfg  Config
	mu   sync.Mutex
	said map[runtimes.Key]Said
}

// newNotes reads what was said to the daemon before.
func newNotes(cfg Config) (*notes, error) {
	if err := os.MkdirAll(cfg.Keep, 0o700); err != nil {
		return nil, fmt.Errorf("what instances said: %w", err)
	}
	entries, err := os.ReadDir(cfg.Keep)
	if err != nil {
		return nil, fmt.Errorf("what instances said: %w", err)
	}
	n := &notes{cfg: cfg, said: map[runtimes.Key]Said{}}
	for _, e := range entries {
		file := filepath.Join(cfg.Keep, e.Name())
		key, ok := parseKey(e.Name())
		b, err := os.ReadFile(file)
		if !ok || err != nil || !cfg.Has(key) {
			_ = os.Remove(file)
			continue
		}
		n.said[key] = parse(string(b), Said{})
	}
	return n, nil
}

func parseKey(name string) (runtimes.Key, bool) {
	id, generation, _ := strings.Cut(name, "#")
	parsed, err1 := runtimes.ParseID(id)
	n, err2 := strconv.ParseUint(generation, 10, 64)
	key := runtimes.Key{ID: parsed, Generation: n}
	return key, err1 == nil && err2 == nil && key.String() == name
}

// parse applies a message to what was said before it. Lines it does not know
// are for others.
func parse(message string, s Said) Said {
	holder := ""
	for line := range strings.Lines(message) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), "X_TEN_HOLDER="); ok && len(v) <= maxName {
			holder = v
		}
	}
	for line := range strings.Lines(message) {
		switch name, value, _ := strings.Cut(strings.TrimSpace(line), "="); name {
		case "READY":
			s.Ready = s.Ready || value == "1"
		case "BUSY", "X_TEN_BUSY", "X-TEN-BUSY":
			s.busy = hold(s.busy, holder, value)
		case "HELD": // only in what is kept
			s.busy = hold(s.busy, value, "1")
		}
	}
	return s
}

// hold gives the list with a name in it, or without; the list itself stays as it is.
func hold(list []string, name, value string) []string {
	i, found := slices.BinarySearch(list, name)
	switch {
	case value == "1" && !found && len(list) < maxHolders && len(name) <= maxName:
		return slices.Insert(slices.Clone(list), i, name)
	case value == "0" && found:
		return slices.Delete(slices.Clone(list), i, i+1)
	}
	return list
}

// hear takes what an incarnation says.
func (n *notes) hear(key runtimes.Key, message string) error {
	n.mu.Lock()
	before := n.said[key]
	after := parse(message, before)
	changed := before.Ready != after.Ready || before.Busy() != after.Busy()
	if !changed && slices.Equal(before.busy, after.busy) {
		n.mu.Unlock()
		return nil
	}
	if _, known := n.said[key]; !known {
		n.sweep()
	}
	n.said[key] = after
	err := n.keep(key, after)
	n.mu.Unlock()
	if changed && n.cfg.Changed != nil {
		n.cfg.Changed(key)
	}
	return err
}

// keep writes down what was said. It has to outlive the daemon, not the machine.
func (n *notes) keep(key runtimes.Key, s Said) error {
	var text strings.Builder
	if s.Ready {
		text.WriteString("READY=1\n")
	}
	for _, name := range s.busy {
		text.WriteString("HELD=" + name + "\n")
	}
	file := filepath.Join(n.cfg.Keep, key.String())
	if err := os.WriteFile(file+".new", []byte(text.String()), 0o600); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}

// sweep forgets incarnations that are no more. Called with mu held.
func (n *notes) sweep() {
	for _, key := range slices.Collect(maps.Keys(n.said)) {
		if n.cfg.Has(key) {
			continue
		}
		if err := os.Remove(filepath.Join(n.cfg.Keep, key.String())); err == nil || errors.Is(err, fs.ErrNotExist) {
			delete(n.said, key)
		}
	}
}

// get gives what an incarnation has said so far.
func (n *notes) get(key runtimes.Key) Said {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.said[key]
}
