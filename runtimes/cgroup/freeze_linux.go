package cgroup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// freezePatience is how long the processes of a group may take to come to rest.
// One that hangs in the kernel does not.
const freezePatience = 2 * time.Second

// freezer is the part of a group that freezes, in the tree that can.
type freezer struct {
	dir, file, on, off string
}

// Freezes reports, as an *UnsupportedError, why this process can freeze no group
// on this host, or nil.
func (h *Host) Freezes() error {
	switch {
	case h.Unified != "":
		return nil
	case h.Freezer == "":
		return &UnsupportedError{Limit: "freeze", Reason: h.Why, Hint: freezeHint}
	case unix.Access(h.Freezer, unix.W_OK) != nil:
		return &UnsupportedError{Limit: "freeze", Reason: "this user may not make groups in " + h.Freezer, Hint: freezeHint}
	}
	return nil
}

const freezeHint = `run ten as root, or in a systemd unit with Delegate=yes and DelegateSubgroup=daemon, or write sleep = "stop"`

// Freezes is that of the tree's host.
func (t *Tree) Freezes() error { return t.host.Freezes() }

func (t *Tree) freezer(name string) freezer {
	if t.host.Unified != "" {
		return freezer{t.dir(t.host.Unified, name), "cgroup.freeze", "1", "0"}
	}
	return freezer{t.dir(t.host.Freezer, name), "freezer.state", "FROZEN", "THAWED"}
}

// Freeze stops all processes of a group where they are, until Thaw. The group
// need not exist yet: pids lists the processes that belong into it. It returns
// once none of them runs any more; a failure leaves them running.
func (t *Tree) Freeze(ctx context.Context, name string, pids func() []int) error {
	if err := t.host.Freezes(); err != nil {
		return err
	}
	f := t.freezer(name)
	err := t.makeDir(f.dir)
	if err == nil {
		err = gather(f.dir, pids)
	}
	if err == nil {
		err = put(f.dir+"/"+f.file, f.on)
	}
	if err == nil {
		// Now that nothing forks or ends any more, whoever was missed is found.
		err = gather(f.dir, pids)
	}
	if err == nil {
		err = f.settled(ctx)
	}
	if err != nil {
		return errors.Join(err, t.Thaw(name))
	}
	return nil
}

// settled waits until the kernel says that all are frozen.
func (f freezer) settled(ctx context.Context) error {
	deadline := time.Now().Add(freezePatience)
	for wait := 20 * time.Microsecond; !f.still(); wait = min(2*wait, 5*time.Millisecond) {
		if time.Now().After(deadline) {
			return fmt.Errorf("%s: processes do not come to rest within %s; one hangs in the kernel", f.dir, freezePatience)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(wait):
		}
	}
	return nil
}

func (f freezer) still() bool {
	if f.file == "freezer.state" {
		return slices.Equal(words(f.dir+"/"+f.file), []string{f.on})
	}
	events := words(f.dir + "/cgroup.events")
	i := slices.Index(events, "frozen")
	return i >= 0 && i+1 < len(events) && events[i+1] == "1"
}

// Thaw lets the processes of a group go on. A group that is not there, or not
// frozen, is fine.
func (t *Tree) Thaw(name string) error {
	if t.host.Unified == "" && t.host.Freezer == "" {
		return nil
	}
	f := t.freezer(name)
	err := put(f.dir+"/"+f.file, f.off)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV) {
		return nil
	}
	return err
}

// Frozen reports whether a group is frozen, or on the way there.
func (t *Tree) Frozen(name string) bool {
	if t.host.Unified == "" && t.host.Freezer == "" {
		return false
	}
	f := t.freezer(name)
	state := words(f.dir + "/" + f.file)
	return len(state) == 1 && state[0] != f.off
}

// reclaimStep is how much the kernel is asked for at a time, so that a caller
// who leaves need not wait for all.
const reclaimStep = 64 << 20

// Reclaim asks the kernel for the memory that is charged to a group, and reports
// whether it could be asked: in the unified tree, where that counts memory.
func (t *Tree) Reclaim(ctx context.Context, name string) bool {
	if t.host.Unified == "" {
		return false
	}
	dir := t.dir(t.host.Unified, name)
	used := words(dir + "/memory.current")
	if len(used) != 1 {
		return false
	}
	n, err := strconv.ParseInt(used[0], 10, 64)
	asked := false
	for err == nil && n > 0 && ctx.Err() == nil {
		err = put(dir+"/memory.reclaim", strconv.FormatInt(min(n, reclaimStep), 10))
		asked = asked || err == nil || errors.Is(err, unix.EAGAIN) // which says that it was less
		n -= reclaimStep
	}
	return asked
}

// Members lists the processes of a frozen group.
func (t *Tree) Members(name string) []int {
	var pids []int
	for _, word := range words(t.freezer(name).dir + "/cgroup.procs") {
		if pid, err := strconv.Atoi(strings.TrimSpace(word)); err == nil && pid > 0 {
			pids = append(pids, pid)
		}
	}
	return pids
}
