package launch

import (
	"context"
	"errors"
	"fmt"
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
	e, err := v.find(key)
	if err != nil {
		return runtimes.Exit{}, fmt.Errorf("wait for %s: %w", key, err)
	}
	// Opened now, because Stop removes it as soon as all is over.
	file, err := os.Open(string(v.path(key)))
	if err != nil {
		return runtimes.Exit{}, fmt.Errorf("wait for %s: %w", key, runtimes.ErrNotFound)
	}
	defer file.Close()
	pidfd, err := v.l.open(e.init)
	if err != nil {
		if rec, ok := readExit(file); ok {
			return v.exitFrom(key, rec), nil
		}
		return v.exitOf(key, e), nil
	}
	defer pidfd.Close()
	if err := awaitEnd(ctx, pidfd); err != nil {
		return runtimes.Exit{}, err
	}
	reap(pidfd)
	if rec, ok := readExit(file); ok {
		return v.exitFrom(key, rec), nil
	}
	return v.killedInit(ctx, key, pidfd), nil
}

// killedInit tells how an instance ended whose init was killed before it could
// say. The kernel knows once somebody has reaped it, which for an adopted
// instance is pid 1 of the host.
func (v *Level) killedInit(ctx context.Context, key runtimes.Key, pidfd *os.File) runtimes.Exit {
	for range 20 {
		if status, ok := kernelStatus(pidfd); ok {
			return v.exitFromStatus(key, status)
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
	e, err := v.find(key)
	if errors.Is(err, errUnfinished) {
		e, err = v.discard(ctx, key)
	}
	if errors.Is(err, runtimes.ErrNotFound) {
		return nil
	}
	if err == nil {
		err = v.end(ctx, key, e)
	}
	if err == nil {
		err = v.l.dropCgroup(context.WithoutCancel(ctx), v.name, key)
	}
	if err == nil {
		if e.rec != nil && e.rec.Spec.ListenFDs {
			dropSocket(e.rec.Spec.Socket, e.tag)
		}
		err = v.path(key).remove()
	}
	if err != nil {
		return fmt.Errorf("stop %s: %w", key, err)
	}
	return nil
}

// end makes sure that nothing of the incarnation is alive.
func (v *Level) end(ctx context.Context, key runtimes.Key, e *entry) error {
	pidfd, err := v.l.open(e.init)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return err
	}
	defer pidfd.Close()
	defer reap(pidfd)
	// The mark lets a daemon that takes over know that the end was wanted.
	if err := v.path(key).mark(stopMarkOffset, 1); err != nil {
		return err
	}
	sig, grace := unix.SIGTERM, strayTimeout
	if e.rec != nil {
		sig, grace = signalNumber(e.rec.Spec.StopSignal), e.rec.Spec.StopTimeout
	}
	asked := v.ask(e.init, sig)
	if e.suspended { // what it does first, once it can do anything, is to take the signal
		if err := v.l.groups.Thaw(groupName(v.name, key)); err != nil {
			return err
		}
	}
	if asked && within(ctx, pidfd, grace) {
		return nil
	}
	return v.kill(ctx, key, pidfd, e.init)
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
