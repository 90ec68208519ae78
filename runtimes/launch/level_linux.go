package launch

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
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
		in, err := v.inspect(key)
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

// inspect looks at one run directory. ErrNotFound means that no instance is in
// it: it is gone, being made, or what a start that died left, which is removed.
func (v *Level) inspect(key runtimes.Key) (runtimes.Instance, error) {
	dir := v.dir(key)
	h, err := dir.readHandle()
	if errors.Is(err, fs.ErrNotExist) {
		return runtimes.Instance{}, v.discard(key)
	}
	if err != nil {
		return runtimes.Instance{}, err
	}
	in := runtimes.Instance{Spec: runtimes.Spec{Key: key, Level: v.name}}
	rec, err := dir.readRecord()
	switch {
	case err == nil:
		in.Spec, in.StartedAt = rec.Spec, rec.StartedAt
	case errors.Is(err, fs.ErrNotExist):
		return runtimes.Instance{}, runtimes.ErrNotFound // removed since
	default:
		// The handle still says whether it runs. Without a digest it differs
		// from whatever is desired, so it will be replaced, not forgotten.
		v.l.cfg.Log.Warn("run record was unreadable", "service", key.Service, "instance", key.Instance, "err", err)
	}
	if v.l.alive(h) {
		in.Phase, in.Pid = livingPhase(dir, h)
		return in, nil
	}
	exit := v.exitOf(dir, h)
	in.Exit, in.Phase = &exit, endedPhase(dir, exit)
	return in, nil
}

func livingPhase(dir runDir, h handle) (runtimes.Phase, int) {
	pid := program(h.pid)
	if _, ended := dir.exit(); ended {
		return runtimes.Stopping, 0
	}
	switch {
	case dir.marked():
		return runtimes.Stopping, pid
	case pid == 0:
		return runtimes.Starting, 0
	}
	return runtimes.Running, pid
}

func endedPhase(dir runDir, exit runtimes.Exit) runtimes.Phase {
	if dir.marked() || (exit.Known && exit.Code == 0) {
		return runtimes.Stopped
	}
	return runtimes.Failed
}

// discard removes what a start that died left behind, unless it is still under
// way. It returns ErrNotFound when all is well.
func (v *Level) discard(key runtimes.Key) error {
	dir := v.dir(key)
	lock, err := dir.lock()
	switch {
	case errors.Is(err, unix.EWOULDBLOCK), errors.Is(err, fs.ErrNotExist):
		return runtimes.ErrNotFound
	case err != nil:
		return err
	}
	defer lock.Close()
	if _, err := dir.readHandle(); err == nil {
		return runtimes.ErrNotFound // finished just now; the next List shows it
	}
	if err := v.l.dropCgroup(v.name, key); err != nil {
		return err
	}
	if err := dir.remove(); err != nil {
		return err
	}
	return runtimes.ErrNotFound
}

// exitOf tells how an ended incarnation went.
func (v *Level) exitOf(dir runDir, h handle) runtimes.Exit {
	if rec, ok := dir.exit(); ok {
		return exitFrom(rec)
	}
	if h.boot != v.l.boot {
		return runtimes.Exit{}
	}
	if f, err := v.l.open(h); err == nil { // a zombie still
		defer f.Close()
		reap(f)
		if status, ok := kernelStatus(f); ok {
			return exitFromStatus(status)
		}
	}
	return runtimes.Exit{}
}

func exitFrom(rec wire.Exit) runtimes.Exit {
	return runtimes.Exit{Known: true, Code: int(rec.Code), Signal: int(rec.Signal), OOM: rec.OOM, At: time.Unix(0, rec.AtNano)}
}

// exitFromStatus is for an init that was killed before it could write: what
// ended it ended the program.
func exitFromStatus(status unix.WaitStatus) runtimes.Exit {
	exit := runtimes.Exit{Known: true, Code: status.ExitStatus(), At: time.Now()}
	if status.Signaled() {
		exit.Signal = int(status.Signal())
		exit.Code = 128 + exit.Signal
	}
	return exit
}
