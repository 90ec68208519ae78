package reconcile

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/tenement/ten/reconcile/plan"
	"github.com/tenement/ten/reconcile/source"
	"github.com/tenement/ten/reconcile/store"
	"github.com/tenement/ten/schema"
)

// follow takes revisions from the source as they come, loads them and hands the
// newest on to rollouts. A revision that can't be had or doesn't validate
// changes nothing but the status.
func (l *Loop) follow(ctx context.Context) error {
	var last *source.Snapshot
	looked := sync.OnceFunc(func() { close(l.looked) })
	for {
		anchor, err := l.anchor(ctx)
		if err != nil {
			return err
		}
		snap, err := l.cfg.Source.Latest(ctx, anchor)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			if l.unreadable(ctx, err) {
				last = nil // should the branch go back, what it goes back to is looked at anew
			}
		case snap != last:
			l.readable()
			last = snap
			if err := l.accept(ctx, snap); err != nil {
				if ctx.Err() != nil {
					return ctx.Err()
				}
				l.log.Error("revision can't be taken", "revision", short(snap.Revision), "err", err)
				l.say(stateError, fmt.Sprintf("revision %s: %v", short(snap.Revision), err), "it is tried again at the next look at the source; or run: ten sync")
				last = nil
			}
		default:
			l.readable()
		}
		looked()
		if err := l.cfg.Source.Wait(ctx); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return fmt.Errorf("wait for the source: %w", err)
		}
	}
}

func (l *Loop) anchor(ctx context.Context) (source.Anchor, error) {
	revision, err := l.cfg.Store.Anchor(ctx)
	if err != nil {
		return source.Anchor{}, err
	}
	rewind, err := l.cfg.Store.RewindAccepted(ctx)
	return source.Anchor{Revision: revision, AcceptRewind: rewind}, err
}

// unreadable says why no newer revision is known; what runs goes on. It reports
// whether there is a newer one, and it was refused.
func (l *Loop) unreadable(ctx context.Context, err error) (isRefused bool) {
	var refused *source.RefusedError
	if errors.As(err, &refused) {
		l.mu.Lock()
		first := l.status.attempted != refused.Revision
		l.status.attempted = refused.Revision
		l.saying(stateBlocked, refused.Error(), refused.Hint)
		l.mu.Unlock()
		if first {
			l.log.Warn("revision refused", "revision", short(refused.Revision), "reason", refused.Error())
			l.record(ctx, store.Revision{Hash: refused.Revision, Source: l.cfg.Origin}, store.Refused, refused.Error())
		}
		return true
	}
	hint := ""
	var fetch *source.FetchError
	if errors.As(err, &fetch) {
		hint = fetch.Hint
	}
	l.mu.Lock()
	first := l.status.fetch != err.Error()
	l.status.fetch, l.status.fetchHint = err.Error(), hint
	l.mu.Unlock()
	if first {
		l.news.tell()
		l.log.Warn("source can't be read", "err", err)
	}
	return false
}

func (l *Loop) readable() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.status.fetch != "" {
		l.news.tell()
	}
	l.status.fetch, l.status.fetchHint = "", ""
}

// accept loads a snapshot and submits it for rollout, unless that was done.
func (l *Loop) accept(ctx context.Context, snap *source.Snapshot) error {
	done, err := l.settled(ctx, snap.Revision)
	if err != nil {
		return err
	}
	if done { // what is to be known of it may be new all the same
		l.mu.Lock()
		l.status.notice = snap.Notice
		l.mu.Unlock()
		l.news.tell()
		return nil
	}
	d, err := l.take(ctx, snap)
	if d == nil || err != nil {
		return err
	}
	l.log.Info("revision accepted", "revision", short(snap.Revision), "reason", snap.Subject)
	l.offerOf(func() *desired {
		l.comparing(d)
		return d
	})
	return nil
}

// take loads a snapshot, or says what is wrong with it: then it gives none.
func (l *Loop) take(ctx context.Context, snap *source.Snapshot) (*desired, error) {
	d, problems, err := l.load(ctx, snap)
	if err != nil {
		return nil, err
	}
	if d == nil {
		l.invalid(ctx, snap, problems)
	}
	return d, nil
}

// comparing says that a revision is about to be rolled out. Called with mu held.
func (l *Loop) comparing(d *desired) {
	l.status.attempted, l.status.subject, l.status.signer = d.Revision, d.Subject, d.Signer
	l.status.notice = d.notice
	l.saying(stateApplying, "comparing "+short(d.Revision)+" with what runs", "")
}

// settled reports whether a revision needs no rollout: it is in force, or it
// failed and is held until a person or a newer one says otherwise.
func (l *Loop) settled(ctx context.Context, revision string) (bool, error) {
	held, isHeld, err := l.cfg.Store.Held(ctx)
	if err != nil {
		return false, err
	}
	if isHeld && held.Revision == revision {
		return true, nil
	}
	l.mu.Lock()
	// A model read back from disk is given its tree again, and its plan is looked
	// at once more: the world may have changed while nobody watched.
	inForce := l.good != nil && l.good.Git == revision && (l.good.Manual || l.good.Tree != nil)
	if l.waiting != nil || l.current != nil && l.current != l.good {
		inForce = false // another one is on its way, and this one has to overtake it
	}
	left := inForce && l.status.attempted != revision && !l.good.Manual
	if left {
		l.status.attempted, l.status.subject, l.status.signer = revision, l.good.Subject, l.good.Signer
		l.pending, l.repeat = nil, nil
	}
	l.mu.Unlock()
	if left { // the branch went back from one that was refused or failed
		l.say(stateInSync, "at "+short(revision), "")
		return true, l.cfg.Store.ClearHold(ctx)
	}
	return inForce, nil
}

// load turns a snapshot into a desired, or says what is wrong with it.
func (l *Loop) load(ctx context.Context, snap *source.Snapshot) (*desired, []schema.Problem, error) {
	model, problems, err := l.cfg.Loader.Load(ctx, snap.Tree)
	if err != nil || model == nil {
		return nil, problems, err
	}
	return &desired{Tree: snap.Tree, Anchor: snap.Anchor, Git: snap.Revision, notice: snap.Notice, Desired: plan.Desired{
		Model: model, Revision: snap.Revision, Subject: snap.Subject,
		Signer: snap.Signer, Dirty: snap.Dirty, Ahead: snap.Ahead,
	}}, problems, nil
}

// invalid records a revision whose config has faults. Last good stays in force.
func (l *Loop) invalid(ctx context.Context, snap *source.Snapshot, problems []schema.Problem) {
	lines := make([]string, 0, len(problems))
	for _, p := range problems {
		if p.Severity == schema.Error {
			line := p.Error()
			if p.Hint != "" {
				line += " (" + p.Hint + ")"
			}
			for _, other := range p.Related {
				line += "\n  see " + other.String()
			}
			lines = append(lines, line)
		}
	}
	if len(lines) == 0 {
		lines = []string{"it declares nothing that can be checked"}
	}
	message := fmt.Sprintf("revision %s has %d config errors; nothing was changed", short(snap.Revision), len(lines))
	if len(lines) == 1 {
		message = fmt.Sprintf("revision %s has a config error; nothing was changed", short(snap.Revision))
	}
	l.mu.Lock()
	l.status.attempted, l.status.subject, l.status.signer = snap.Revision, snap.Subject, snap.Signer
	l.status.notice = snap.Notice
	l.saying(stateError, message, "fix the config and push again; ten validate shows every error")
	l.status.problems = lines
	l.mu.Unlock()
	l.log.Warn("revision refused", "revision", short(snap.Revision), "reason", message, "err", lines[0])
	l.record(ctx, revisionOf(snap, l.cfg.Origin), store.Refused, lines[0])
}

// record writes a revision that ended before a rollout began.
func (l *Loop) record(ctx context.Context, r store.Revision, outcome store.Outcome, message string) {
	r.At = time.Now()
	id, err := l.cfg.Store.Attempt(ctx, r)
	if err == nil {
		err = l.cfg.Store.Finish(ctx, id, outcome, message, 0)
	}
	if err != nil {
		l.log.Error("history can't be written", "err", err)
	}
}

func revisionOf(snap *source.Snapshot, origin string) store.Revision {
	return store.Revision{Hash: snap.Revision, Subject: snap.Subject, Author: snap.Author, Signer: snap.Signer, Source: origin}
}

// offer hands a revision to rollouts, in place of one that waits there, and ends
// the waits of the rollout under way.
func (l *Loop) offer(d *desired) { l.offerOf(func() *desired { return d }) }

// offerAgain is offer for one that is not new: it gives way to one that came
// after it. It reports whether there was none.
func (l *Loop) offerAgain(d *desired) bool {
	return l.offerOf(func() *desired {
		if l.overtaken(d) {
			return nil
		}
		l.comparing(d)
		return d
	})
}

// overtaken reports that another revision than d, and than the one in force, is
// what the host is to get to: it is on its way, waits for a person, or is tried
// again by itself. The source gives each only once, so what takes its place is
// all that is left of it. Called with mu held.
func (l *Loop) overtaken(d *desired) bool {
	for _, other := range []*desired{l.waiting, l.current, l.pending, l.repeat} {
		if other != nil && other != l.good && other.Revision != d.Revision {
			return true
		}
	}
	return false
}

// offerOf does all under the lock, so that it can't be the offered revision's own
// rollout that is ended, and what choose rests on is still so. It reports whether
// there was one to offer.
func (l *Loop) offerOf(choose func() *desired) bool {
	l.mu.Lock()
	d := choose()
	if d == nil {
		l.mu.Unlock()
		return false
	}
	late := l.waiting
	l.waiting, l.offered = d, true
	if l.preempt != nil {
		l.preempt(errPreempted)
	}
	l.mu.Unlock()
	if late != nil && late != d {
		l.finish(late, progress{Error: errPreempted.Error()})
	}
	select {
	case l.submit <- struct{}{}:
	default:
	}
	return true
}

var errPreempted = errors.New("a newer revision came")
