package reconcile

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/tenement/ten/host/api"
	"github.com/tenement/ten/reconcile/plan"
	"github.com/tenement/ten/reconcile/store"
	"github.com/tenement/ten/runtimes"
)

const (
	retryFirst = 10 * time.Second
	retryMax   = 10 * time.Minute
	blockedFor = 30 * time.Second // how long until a blocked action is tried again
)

// rollouts applies revisions, one at a time, the newest one only.
func (l *Loop) rollouts(ctx context.Context) error {
	var retry <-chan time.Time
	var waiting *desired
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case d := <-l.submit:
			waiting = d
		case <-retry:
			l.mu.Lock()
			l.failed = map[string]string{}
			l.mu.Unlock()
		}
		retry = nil
		again := l.rollout(ctx, waiting)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if again > 0 {
			retry = time.After(again)
		}
	}
}

// rollout applies one revision and sees it through: health gates, one revert,
// the hold. It returns after how long to try the same revision again, 0 = never.
func (l *Loop) rollout(ctx context.Context, d *desired) time.Duration {
	began := time.Now()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	l.mu.Lock()
	late := l.down || len(l.submit) > 0 // a newer one came before this began
	if !late {
		l.preempt = cancel
	}
	l.mu.Unlock()
	if late {
		return 0
	}
	defer func() {
		l.mu.Lock()
		l.preempt, l.offered = nil, len(l.submit) > 0
		l.mu.Unlock()
		l.poke()
	}()
	p, ids, wait, err := l.prepare(ctx, d)
	defer l.release(ids...)
	if err != nil {
		return l.broken(ctx, d, err)
	}
	if wait {
		return 0
	}
	if l.unchanged(d, p) {
		return l.carryOn(d, p)
	}
	attempt, err := l.cfg.Store.Attempt(ctx, store.Revision{
		Hash: d.Revision, Subject: d.Subject, Signer: d.Signer, Source: l.cfg.Origin, At: began,
	})
	if err != nil {
		return l.broken(ctx, d, err)
	}
	before := l.enforce(d)
	err = l.carryOut(ctx, d, p)
	if err == nil {
		err = l.settle(ctx, d)
	}
	again := time.Duration(0)
	outcome, message := store.Applied, ""
	switch {
	case err == nil:
		again = l.applied(ctx, d, p, began)
	case errors.Is(context.Cause(ctx), errPreempted):
		outcome, message = store.Superseded, "a newer revision came first"
		l.keep(before)
		l.tell(progress{Done: true, Error: message})
	case ctx.Err() != nil: // the daemon ends, or goes down
		return 0
	default:
		outcome, message, again = l.fail(ctx, d, before, ids, err)
	}
	if err := l.cfg.Store.Finish(ctx, attempt, outcome, message, time.Since(began)); err != nil && ctx.Err() == nil {
		l.log.Error("history can't be written", "err", err)
	}
	return again
}

// prepare plans, takes what the plan is about, and plans again now that nobody
// else works on it. wait is true when a person has to speak first. The ids are
// the caller's to release, whatever else is returned.
func (l *Loop) prepare(ctx context.Context, d *desired) (p plan.Plan, ids []runtimes.ID, wait bool, err error) {
	for {
		obs, err := l.observe(ctx, d, "")
		if err != nil {
			return p, ids, false, err
		}
		if why, ok := obs.Paused["*"]; ok {
			l.hold(d, statePaused, pausedText(why), "ten resume")
			return p, ids, true, nil
		}
		p = plan.New(d.Desired, obs)
		if p.Guard != nil {
			l.hold(d, stateBlocked, fmt.Sprintf("revision %s would remove %d of %d instances", short(d.Revision), len(p.Guard.Removed), p.Guard.Declared),
				"look with: ten plan; if it is meant: ten approve "+short(d.Revision))
			l.log.Warn("removal guard raised", "revision", short(d.Revision), "reason", fmt.Sprintf("%d of %d instances would go", len(p.Guard.Removed), p.Guard.Declared))
			return p, ids, true, nil
		}
		_, _, need := due(p)
		more := slices.DeleteFunc(need, func(id runtimes.ID) bool { return slices.Contains(ids, id) })
		if len(more) == 0 {
			l.mu.Lock()
			l.pending = nil
			l.mu.Unlock()
			return p, ids, false, nil
		}
		if err := l.claimAll(ctx, more); err != nil {
			return p, ids, false, err
		}
		ids = append(ids, more...)
	}
}

// unchanged reports that d is in force already, and that no action of its plan
// would change anything: what is left is blocked, or supervision's to do.
func (l *Loop) unchanged(d *desired, p plan.Plan) bool {
	l.mu.Lock()
	good := l.good
	l.mu.Unlock()
	if good == nil || good != d && (good.Revision != d.Revision || good.Git != d.Git) {
		return false
	}
	return !slices.ContainsFunc(p.Actions, func(a plan.Action) bool {
		return a.Blocked == nil && !a.Drift
	})
}

// carryOn goes on with a revision that is in force: a restarted daemon gets its
// tree back, and a blocked action is looked at again later.
func (l *Loop) carryOn(d *desired, p plan.Plan) time.Duration {
	l.mu.Lock()
	l.force, l.good = d, d
	l.mu.Unlock()
	if p.Summary.Blocked > 0 {
		l.say(stateBlocked, blockedText(p), "ten plan")
		l.tell(progress{Done: true, Error: blockedText(p)})
		return blockedFor
	}
	l.say(stateInSync, "at "+short(d.Revision), "")
	l.tell(progress{Done: true, Text: "nothing to change: " + short(d.Revision) + " is in force"})
	return 0
}

func pausedText(why string) string {
	if why == "" {
		return "paused by a person"
	}
	return "paused: " + why
}

// hold keeps a revision until a person speaks.
func (l *Loop) hold(d *desired, state api.State, message, hint string) {
	l.say(state, message, hint)
	l.mu.Lock()
	l.pending = d
	l.mu.Unlock()
	l.tell(progress{Done: true, Error: message + " (" + hint + ")"})
}

// enforce makes d the revision in force and returns the one before it.
func (l *Loop) enforce(d *desired) *desired {
	l.mu.Lock()
	before := l.good
	l.force, l.offered = d, false
	l.failed = map[string]string{}
	l.mu.Unlock()
	return before
}

// keep returns to what was in force, after a rollout that did not end.
func (l *Loop) keep(before *desired) {
	l.mu.Lock()
	if before != nil {
		l.force = before
	}
	l.mu.Unlock()
}

// settle checks the fixed point: after apply, the plan is empty.
func (l *Loop) settle(ctx context.Context, d *desired) error {
	obs, err := l.observe(ctx, d, "")
	if err != nil {
		return err
	}
	if err := l.commit(ctx, d); err != nil {
		return err
	}
	obs.Applied, obs.AppliedFields = d.Revision, d.Model.Fields
	p := plan.New(d.Desired, obs)
	var rest []string
	for _, a := range p.Actions {
		if a.Blocked != nil || a.Drift {
			continue
		}
		rest = append(rest, fmt.Sprintf("%s %s (%s)", a.Op, a.ID, a.Reason.Text))
	}
	l.publish(obs)
	if len(rest) > 0 {
		return &divergedError{rest}
	}
	return nil
}

// divergedError tells that a plan was not empty after it had been applied.
type divergedError struct{ rest []string }

func (e *divergedError) Error() string {
	return "does not converge: after apply there is still to do: " + strings.Join(e.rest, "; ")
}

// applied makes d last good.
func (l *Loop) applied(ctx context.Context, d *desired, p plan.Plan, began time.Time) time.Duration {
	l.mu.Lock()
	l.good, l.attempts = d, 0
	l.mu.Unlock()
	if err := l.cfg.Store.ClearHold(ctx); err != nil {
		l.log.Error("hold can't be cleared", "err", err)
	}
	s := p.Summary
	text := fmt.Sprintf("applied %s in %s: %s", short(d.Revision), took(began), counts(s))
	l.log.Info("revision applied", "revision", short(d.Revision), "dur", time.Since(began))
	var again time.Duration
	if s.Blocked > 0 {
		again = blockedFor
		l.say(stateBlocked, blockedText(p), "ten plan")
		l.tell(progress{Done: true, Text: text, Error: blockedText(p)})
	} else {
		l.say(stateInSync, text, "")
		l.tell(progress{Done: true, Text: text})
	}
	l.spawn(func() {
		l.sweep(l.runCtx)
		debug.FreeOSMemory() // a rollout is the high tide of a daemon that otherwise waits
	})
	return again
}

func counts(s plan.Summary) string {
	var parts []string
	add := func(n int, what string) {
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, what))
		}
	}
	add(s.Create, "created")
	add(s.Update, "updated")
	add(s.Reload, "reloaded")
	add(s.Restart, "restarted")
	add(s.Replace, "replaced")
	add(s.Remove, "removed")
	add(s.Blocked, "blocked")
	add(s.Unchanged, "unchanged")
	if len(parts) == 0 {
		return "nothing to change"
	}
	return strings.Join(parts, ", ")
}

func blockedText(p plan.Plan) string {
	var first *plan.Action
	n := 0
	for i, a := range p.Actions {
		if a.Blocked != nil {
			n++
			if first == nil {
				first = &p.Actions[i]
			}
		}
	}
	if first == nil {
		return "nothing is blocked"
	}
	text := fmt.Sprintf("%s is blocked: %s", first.ID, first.Blocked.Text)
	if n > 1 {
		text += fmt.Sprintf(" (and %d more)", n-1)
	}
	return text
}

// fail ends a failed rollout: it reverts once to last good, then holds.
func (l *Loop) fail(ctx context.Context, d, before *desired, claimed []runtimes.ID, cause error) (store.Outcome, string, time.Duration) {
	again := l.retryAfter(cause)
	l.log.Error("rollout failed", "revision", short(d.Revision), "err", cause)
	var logs []string
	var af *actionError
	if errors.As(cause, &af) {
		logs = af.logs
	}
	outcome, message := store.Failed, cause.Error()
	switch {
	case before == nil:
		l.holdFailed(af)
		message = fmt.Sprintf("revision %s failed: %v; there is no earlier one to go back to", short(d.Revision), cause)
	case before.Model == d.Model || before.Revision == d.Revision:
		l.holdFailed(af)
		message = fmt.Sprintf("revision %s failed: %v", short(d.Revision), cause)
	default:
		began := time.Now()
		if err := l.revert(ctx, before, claimed); err != nil {
			message = fmt.Sprintf("revision %s failed: %v; going back to %s failed too: %v", short(d.Revision), cause, short(before.Revision), err)
			break
		}
		outcome = store.Reverted
		message = fmt.Sprintf("held at %s: %v; reverted in %s", short(before.Revision), cause, took(began))
	}
	hint := "push a fix, or run: ten retry"
	if again > 0 {
		hint = fmt.Sprintf("tried again in %s; or run: ten retry", again.Round(time.Second))
	}
	l.say(stateHeld, message, hint)
	h := store.Hold{Revision: d.Revision, Reason: message, At: time.Now()}
	if err := l.cfg.Store.Hold(ctx, h); err != nil && ctx.Err() == nil {
		l.log.Error("hold can't be kept", "err", err)
	}
	l.tell(progress{Done: true, Error: message, Logs: logs})
	return outcome, message, again
}

// holdFailed keeps supervision from starting again what a first rollout could not.
func (l *Loop) holdFailed(af *actionError) {
	if af == nil {
		return
	}
	l.mu.Lock()
	l.failed[af.id.Service] = "held: " + af.err.Error()
	l.good = nil
	l.mu.Unlock()
}

// revert applies last good again. It is an ordinary plan with its own deadline,
// and it is never itself reverted.
func (l *Loop) revert(ctx context.Context, before *desired, claimed []runtimes.ID) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Minute)
	defer cancel()
	l.enforce(before)
	obs, err := l.observe(ctx, before, "")
	if err != nil {
		return err
	}
	obs.Approved = true // what the failed revision added may go again
	p := plan.New(before.Desired, obs)
	_, _, ids := due(p)
	ids = slices.DeleteFunc(ids, func(id runtimes.ID) bool { return slices.Contains(claimed, id) })
	if err := l.claimAll(ctx, ids); err != nil {
		return err
	}
	defer l.release(ids...)
	if err := l.carryOut(ctx, before, p); err != nil {
		return err
	}
	return l.settle(ctx, before)
}

// broken ends a rollout that could not even be planned: the host is at fault.
func (l *Loop) broken(ctx context.Context, d *desired, err error) time.Duration {
	if ctx.Err() != nil {
		return 0
	}
	again := l.backoff()
	l.log.Error("revision can't be planned", "revision", short(d.Revision), "err", err)
	l.say(stateError, err.Error(), fmt.Sprintf("tried again in %s", again))
	l.tell(progress{Done: true, Error: err.Error()})
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
	id   runtimes.ID
	op   plan.Op
	err  error
	logs []string
	// started tells that a process did come up: its end, or what probes say of
	// it, is there for the next plan to see.
	started bool
}

func (e *actionError) Error() string { return fmt.Sprintf("%s %s: %v", e.op, e.id, e.err) }
func (e *actionError) Unwrap() error { return e.err }
