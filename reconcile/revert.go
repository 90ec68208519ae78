package reconcile

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"syscall"
	"time"

	"github.com/tenement/ten/reconcile/plan"
	"github.com/tenement/ten/reconcile/store"
	"github.com/tenement/ten/runtimes"
)

const (
	holdHint   = "push a fix, or run: ten retry"
	revertTime = 5 * time.Minute
)

// fail ends a failed rollout: it reverts once to last good, then holds. The hold
// is kept before the revert, so that a daemon killed in it does not try again.
func (l *Loop) fail(ctx context.Context, d, before *desired, claimed []runtimes.ID, cause error) (store.Outcome, string, time.Duration) {
	ctx = context.WithoutCancel(ctx)
	again := l.retryAfter(cause)
	l.log.Error("rollout failed", "revision", short(d.Revision), "err", cause)
	var logs []string
	var af *actionError
	if errors.As(cause, &af) {
		logs = af.logs
	}
	outcome, message := store.Failed, fmt.Sprintf("revision %s failed: %v", short(d.Revision), cause)
	l.mu.Lock()
	l.failing = d
	l.mu.Unlock()
	l.keepHold(ctx, d, message, logs)
	switch {
	case before == nil:
		l.holdFailed(af)
		message += "; there is no earlier one to go back to"
	case before.Model == d.Model || before.Revision == d.Revision:
		l.holdFailed(af)
	default:
		began := time.Now()
		switch err := l.revert(before, claimed); {
		case err == nil:
			outcome = store.Reverted
			message = fmt.Sprintf("held at %s: %v; reverted in %s", short(before.Revision), cause, took(began))
		case errors.Is(err, errPreempted) || errors.Is(err, errDown) || l.runCtx.Err() != nil:
			return outcome, message, 0 // what came meanwhile says how the host stands
		default:
			message += fmt.Sprintf("; going back to %s failed too: %v", short(before.Revision), err)
		}
	}
	hint := holdHint
	if again > 0 {
		hint = fmt.Sprintf("tried again in %s; or run: ten retry", again.Round(time.Second))
	}
	l.say(stateHeld, message, hint)
	l.keepHold(ctx, d, message, logs)
	l.finish(d, progress{Error: message, Logs: logs})
	return outcome, message, again
}

func (l *Loop) keepHold(ctx context.Context, d *desired, reason string, logs []string) {
	if err := l.cfg.Store.Hold(ctx, store.Hold{Revision: d.Revision, Reason: reason, Logs: logs, At: time.Now()}); err != nil {
		l.log.Error("hold can't be kept", "err", err)
	}
}

// holdFailed keeps supervision from starting again what a first rollout could not.
func (l *Loop) holdFailed(af *actionError) {
	if af == nil {
		return
	}
	l.mu.Lock()
	l.failed[af.id.Service] = "held: " + af.err.Error()
	l.mu.Unlock()
}

// revert applies last good again. It is an ordinary plan with its own deadline,
// and it is never itself reverted. A newer revision ends its waits.
func (l *Loop) revert(before *desired, claimed []runtimes.ID) error {
	ctx, cancel := context.WithTimeout(l.runCtx, revertTime)
	defer cancel()
	ctx, preempt := context.WithCancelCause(ctx)
	defer preempt(nil)
	l.enforce(before)
	l.mu.Lock()
	l.preempt = preempt
	late := l.waiting != nil || l.down
	l.mu.Unlock()
	if late {
		return errPreempted
	}
	obs, err := l.observe(ctx, before, "")
	if err != nil {
		return err
	}
	obs.Approved = true // what the failed revision added may go again
	p := plan.New(before.Desired, obs)
	mine := make(map[runtimes.ID]bool, len(claimed))
	for _, id := range claimed {
		mine[id] = true
	}
	_, _, ids := due(p, true)
	ids = slices.DeleteFunc(ids, func(id runtimes.ID) bool { return mine[id] })
	if err := l.claimAll(ctx, ids); err != nil {
		return err
	}
	defer l.handBack(ids...)
	if err := l.carryOut(ctx, before, p, true); err != nil {
		return errors.Join(err, context.Cause(ctx))
	}
	_, err = l.settle(ctx, before, p)
	return err
}

// broken ends a rollout that could not even be planned: the host is at fault.
func (l *Loop) broken(ctx context.Context, d *desired, err error) time.Duration {
	if ctx.Err() != nil {
		return 0
	}
	again := l.backoff()
	l.log.Error("revision can't be planned", "revision", short(d.Revision), "err", err)
	l.say(stateError, err.Error(), fmt.Sprintf("tried again in %s", again))
	l.finish(d, progress{Error: err.Error()})
	return again
}

func (l *Loop) backoff() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	again := min(retryFirst<<min(l.attempts, 10), retryMax)
	l.attempts++
	return again
}

// retryAfter tells whether trying the same revision again could help: not when
// its own programs or config are at fault, but when the host was.
func (l *Loop) retryAfter(err error) time.Duration {
	for _, transient := range []error{syscall.EAGAIN, syscall.ENOMEM, syscall.ENOSPC, syscall.EMFILE, syscall.ENFILE, syscall.EBUSY, syscall.EIO} {
		if errors.Is(err, transient) {
			return l.backoff()
		}
	}
	return 0
}

func took(since time.Time) string {
	d := time.Since(since)
	switch {
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return d.Round(10 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}

// actionError is a failed action with what its instance said last.
type actionError struct {
	id      runtimes.ID
	op      plan.Op
	err     error
	logs    []string
	started bool // a process did come up
	left    bool // and is still there: its end, or what probes say of it, is for the next plan to see
}

func (e *actionError) Error() string { return fmt.Sprintf("%s %s: %v", e.op, e.id, e.err) }
func (e *actionError) Unwrap() error { return e.err }
