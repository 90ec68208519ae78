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
)

const (
	// killPatience is how long init may take to end and reap what is left
	// after the program was killed, before init itself is.
	killPatience = time.Second
	// endPatience is how long the kernel may take over it after that.
	endPatience = 10 * time.Second
	// strayTimeout is the grace of an instance whose record cannot be read.
	strayTimeout = 5 * time.Second
)

// Wait blocks until the incarnation has ended; see runtimes.Runtime. It costs
// two files and no thread.
func (v *Level) Wait(ctx context.Context, key runtimes.Key) (runtimes.Exit, error) {
	dir := v.dir(key)
	h, err := dir.readHandle()
	if errors.Is(err, fs.ErrNotExist) {
		return runtimes.Exit{}, runtimes.ErrNotFound
	}
	if err != nil {
		return runtimes.Exit{}, fmt.Errorf("wait for %s: %w", key, err)
	}
	// Opened now, because Stop removes it as soon as all is over.
	rec, err := os.Open(dir.file(exitFile))
	if err != nil {
		return runtimes.Exit{}, fmt.Errorf("wait for %s: %w", key, runtimes.ErrNotFound)
	}
	defer rec.Close()
	pidfd, err := v.l.open(h)
	if err != nil {
		if exit, ok := readExit(rec); ok {
			return exitFrom(exit), nil
		}
		return v.exitOf(dir, h), nil
	}
	defer pidfd.Close()
	if err := awaitEnd(ctx, pidfd); err != nil {
		return runtimes.Exit{}, err
	}
	reap(pidfd)
	if exit, ok := readExit(rec); ok {
		return exitFrom(exit), nil
	}
	return v.killedInit(ctx, key, pidfd), nil
}

// killedInit tells how an instance ended whose init was killed before it could
// say. The kernel knows once somebody has reaped it, which for an adopted
// instance is pid 1 of the host.
func (v *Level) killedInit(ctx context.Context, key runtimes.Key, pidfd *os.File) runtimes.Exit {
	for range 20 {
		if status, ok := kernelStatus(pidfd); ok {
			exit := exitFromStatus(status)
			exit.OOM = exit.Signal == int(unix.SIGKILL) && v.l.oomKilled(v.name, key)
			return exit
		}
		select {
		case <-ctx.Done():
			return runtimes.Exit{}
		case <-time.After(time.Millisecond):
		}
	}
	return runtimes.Exit{}
}

// Stop ends the incarnation and removes every trace of it; see runtimes.Runtime.
func (v *Level) Stop(ctx context.Context, key runtimes.Key) error {
	dir := v.dir(key)
	h, err := dir.readHandle()
	if errors.Is(err, fs.ErrNotExist) {
		if err := v.discard(key); !errors.Is(err, runtimes.ErrNotFound) {
			return fmt.Errorf("stop %s: %w", key, err)
		}
		return nil
	}
	if err == nil {
		err = v.end(ctx, key, dir, h)
	}
	if err == nil {
		err = v.l.dropCgroup(v.name, key)
	}
	if err == nil {
		err = dir.remove()
	}
	if err != nil {
		return fmt.Errorf("stop %s: %w", key, err)
	}
	return nil
}

// end makes sure that nothing of the incarnation is alive.
func (v *Level) end(ctx context.Context, key runtimes.Key, dir runDir, h handle) error {
	pidfd, err := v.l.open(h)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return err
	}
	defer pidfd.Close()
	defer reap(pidfd)
	if err := unix.Mknod(dir.file(stopMark), unix.S_IFREG|0o600, 0); err != nil && err != unix.EEXIST {
		return &fs.PathError{Op: "create", Path: dir.file(stopMark), Err: err}
	}
	sig, grace := unix.SIGTERM, strayTimeout
	if rec, err := dir.readRecord(); err == nil {
		sig, grace = signalNumber(rec.Spec.StopSignal), rec.Spec.StopTimeout
	}
	if v.ask(h, sig) && within(ctx, pidfd, grace) {
		return nil
	}
	return v.kill(ctx, key, pidfd, h)
}

// ask sends the stop signal to the program.
func (v *Level) ask(h handle, sig unix.Signal) bool {
	prog, err := openProgram(h.pid)
	if err != nil {
		return false
	}
	defer prog.Close()
	return signal(prog, sig) == nil
}

// kill ends the program the hard way, so that init ends the rest and leaves its
// record, and then init too.
func (v *Level) kill(ctx context.Context, key runtimes.Key, pidfd *os.File, h handle) error {
	// The caller's patience was for the grace; a kill is always seen through.
	ctx = context.WithoutCancel(ctx)
	if v.ask(h, unix.SIGKILL) && within(ctx, pidfd, killPatience) {
		return nil
	}
	if err := v.l.killCgroup(v.name, key); err != nil {
		return err
	}
	if err := signal(pidfd, unix.SIGKILL); err != nil {
		return err
	}
	if !within(ctx, pidfd, endPatience) {
		return fmt.Errorf("process %d does not end after SIGKILL; it hangs in the kernel", h.pid)
	}
	return nil
}

// within waits at most d for a process to end.
func within(ctx context.Context, pidfd *os.File, d time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	defer pidfd.SetReadDeadline(time.Time{})
	return awaitEnd(ctx, pidfd) == nil
}

// signalNumber knows the signals by name; an unknown one stops as SIGTERM does,
// for Start has refused it.
func signalNumber(name string) unix.Signal {
	if sig := unix.SignalNum(name); sig != 0 {
		return sig
	}
	return unix.SIGTERM
}
