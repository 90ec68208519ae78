package launch

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tenement/ten/runtimes"
	"github.com/tenement/ten/runtimes/launch/wire"
)

// Level runs the instances of one isolation level. It has all methods of
// runtimes.Runtime, Updater and Outputter but Check.
type Level struct {
	l      *Launcher
	name   runtimes.Level
	recipe func(*runtimes.Spec) (Recipe, error)
}

// Level gives the level of that name, whose instances are made as recipe says.
// An error of recipe should be a *runtimes.StartError.
func (l *Launcher) Level(name runtimes.Level, recipe func(*runtimes.Spec) (Recipe, error)) *Level {
	return &Level{l: l, name: name, recipe: recipe}
}

// List asks the run directory and /proc what is there.
func (v *Level) List(ctx context.Context) ([]runtimes.Instance, error) {
	keys, err := v.keys()
	if err != nil {
		return nil, fmt.Errorf("list %s instances: %w", v.name, err)
	}
	list := make([]runtimes.Instance, 0, len(keys))
	for _, key := range keys {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		in, err := v.inspect(ctx, key)
		if errors.Is(err, runtimes.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("list %s instances: %s: %w", v.name, key, err)
		}
		list = append(list, in)
	}
	return list, nil
}

// inspect looks at one record. ErrNotFound means that no instance belongs to
// it: it is gone, being made, or what a start that died left, which is removed.
func (v *Level) inspect(ctx context.Context, key runtimes.Key) (runtimes.Instance, error) {
	e, err := v.find(key)
	if errors.Is(err, errUnfinished) {
		e, err = v.discard(ctx, key)
	}
	if err != nil {
		return runtimes.Instance{}, err
	}
	in := runtimes.Instance{Spec: runtimes.Spec{Key: key, Level: v.name}}
	if e.rec != nil {
		in.Spec, in.StartedAt = e.rec.Spec, e.rec.StartedAt
	} else {
		// Without a digest it differs from whatever is desired, so it will be
		// replaced, not forgotten.
		v.l.cfg.Log.Warn("run record was unreadable", "service", key.Service, "instance", key.Instance, "err", e.broken)
	}
	if v.l.alive(e.init) {
		in.Phase, in.Pid = livingPhase(e)
		if in.Phase == runtimes.Running && v.frozen(key, e) {
			in.Phase = runtimes.Sleeping
			return in, v.release(key, &in)
		}
		return in, nil
	}
	exit := v.exitOf(key, e)
	in.Exit, in.Phase = &exit, endedPhase(e, exit)
	return in, nil
}

// find reads the record of a key. ErrNotFound means that no instance belongs to
// it, errUnfinished that besides a start left it behind or is under way. Where the record does not say which process
// is meant, the one that holds the file open is.
func (v *Level) find(key runtimes.Key) (*entry, error) {
	path := v.path(key)
	e, err := path.read()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, runtimes.ErrNotFound
	case errors.Is(err, errUnfinished):
		return nil, fmt.Errorf("%w: %w", runtimes.ErrNotFound, err)
	case err != nil:
		return nil, err
	}
	if e.broken != nil && e.init.pid == 0 {
		e.init, _ = v.l.holder(path)
	}
	return e, nil
}

// discard removes what a start that died left behind, unless it is still under
// way, and returns ErrNotFound when all is well. A record that was emptied
// under a running instance is returned as broken instead.
func (v *Level) discard(ctx context.Context, key runtimes.Key) (*entry, error) {
	path := v.path(key)
	fd, err := unix.Open(string(path), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err == unix.ENOENT {
		return nil, runtimes.ErrNotFound
	}
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: string(path), Err: err}
	}
	f := os.NewFile(uintptr(fd), string(path))
	defer f.Close()
	if err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, runtimes.ErrNotFound // under way
	}
	if _, err := readEntry(f); !errors.Is(err, errUnfinished) {
		return nil, runtimes.ErrNotFound // finished just now; the next look shows it
	}
	if h, ok := v.l.holder(path); ok && v.l.alive(h) {
		return &entry{init: h, broken: fmt.Errorf("%s: %w", path, errUnfinished)}, nil
	}
	if err := v.l.dropCgroup(ctx, v.name, key); err != nil {
		return nil, err
	}
	if err := path.remove(); err != nil {
		return nil, err
	}
	return nil, runtimes.ErrNotFound
}

func livingPhase(e *entry) (runtimes.Phase, int) {
	if e.ended {
		return runtimes.Stopping, 0
	}
	pid := program(e.init.pid)
	switch {
	case e.stop:
		return runtimes.Stopping, pid
	case pid == 0:
		return runtimes.Starting, 0
	}
	return runtimes.Running, pid
}

func endedPhase(e *entry, exit runtimes.Exit) runtimes.Phase {
	if e.stop || (exit.Known && exit.Code == 0) {
		return runtimes.Stopped
	}
	return runtimes.Failed
}

// exitOf tells how an ended incarnation went, and takes it off the process
// table if it is ours.
func (v *Level) exitOf(key runtimes.Key, e *entry) runtimes.Exit {
	pidfd, err := v.l.open(e.init)
	if err == nil { // nobody has reaped it yet
		defer pidfd.Close()
		reap(pidfd)
		if now, err := v.path(key).read(); err == nil {
			e.exit, e.ended = now.exit, now.ended // it may have ended since
		}
	}
	if e.ended {
		return v.exitFrom(key, e.exit)
	}
	if pidfd != nil {
		if status, ok := kernelStatus(pidfd); ok {
			return v.exitFromStatus(key, status)
		}
	}
	return runtimes.Exit{}
}

func (v *Level) exitFrom(key runtimes.Key, rec wire.Exit) runtimes.Exit {
	exit := runtimes.Exit{Known: true, Code: int(rec.Code), Signal: int(rec.Signal), OOM: rec.OOM, At: time.Unix(0, rec.AtNano)}
	// A limit that came after the start counts in a file that init does not know.
	exit.OOM = exit.OOM || exit.Signal == int(unix.SIGKILL) && v.l.oomKilled(v.name, key)
	return exit
}

// exitFromStatus is for an init that was killed before it could write: what
// ended it ended the program.
func (v *Level) exitFromStatus(key runtimes.Key, status unix.WaitStatus) runtimes.Exit {
	exit := runtimes.Exit{Known: true, Code: status.ExitStatus(), At: time.Now()}
	if status.Signaled() {
		exit.Signal = int(status.Signal())
		exit.Code = 128 + exit.Signal
		exit.OOM = status.Signal() == unix.SIGKILL && v.l.oomKilled(v.name, key)
	}
	return exit
}
