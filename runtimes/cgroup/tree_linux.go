package cgroup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tenement/ten/runtimes"
)

// Tree makes and removes groups below one parent group. It keeps no state;
// several may stand for the same parent.
type Tree struct {
	host   *Host
	parent string
}

// Tree gives the groups below parent, a plain name that belongs to nobody else.
// The parent exists only while it has groups.
func (h *Host) Tree(parent string) *Tree { return &Tree{host: h, parent: parent} }

// Group is a new group that awaits its first process.
type Group struct {
	// FD is the directory in the unified tree, to be cloned into, or -1.
	FD   int
	dirs []string // in v1 trees, to be joined
	oom  string   // file that counts out-of-memory kills, or ""
}

// Create makes the group for what is asked of it: limits, or with track merely
// a place from which all processes can be ended, where the host has one. It
// returns nil when nothing is needed.
func (t *Tree) Create(ctx context.Context, name string, limits runtimes.Limits, track bool) (*Group, error) {
	g := &Group{FD: -1}
	unified := ""
	if track && t.host.Unified != "" {
		unified = t.dir(t.host.Unified, name)
	}
	made, err := t.apply(name, limits, g)
	if err == nil && unified != "" && !slices.Contains(made, unified) {
		err = t.makeDir(unified)
		made = append(made, unified)
	}
	if err == nil && len(made) == 0 {
		return nil, nil
	}
	if unified = t.dir(t.host.Unified, name); err == nil && slices.Contains(made, unified) {
		g.FD, err = unix.Open(unified, unix.O_DIRECTORY|unix.O_RDONLY|unix.O_CLOEXEC, 0)
	}
	if err != nil {
		g.Close()
		_ = t.Remove(context.WithoutCancel(ctx), name)
		return nil, err
	}
	return g, nil
}

// apply sets the limits that are asked for and returns the groups it made.
func (t *Tree) apply(name string, limits runtimes.Limits, g *Group) (made []string, err error) {
	for _, want := range wanted(limits) {
		if want.n == 0 {
			continue
		}
		s, err := t.prepare(name, want)
		if s.dir != "" {
			made = append(made, s.dir)
		}
		if err == nil {
			err = s.write()
		}
		if err != nil {
			return made, err
		}
		if s.v1 {
			g.dirs = append(g.dirs, s.dir)
		}
		if want.controller == "memory" {
			g.oom = oomFile(s.dir, s.v1)
		}
	}
	return made, nil
}

// want is a limit with its value; zero lifts it.
type want struct {
	limit
	n uint32
}

func wanted(l runtimes.Limits) []want { return []want{{memory, l.MemoryMB}, {cpu, l.CPUShares}} }

// spot is where a limit is enforced, and how.
type spot struct {
	dir      string
	v1       bool
	settings []setting
}

// prepare makes the group in the tree that enforces a limit.
func (t *Tree) prepare(name string, w want) (s spot, err error) {
	v1, err := t.host.place(w.limit)
	if err != nil {
		return s, err
	}
	if v1 != "" {
		s = spot{dir: t.dir(v1, name), v1: true, settings: w.v1(w.n)}
		return s, t.makeDir(s.dir)
	}
	s = spot{dir: t.dir(t.host.Unified, name), settings: w.v2(w.n)}
	if err := t.makeDir(s.dir); err != nil {
		return s, err
	}
	for _, above := range []string{t.host.Unified, filepath.Dir(s.dir)} {
		if err := enable(above, w.limit); err != nil {
			return s, err
		}
	}
	return s, nil
}

func (s spot) write() error {
	for _, v := range s.settings {
		err := put(s.dir+"/"+v.file, v.value)
		if errors.Is(err, fs.ErrNotExist) && v.optional {
			continue
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// put writes to a file that the kernel made.
func put(file, value string) error {
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	return errors.Join(err, f.Close())
}

// enable switches a controller on for the groups inside dir.
func enable(dir string, l limit) error {
	file := dir + "/cgroup.subtree_control"
	if slices.Contains(words(file), l.controller) {
		return nil
	}
	err := put(file, "+"+l.controller)
	if errors.Is(err, unix.EBUSY) {
		return &UnsupportedError{Limit: l.name, Reason: "processes are in " + dir + ", so it cannot bound groups inside it",
			Hint: "start ten in a group inside it (systemd: DelegateSubgroup=daemon)"}
	}
	if err != nil {
		return &UnsupportedError{Limit: l.name, Reason: err.Error(), Hint: "have the controller delegated (systemd: Delegate=" + l.controller + ")"}
	}
	return nil
}

func (t *Tree) dir(tree, name string) string { return filepath.Join(tree, t.parent, name) }

// dirs are all directories a group of that name can have.
func (t *Tree) dirs(name string) []string {
	var dirs []string
	if t.host.Unified != "" {
		dirs = append(dirs, t.dir(t.host.Unified, name))
	}
	for _, v1 := range t.host.V1 {
		if dir := t.dir(v1, name); !slices.Contains(dirs, dir) {
			dirs = append(dirs, dir)
		}
	}
	if t.host.Unified == "" && t.host.Freezer != "" {
		if dir := t.dir(t.host.Freezer, name); !slices.Contains(dirs, dir) {
			dirs = append(dirs, dir)
		}
	}
	return dirs
}

// makeDir makes a group and its parent, which may be on its way out.
func (t *Tree) makeDir(dir string) error {
	var err error
	for range 100 {
		if err = os.Mkdir(dir, 0o755); err == nil || errors.Is(err, fs.ErrExist) {
			return nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if perr := os.Mkdir(filepath.Dir(dir), 0o755); perr != nil && !errors.Is(perr, fs.ErrExist) {
			return perr
		}
	}
	return err
}

func oomFile(dir string, v1 bool) string {
	if v1 {
		return dir + "/memory.oom_control"
	}
	return dir + "/memory.events"
}

// OpenOOM opens the file that counts out-of-memory kills, or gives nil where
// memory is not limited.
func (g *Group) OpenOOM() (*os.File, error) {
	if g.oom == "" {
		return nil, nil
	}
	return os.Open(g.oom)
}

// Add puts a process into the parts of the group that it was not cloned into.
func (g *Group) Add(pid int) error {
	for _, dir := range g.dirs {
		if err := put(dir+"/cgroup.procs", fmt.Sprint(pid)); err != nil {
			return err
		}
	}
	return nil
}

// Close releases the directory; the group stays.
func (g *Group) Close() {
	if g.FD >= 0 {
		unix.Close(g.FD)
		g.FD = -1
	}
}

// Change sets other limits for a group that has processes, which need not exist
// yet: pids then lists the processes that belong into it.
func (t *Tree) Change(name string, limits runtimes.Limits, pids func() []int) error {
	for _, w := range wanted(limits) {
		if w.n == 0 && !t.has(name, w.limit) {
			continue
		}
		s, err := t.prepare(name, w)
		if err == nil {
			err = s.write()
		}
		if err == nil {
			err = gather(s.dir, pids)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// has reports whether the group exists in the tree that enforces a limit.
func (t *Tree) has(name string, l limit) bool {
	v1, err := t.host.place(l)
	if err != nil {
		return false
	}
	tree := v1
	if tree == "" {
		tree = t.host.Unified
	}
	_, err = os.Stat(t.dir(tree, name))
	return err == nil
}

// gather moves processes into a group until none is outside: one that is about
// to fork leaves a child behind for the next round.
func gather(dir string, pids func() []int) error {
	file := dir + "/cgroup.procs"
	for range 100 {
		list := pids()
		inside := words(file) // after it, for what those inside have forked meanwhile is inside too
		moved := false
		for _, pid := range list {
			if slices.Contains(inside, fmt.Sprint(pid)) {
				continue
			}
			err := put(file, fmt.Sprint(pid))
			if err != nil && !errors.Is(err, unix.ESRCH) {
				return err
			}
			moved = moved || err == nil
		}
		if !moved {
			return nil
		}
	}
	return fmt.Errorf("%s: the processes fork faster than they can be moved", file)
}

// OOMKilled reports whether the kernel killed a process of the group for memory.
func (t *Tree) OOMKilled(name string) bool {
	for _, dir := range t.dirs(name) {
		for _, file := range []string{oomFile(dir, false), oomFile(dir, true)} {
			f := words(file)
			if i := slices.Index(f, "oom_kill"); i >= 0 && i+1 < len(f) && f[i+1] != "0" {
				return true
			}
		}
	}
	return false
}

// Kill ends every process of the group, those it is forking included. A group
// that is not there has none.
func (t *Tree) Kill(name string) error {
	if t.host.Unified == "" {
		// In a v1 tree a frozen process does not end before it is thawed.
		if err := t.Thaw(name); err != nil {
			return err
		}
	}
	for _, dir := range t.dirs(name) {
		err := put(dir+"/cgroup.kill", "1")
		if errors.Is(err, fs.ErrNotExist) {
			err = killEach(dir)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// killEach ends the processes of a group that cannot be killed as a whole: in a
// v1 tree, or before Linux 5.14.
func killEach(dir string) error {
	for range 1000 {
		pids := words(dir + "/cgroup.procs")
		if len(pids) == 0 {
			return nil
		}
		for _, pid := range pids {
			if err := killMember(dir, pid); err != nil {
				return err
			}
		}
		time.Sleep(time.Millisecond)
	}
	return fmt.Errorf("%s: processes do not end after SIGKILL", dir)
}

// killMember kills a process if it is in the group still: by the time its pid
// was read it may have become somebody else's.
func killMember(dir, pid string) error {
	var n int
	if _, err := fmt.Sscan(pid, &n); err != nil {
		return fmt.Errorf("%s/cgroup.procs: %w", dir, err)
	}
	fd, err := unix.PidfdOpen(n, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if !slices.Contains(words(dir+"/cgroup.procs"), pid) {
		return nil
	}
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return err
	}
	return nil
}

// Remove deletes a group that has been emptied or is about to be, and the
// parent with the last one. A group that is not there is fine.
func (t *Tree) Remove(ctx context.Context, name string) error {
	for _, dir := range t.dirs(name) {
		if err := removeDir(ctx, dir); err != nil {
			return err
		}
		_ = unix.Rmdir(filepath.Dir(dir)) // fails while others are in it
	}
	return nil
}

func removeDir(ctx context.Context, dir string) error {
	wait := 100 * time.Microsecond
	for {
		err := unix.Rmdir(dir)
		if err == nil || err == unix.ENOENT {
			return nil
		}
		if err != unix.EBUSY || wait > time.Second {
			return &fs.PathError{Op: "remove", Path: dir, Err: err}
		}
		select {
		case <-ctx.Done():
			return &fs.PathError{Op: "remove", Path: dir, Err: ctx.Err()}
		case <-time.After(wait):
		}
		wait *= 2
	}
}

// Names lists the groups of the tree, for whoever wants to know what is left.
func (t *Tree) Names() ([]string, error) {
	var names []string
	for _, parent := range t.dirs("") {
		entries, err := os.ReadDir(parent)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		for _, e := range entries {
			if e.IsDir() && !slices.Contains(names, e.Name()) {
				names = append(names, e.Name())
			}
		}
	}
	slices.SortFunc(names, strings.Compare)
	return names, nil
}
