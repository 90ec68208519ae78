package launch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/tenement/ten/runtimes"
	"github.com/tenement/ten/runtimes/cgroup"
)

// errEnded is the answer for an incarnation whose program has ended.
var errEnded = errors.New("it has ended")

// Suspend freezes the incarnation, its init included, and gives back what memory
// can be had without making the wake slow; see runtimes.Suspender. The mark in the record is
// written first and removed last, so that what is frozen is never without it.
func (v *Level) Suspend(ctx context.Context, key runtimes.Key) error {
	e, err := v.living(key)
	if err == nil && v.frozen(key, e) {
		return nil
	}
	if err == nil {
		err = v.freeze(ctx, key, e.init)
	}
	if err != nil {
		return fmt.Errorf("suspend %s: %w", key, err)
	}
	before, after := v.l.giveBack(ctx, groupName(v.name, key))
	v.l.cfg.Log.Debug("instance is frozen", "service", key.Service, "instance", key.Instance,
		slog.String("reason", fmt.Sprintf("%d of %d KB in memory given back", (before-after)>>10, before>>10)))
	return nil
}

// Suspends tells why nothing can be frozen here; see runtimes.Suspender.
func (v *Level) Suspends() error { return v.unfreezable(v.l.groups.Freezes()) }

// unfreezable says in this level's name why a group can't be frozen.
func (v *Level) unfreezable(err error) error {
	var u *cgroup.UnsupportedError
	if errors.As(err, &u) {
		return &runtimes.UnsupportedError{Level: v.name, Reason: "an instance cannot be frozen: " + u.Reason, Hint: u.Hint}
	}
	return err
}

// Resume lets it go on; see runtimes.Suspender.
func (v *Level) Resume(_ context.Context, key runtimes.Key) error {
	e, err := v.living(key)
	if err == nil && e.suspended {
		err = v.thaw(key)
	}
	if err != nil {
		return fmt.Errorf("resume %s: %w", key, err)
	}
	return nil
}

// living gives the entry of an incarnation whose init is alive.
func (v *Level) living(key runtimes.Key) (*entry, error) {
	e, err := v.find(key)
	switch {
	case err != nil:
		return nil, err
	case !v.l.alive(e.init):
		return nil, errEnded
	}
	return e, nil
}

func (v *Level) freeze(ctx context.Context, key runtimes.Key, init handle) error {
	path, name := v.path(key), groupName(v.name, key)
	if err := path.mark(suspendMarkOffset, 1); err != nil {
		return err
	}
	err := v.l.groups.Freeze(ctx, name, func() []int {
		pids := descendants(init.pid)
		if !v.l.alive(init) { // then they may be anybody's
			return nil
		}
		return pids
	})
	if err == nil && !v.l.alive(init) {
		err = errors.Join(errEnded, v.l.groups.Thaw(name))
	}
	if err == nil {
		return nil
	}
	return errors.Join(v.unfreezable(err), path.mark(suspendMarkOffset, 0))
}

func (v *Level) thaw(key runtimes.Key) error {
	if err := v.l.groups.Thaw(groupName(v.name, key)); err != nil {
		return err
	}
	return v.path(key).mark(suspendMarkOffset, 0)
}

// frozen asks the machine; the mark only says for whom it is worth asking.
func (v *Level) frozen(key runtimes.Key, e *entry) bool {
	return e.suspended && v.l.groups.Frozen(groupName(v.name, key))
}

// release lets go of a frozen incarnation whose program was killed: its init has
// to come to that, and say how it ended.
func (v *Level) release(key runtimes.Key, in *runtimes.Instance) error {
	if st, err := readStat(in.Pid); in.Pid != 0 && err == nil && !st.ended() {
		return nil
	}
	in.Phase, in.Pid = runtimes.Stopping, 0
	return v.thaw(key)
}
