package launch

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/tenement/ten/runtimes"
	"github.com/tenement/ten/runtimes/cgroup"
	"github.com/tenement/ten/runtimes/launch/wire"
)

// group is the cgroup of a start under way; nil is an instance without one.
type group struct {
	*cgroup.Group
	oom *os.File
}

func groupName(level runtimes.Level, key runtimes.Key) string {
	return string(level) + ":" + key.String()
}

// makeCgroup makes what the limits of the spec need, or with track merely a
// place from which everything can be ended.
func (l *Launcher) makeCgroup(ctx context.Context, level runtimes.Level, spec *runtimes.Spec, track bool) (*group, error) {
	g, err := l.groups.Create(ctx, groupName(level, spec.Key), spec.Limits, track)
	if err != nil {
		return nil, limitFault(level, err)
	}
	if g == nil {
		return nil, nil
	}
	oom, err := g.OpenOOM()
	if err != nil {
		g.Close()
		return nil, limitFault(level, err)
	}
	return &group{Group: g, oom: oom}, nil
}

// limitFault says which limit cannot be enforced at this level on this host.
func limitFault(level runtimes.Level, err error) error {
	var u *cgroup.UnsupportedError
	if errors.As(err, &u) {
		return &fault{"limit", u.Limit, &runtimes.UnsupportedError{Level: level, Reason: u.Limit + " cannot be enforced: " + u.Reason, Hint: u.Hint}}
	}
	return &fault{"limit", "cgroup", err}
}

func (g *group) countsOOM() bool { return g != nil && g.oom != nil }

// join has the clone happen inside the group, where it is in the unified tree.
func (g *group) join(attr *syscall.ProcAttr) {
	if g != nil && g.FD >= 0 {
		attr.Sys.UseCgroupFD, attr.Sys.CgroupFD = true, g.FD
	}
}

// adopt puts init into the rest of the group, before it may run the program.
func (g *group) adopt(pid int) error {
	if g == nil {
		return nil
	}
	if err := g.Add(pid); err != nil {
		return &fault{"limit", "cgroup", err}
	}
	return nil
}

func (g *group) close() {
	if g == nil {
		return
	}
	g.Close()
	if g.oom != nil {
		g.oom.Close()
	}
}

// dropCgroup removes the group of an ended instance, if it has one.
func (l *Launcher) dropCgroup(ctx context.Context, level runtimes.Level, key runtimes.Key) error {
	name := groupName(level, key)
	if err := l.groups.Kill(name); err != nil {
		return fmt.Errorf("end what is left in the cgroup: %w", err)
	}
	return l.groups.Remove(ctx, name)
}

func (l *Launcher) killCgroup(level runtimes.Level, key runtimes.Key) error {
	return l.groups.Kill(groupName(level, key))
}

func (l *Launcher) oomKilled(level runtimes.Level, key runtimes.Key) bool {
	return l.groups.OOMKilled(groupName(level, key))
}

// changeCgroup bounds a running instance anew.
func (l *Launcher) changeCgroup(level runtimes.Level, spec *runtimes.Spec, init handle) error {
	err := l.groups.Change(groupName(level, spec.Key), spec.Limits, func() []int { return family(init.pid) })
	if err != nil {
		return startError(spec, &wire.Plan{}, limitFault(level, err))
	}
	return nil
}
