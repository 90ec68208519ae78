package reconcile

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tenement/ten/host/api"
	"github.com/tenement/ten/reconcile/plan"
	"github.com/tenement/ten/reconcile/store"
	"github.com/tenement/ten/runtimes"
	"github.com/tenement/ten/schema"
)

var _ api.Actor = (*Loop)(nil)

// Do carries out one command of a person.
func (l *Loop) Do(ctx context.Context, c api.Command) (string, error) {
	if err := l.up(ctx); err != nil {
		return "", err
	}
	defer l.news.tell()
	l.log.Info("command given", "action", c.Verb, "service", c.Service, "instance", c.Instance, "revision", c.Revision, "reason", "asked by "+c.By)
	switch c.Verb {
	case api.VerbPause:
		return l.doPause(ctx, c)
	case api.VerbResume:
		return l.doResume(ctx, c)
	case api.VerbApprove:
		return l.doApprove(ctx, c)
	case api.VerbAcceptRewind:
		return l.doAcceptRewind(ctx, c)
	case api.VerbRetry:
		return l.doRetry(ctx)
	case api.VerbSync:
		l.cfg.Source.Hint()
		return "looking at " + l.cfg.Origin + " now", nil
	case api.VerbWake:
		return l.doWake(ctx, c)
	case api.VerbDown:
		return l.doDown(ctx)
	case api.VerbSpawn, api.VerbStop, api.VerbRestart, api.VerbWeight, api.VerbDeploy, api.VerbRoute:
		return l.doHand(ctx, c)
	}
	return "", fmt.Errorf("unknown command %q", c.Verb)
}

func (l *Loop) doPause(ctx context.Context, c api.Command) (string, error) {
	service := c.Service
	if service == "" {
		service = "*"
	} else if err := l.mustHave(service); err != nil {
		return "", err
	}
	if err := l.cfg.Store.Pause(ctx, store.Pause{Service: service, Reason: c.Reason, By: c.By, Until: c.Until}); err != nil {
		return "", err
	}
	if service == "*" {
		return "paused: new revisions are read but not applied; what runs is kept running", nil
	}
	return "paused " + service + ": changes to it wait; what runs is kept running", nil
}

func (l *Loop) mustHave(service string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.force != nil && l.force.Model.Service(service) != nil {
		return nil
	}
	return fmt.Errorf("no service %q on this host; ten ps -a lists what there is", service)
}

func (l *Loop) doResume(ctx context.Context, c api.Command) (string, error) {
	service := c.Service
	if service == "" {
		service = "*"
	}
	was, err := l.cfg.Store.Resume(ctx, service)
	if err != nil {
		return "", err
	}
	if !was {
		return "was not paused", nil
	}
	l.resubmit()
	return "resumed", nil
}

// resubmit tries again what waits, or else what is in force. What is on its way
// already is planned once more when it got there.
func (l *Loop) resubmit() bool {
	there := true
	l.offerOf(func() *desired {
		d := cmp.Or(l.pending, l.repeat, l.good)
		there = d != nil
		if there && l.status.state == statePaused {
			l.status.state = ""
		}
		l.replan = there && l.current != nil
		if l.waiting != nil || l.current != nil {
			return nil
		}
		return d
	})
	if !there {
		l.cfg.Source.Hint()
	}
	return there
}

func (l *Loop) doApprove(ctx context.Context, c api.Command) (string, error) {
	l.mu.Lock()
	d := l.pending
	l.mu.Unlock()
	if d == nil || l.state() != stateBlocked {
		return "", errors.New("no revision waits for approval")
	}
	if c.Revision == "" || !strings.HasPrefix(d.Revision, c.Revision) {
		return "", fmt.Errorf("revision %s waits for approval, not %s", short(d.Revision), c.Revision)
	}
	if err := l.cfg.Store.Approve(ctx, d.Revision, c.By); err != nil {
		return "", err
	}
	if !l.offerAgain(d) {
		return "", fmt.Errorf("a newer revision came after %s; see: ten status", short(d.Revision))
	}
	return "approved " + short(d.Revision) + "; applying it", nil
}

func (l *Loop) state() api.State {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.status.state
}

func (l *Loop) doAcceptRewind(ctx context.Context, c api.Command) (string, error) {
	l.mu.Lock()
	attempted := l.status.attempted
	l.mu.Unlock()
	if c.Revision == "" || !strings.HasPrefix(attempted, c.Revision) || l.state() != stateBlocked {
		return "", fmt.Errorf("no rewind to %s was refused; ten status shows what waits", c.Revision)
	}
	if err := l.cfg.Store.AcceptRewind(ctx, attempted, c.By); err != nil {
		return "", err
	}
	l.cfg.Source.Hint()
	return "rewind to " + short(attempted) + " accepted", nil
}

func (l *Loop) doRetry(ctx context.Context) (string, error) {
	held, isHeld, err := l.cfg.Store.Held(ctx)
	if err != nil {
		return "", err
	}
	if !isHeld {
		if l.resubmit() {
			return "nothing is held; comparing again", nil
		}
		return "nothing is held", nil
	}
	d, err := l.again(ctx, held.Revision)
	if err != nil {
		return "", err
	}
	if d == nil {
		return "", fmt.Errorf("revision %s has config errors; see: ten status", short(held.Revision))
	}
	// Loading takes its time: what was held may have been overtaken.
	l.mu.Lock()
	late := l.overtaken(d)
	l.mu.Unlock()
	if !late {
		cleared, err := l.cfg.Store.ClearHoldOf(ctx, held.Revision)
		if err != nil {
			return "", err
		}
		late = !cleared || !l.offerAgain(d)
	}
	if late {
		return "", fmt.Errorf("a newer revision came after %s; see: ten status", short(held.Revision))
	}
	return "trying " + short(held.Revision) + " again", nil
}

// again gives a revision that failed once more, or nil when it says what is
// wrong with it. A directory that a person applied is in no source.
func (l *Loop) again(ctx context.Context, revision string) (*desired, error) {
	l.mu.Lock()
	d := l.failing
	l.mu.Unlock()
	if d != nil && d.Revision == revision {
		return d, nil
	}
	snap, err := l.cfg.Source.At(ctx, revision)
	if err != nil {
		return nil, fmt.Errorf("revision %s can't be had again: %w", short(revision), err)
	}
	return l.take(ctx, snap)
}

// doDown stops every instance of this data directory, then the daemon.
func (l *Loop) doDown(ctx context.Context) (string, error) {
	if err := l.quiet(ctx); err != nil {
		return "", err
	}
	l.leaveAll()
	// Once begun it is seen through: nothing starts what was stopped again.
	n, err := StopAll(context.WithoutCancel(ctx), l.cfg.Runtimes)
	if err != nil {
		l.say(stateError, fmt.Sprintf("ten down could not stop everything: %v; nothing is kept up any more", err), "ten down")
		return "", err
	}
	l.goingDown.Do(func() { close(l.downed) })
	return fmt.Sprintf("%d instances stopped, and the daemon", n), nil
}

// quiet ends all waiting, lets operations under way finish, and sees to it that
// no other begins.
func (l *Loop) quiet(ctx context.Context) error {
	for {
		l.mu.Lock()
		l.force, l.down = nil, true
		if l.preempt != nil {
			l.preempt(errDown)
		}
		for _, cancel := range l.claimed {
			if cancel != nil {
				cancel(errDown)
			}
		}
		busy := len(l.claimed) > 0 || l.preempt != nil
		l.mu.Unlock()
		if !busy {
			return nil
		}
		l.pause(ctx, 2*time.Millisecond)
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// StopAll stops every incarnation of the given runtimes and tells how many
// there were. It needs no daemon.
func StopAll(ctx context.Context, levels map[runtimes.Level]runtimes.Runtime) (int, error) {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(32)
	n := 0
	for _, rt := range levels {
		if rt.Check(ctx) != nil {
			continue
		}
		list, err := rt.List(ctx)
		if err != nil {
			return n, errors.Join(err, group.Wait())
		}
		for _, in := range list {
			n++
			group.Go(func() error {
				if err := rt.Stop(ctx, in.Spec.Key); err != nil {
					return fmt.Errorf("stop %s: %w", in.Spec.Key, err)
				}
				dropChosenSocket(in.Spec)
				return nil
			})
		}
	}
	return n, group.Wait()
}

// dropChosenSocket removes the directory that bind made for a socket which the
// service did not fix.
func dropChosenSocket(spec runtimes.Spec) {
	dir := filepath.Dir(spec.Socket)
	if _, fixed := spec.Fields["socket"]; fixed || filepath.Base(dir) != strconv.FormatUint(spec.Key.Generation, 10) {
		return
	}
	_ = os.RemoveAll(dir)
	_ = os.Remove(filepath.Dir(dir)) // fails while another one's is in it
}

// Apply applies a directory of this host, or the source as it is now, and
// reports until it is done.
func (l *Loop) Apply(ctx context.Context, r api.ApplyRequest, report func(api.Event)) error {
	if err := l.up(ctx); err != nil {
		return err
	}
	d, err := l.wanted(ctx, r)
	if err != nil {
		return err
	}
	if r.Expect != "" {
		obs, err := l.observe(ctx, d, "")
		if err != nil {
			return err
		}
		if now := plan.New(d.Desired, obs); plan.Fingerprint(now) != r.Expect {
			return &api.Error{Code: api.CodeStale, Message: "the world has moved since this plan was made", Hint: "look at it again: ten plan"}
		}
	}
	events, last := make(chan api.Event, 256), make(chan api.Event, 1)
	defer l.subscribe(d, func(e progress) {
		to := events
		if e.Done {
			to = last
		}
		select {
		case to <- e:
		default: // a reader that is too slow misses lines, never the last
		}
	})()
	if err := l.cfg.Store.ClearHold(ctx); err != nil {
		return err
	}
	l.log.Info("apply asked for", "revision", short(d.Revision), "reason", "asked by "+r.By)
	l.mu.Lock()
	l.status.attempted, l.status.subject = d.Revision, d.Subject
	l.mu.Unlock()
	l.offer(d)
	for {
		select {
		case e := <-events:
			report(e)
		case e := <-last:
			for len(events) > 0 {
				report(<-events)
			}
			report(e)
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-l.runCtx.Done():
			return errOver
		}
	}
}

// wanted loads what an apply asks for.
func (l *Loop) wanted(ctx context.Context, r api.ApplyRequest) (*desired, error) {
	snap, err := l.cfg.OpenDir(r.Dir)
	if r.Dir == "" {
		anchor, aerr := l.anchor(ctx)
		if aerr != nil {
			return nil, aerr
		}
		snap, err = l.cfg.Source.Latest(ctx, anchor)
	}
	if err != nil {
		return nil, err
	}
	d, problems, err := l.load(ctx, snap)
	if err != nil {
		return nil, err
	}
	if d == nil {
		return nil, refusal(problems)
	}
	if r.Dir != "" {
		d.Manual, d.Anchor, d.Git = true, "", ""
		l.mu.Lock()
		if l.good != nil {
			d.Git = l.good.Git
		}
		l.mu.Unlock()
	}
	return d, nil
}

// refusal names the first fault of a config and counts the others.
func refusal(problems []schema.Problem) error {
	faults := slices.DeleteFunc(slices.Clone(problems), func(p schema.Problem) bool { return p.Severity != schema.Error })
	switch len(faults) {
	case 0:
		return errors.New("the directory declares nothing that can be checked; see: ten validate")
	case 1:
		return fmt.Errorf("%w; see: ten validate", faults[0])
	}
	return fmt.Errorf("%w (and %d more; ten validate shows every one)", faults[0], len(faults)-1)
}
