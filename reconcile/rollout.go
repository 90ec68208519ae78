package reconcile

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"strings"
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
	for {
		due := false
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-l.submit:
		case <-retry:
			due = true
		}
		inner, cancel := context.WithCancelCause(ctx)
		d := l.begin(due, cancel)
		if d == nil {
			cancel(nil)
			continue
		}
		retry = nil
		again := l.end(d, l.rollout(inner, d))
		cancel(nil)
		if again > 0 {
			retry = time.After(again)
		}
	}
}

// begin makes the newest revision that waits the one under way, or else the one
// to be tried again when that is due; nil when there is none. preempt ends its waits.
func (l *Loop) begin(due bool, preempt context.CancelCauseFunc) *desired {
	l.mu.Lock()
	defer l.mu.Unlock()
	d := l.waiting
	if d == nil && due {
		d = l.repeat
	}
	if l.down || d == nil {
		return nil
	}
	l.waiting, l.repeat, l.current, l.preempt, l.replan = nil, nil, d, preempt, false
	l.begun++
	if d == l.force {
		l.failed = map[string]string{} // another try begins afresh
	}
	return d
}

// end puts the rollout of d away and lets supervision go on. It returns after how
// long to try d again: at once when a person took away what it waits for.
func (l *Loop) end(d *desired, again time.Duration) time.Duration {
	l.mu.Lock()
	if l.replan && (l.status.state == statePaused || l.status.state == stateBlocked) {
		again = time.Nanosecond
	}
	if again > 0 {
		l.repeat = d
	}
	tidy := l.tidy
	l.preempt, l.current, l.replan, l.tidy = nil, nil, false, false
	l.offered = l.waiting != nil
	over := l.waiting != nil && l.waiting != d
	l.mu.Unlock()
	if over { // for those who were not told already
		l.finish(d, progress{Error: errPreempted.Error()})
	}
	if tidy {
		l.spawn(func() {
			l.prune()
			l.pruneRests(l.runCtx)
			l.sweep(l.runCtx)
			ebb(l.runCtx)
		})
	}
	l.poke()
	return again
}

// afterglow is how long a rollout is followed by looks at all there is.
const afterglow = 5 * time.Second

// ebb gives back the memory of a rollout, the high tide of a daemon that
// otherwise waits, once what follows it has been done too.
func ebb(ctx context.Context) {
	t := time.NewTimer(afterglow)
	defer t.Stop()
	select {
	case <-t.C:
		debug.FreeOSMemory()
	case <-ctx.Done():
	}
}

// rollout applies one revision and sees it through: health gates, one revert,
// the hold. It returns after how long to try the same revision again, 0 = never.
func (l *Loop) rollout(ctx context.Context, d *desired) time.Duration {
	began := time.Now()
	r, err := l.prepare(ctx, d)
	defer l.handBack(r.ids...)
	if err != nil {
		return l.broken(ctx, d, err)
	}
	if r.person {
		return r.again
	}
	if l.unchanged(d, r.plan) {
		return l.carryOn(ctx, d, r)
	}
	attempt, err := l.cfg.Store.Attempt(ctx, store.Revision{
		Hash: d.Revision, Subject: d.Subject, Signer: d.Signer, Source: l.cfg.Origin, At: began,
	})
	if err != nil {
		return l.broken(ctx, d, err)
	}
	before := l.enforce(d)
	err = l.carryOut(ctx, d, r.plan, false)
	if err == nil {
		r.unknown, err = l.settle(ctx, d, r.plan)
	}
	again := time.Duration(0)
	outcome, message := store.Applied, ""
	switch {
	case err == nil:
		again = l.applied(ctx, d, before, r, began)
	case errors.Is(context.Cause(ctx), errPreempted):
		outcome, message = store.Superseded, errPreempted.Error()
		l.keep(before)
	case ctx.Err() != nil: // the daemon ends, or goes down
		return 0
	default:
		outcome, message, again = l.fail(ctx, d, before, r.ids, err)
	}
	if err := l.cfg.Store.Finish(context.WithoutCancel(ctx), attempt, outcome, message, time.Since(began)); err != nil {
		l.log.Error("history can't be written", "err", err)
	}
	return again
}

// ready is a plan whose ids nobody else works on.
type ready struct {
	plan    plan.Plan
	ids     []runtimes.ID             // claimed
	unknown map[runtimes.Level]string // levels that could not be asked
	person  bool                      // a person has to speak first
	again   time.Duration             // unless that is so for a time only
}

// prepare plans, takes what the plan is about, and plans again now that nobody
// else works on it. The ids are the caller's to release, whatever else is returned.
func (l *Loop) prepare(ctx context.Context, d *desired) (r ready, err error) {
	mine := map[runtimes.ID]bool{}
	for {
		obs, err := l.observe(ctx, d, "")
		if err != nil {
			return r, err
		}
		if why, ok := obs.Paused["*"]; ok {
			l.hold(d, statePaused, pausedText(why), "ten resume")
			r.person = true
			r.again, err = l.pausedFor(ctx, obs.Now)
			return r, err
		}
		p := plan.New(d.Desired, obs)
		if p.Guard != nil {
			l.hold(d, stateBlocked, fmt.Sprintf("revision %s would remove %d of %d instances", short(d.Revision), len(p.Guard.Removed), p.Guard.Declared),
				"look with: ten plan; if it is meant: ten approve "+short(d.Revision))
			l.log.Warn("removal guard raised", "revision", short(d.Revision), "reason", fmt.Sprintf("%d of %d instances would go", len(p.Guard.Removed), p.Guard.Declared))
			r.person = true
			return r, nil
		}
		r.plan, r.unknown = p, obs.Unknown
		_, _, need := due(p, false)
		more := slices.DeleteFunc(need, func(id runtimes.ID) bool { return mine[id] })
		if len(more) == 0 {
			l.mu.Lock()
			l.pending = nil
			l.mu.Unlock()
			return r, nil
		}
		if err := l.claimAll(ctx, more); err != nil {
			return r, err
		}
		for _, id := range more {
			mine[id] = true
		}
		r.ids = append(r.ids, more...)
	}
}

// pausedFor is how long the host stays paused by itself, 0 = until a person resumes it.
func (l *Loop) pausedFor(ctx context.Context, now time.Time) (time.Duration, error) {
	pauses, err := l.cfg.Store.Pauses(ctx, now)
	for _, p := range pauses {
		if p.Service == "*" && !p.Until.IsZero() {
			return max(p.Until.Sub(now), time.Millisecond), nil
		}
	}
	return 0, err
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
		return a.Blocked == nil && !supervised(a)
	})
}

// carryOn goes on with a revision that is in force: a restarted daemon gets its
// tree back, and what is left is looked at.
func (l *Loop) carryOn(ctx context.Context, d *desired, r ready) time.Duration {
	l.mu.Lock()
	l.force, l.good = d, d
	l.mu.Unlock()
	return l.stand(ctx, d, r, "at "+short(d.Revision), "nothing to change: "+short(d.Revision)+" is in force")
}

// stand says how the host stands with d in force and its plan carried out as far
// as that can be, and when to look again at what is left.
func (l *Loop) stand(ctx context.Context, d *desired, r ready, state, text string) time.Duration {
	held, isHeld, err := l.cfg.Store.Held(ctx)
	if err != nil {
		l.log.Error("hold can't be read", "err", err)
	}
	l.mu.Lock()
	for _, a := range r.plan.Actions {
		if supervised(a) && a.Blocked == nil { // supervision's; it may have been blocked until now
			l.dirty[a.ID] = true
		}
	}
	l.mu.Unlock()
	left := ""
	switch {
	case r.plan.Summary.Blocked > 0:
		left = blockedText(r.plan)
	case len(r.unknown) > 0:
		left = unknownText(r.unknown)
	}
	switch {
	case isHeld && held.Revision != d.Revision:
		l.say(stateHeld, held.Reason, holdHint)
	case left != "":
		l.say(stateBlocked, left, "ten plan")
	default:
		l.say(stateInSync, state, "")
	}
	l.finish(d, progress{Text: text, Error: left})
	if left != "" {
		return blockedFor
	}
	return 0
}

func unknownText(unknown map[runtimes.Level]string) string {
	level := slices.Sorted(maps.Keys(unknown))[0]
	return fmt.Sprintf("what runs at isolation level %q can't be asked: %s", level, unknown[level])
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
	l.finish(d, progress{Error: message + " (" + hint + ")"})
}

// enforce makes d the revision in force and returns the one before it.
func (l *Loop) enforce(d *desired) *desired {
	l.mu.Lock()
	before := l.good
	l.force, l.offered = d, l.waiting != nil
	l.failed = map[string]string{}
	clear(l.resting)
	l.mu.Unlock()
	l.publish()
	l.poke() // what ended meanwhile, and is none of this rollout's, is repaired beside it
	return before
}

// keep returns to what was in force, after a rollout that did not end.
func (l *Loop) keep(before *desired) {
	l.mu.Lock()
	if before != nil {
		l.force = before
	}
	l.mu.Unlock()
	l.publish()
}

// settle checks the fixed point: after apply, the plan is empty. Only then d is
// what a restarted daemon begins with. What was blocked in the plan that was
// carried out, and is so no more, is for the next one. Levels that could not be
// asked are given.
func (l *Loop) settle(ctx context.Context, d *desired, done plan.Plan) (unknown map[runtimes.Level]string, err error) {
	obs, err := l.observe(ctx, d, "")
	if err != nil {
		return nil, err
	}
	obs.Applied, obs.AppliedFields = d.Revision, d.Model.Fields
	p := plan.New(d.Desired, obs)
	blocked := map[runtimes.ID]bool{}
	for _, a := range done.Actions {
		blocked[a.ID] = blocked[a.ID] || a.Blocked != nil
	}
	var rest []string
	for _, a := range p.Actions {
		switch {
		case a.Blocked != nil || a.Drift || blocked[a.ID]:
			continue
		case supervised(a): // somebody asked while the rollout had the host
			l.look(a.ID)
			continue
		}
		rest = append(rest, fmt.Sprintf("%s %s (%s)", a.Op, a.ID, a.Reason.Text))
	}
	l.publish()
	if len(rest) > 0 {
		return obs.Unknown, &divergedError{rest}
	}
	return obs.Unknown, l.commit(ctx, d)
}

// divergedError tells that a plan was not empty after it had been applied.
type divergedError struct{ rest []string }

func (e *divergedError) Error() string {
	return "does not converge: after apply there is still to do: " + strings.Join(e.rest, "; ")
}

// applied makes d last good. Where it was that before, what is held stays so.
func (l *Loop) applied(ctx context.Context, d, before *desired, r ready, began time.Time) time.Duration {
	l.mu.Lock()
	l.good, l.attempts, l.tidy = d, 0, true
	l.mu.Unlock()
	ctx = context.WithoutCancel(ctx)
	if before == nil || before.Revision != d.Revision || before.Git != d.Git {
		if err := l.cfg.Store.ClearHold(ctx); err != nil {
			l.log.Error("hold can't be cleared", "err", err)
		}
	}
	text := fmt.Sprintf("applied %s in %s: %s", short(d.Revision), took(began), counts(r.plan.Summary))
	l.log.Info("revision applied", "revision", short(d.Revision), "dur", time.Since(began))
	return l.stand(ctx, d, r, text, text)
}

func counts(s plan.Summary) string {
	var parts []string
	add := func(n int, what string) {
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, what))
		}
	}
	add(s.Create, "created")
	add(s.Start, "started again")
	add(s.Update, "updated")
	add(s.Reload, "reloaded")
	add(s.Restart, "restarted")
	add(s.Replace, "replaced")
	add(s.Remove, "removed")
	add(s.Cleanup, "leftovers removed")
	add(s.Sleep, "put to sleep")
	add(s.Wake, "woken")
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
