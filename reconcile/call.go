package reconcile

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/tenement/ten/reconcile/plan"
	"github.com/tenement/ten/runtimes"
	"github.com/tenement/ten/schema"
)

// call has an instance started that somebody waits for. What is in the way is
// answered at once; what only takes its time is left to supervision.
func (l *Loop) call(s *schema.Service, id runtimes.ID) {
	ctx := l.runCtx
	wanted := func() bool {
		_, noted := l.rests[id]
		return s.OnDemand || noted || !declares(s, id)
	}
	noted := make(chan error, 1)
	l.mu.Lock()
	keep := wanted()
	if keep = keep && !l.rests[id]; keep {
		l.rests[id] = true
	}
	l.mu.Unlock()
	go func() { // beside the start: a daemon that is killed before both are done has answered nobody
		if !keep {
			noted <- nil
			return
		}
		noted <- l.keepRest(context.WithoutCancel(ctx), id)
	}()
	if err := l.clearEnded(ctx, s, id); err != nil {
		l.unserved(id, err)
	} else if !l.startAlone(ctx, id) {
		l.look(id)
	}
	if err := <-noted; err != nil {
		l.log.Error("who is awake can't be kept", "instance", id.String(), "err", err)
	}
}

// startAlone is the short way of a wake. Of an instance of which nothing is on
// the machine, or one frozen process, that alone is planned, by the same
// plan.New as always: what else there is need not be looked at for it. It
// reports whether this was such an instance.
func (l *Loop) startAlone(ctx context.Context, id runtimes.ID) bool {
	d, m, found := l.claimAlone(ctx, id)
	if d == nil {
		return false
	}
	actions, err := l.planAlone(ctx, d, id, found)
	if err != nil || len(actions) != 1 {
		m.done()
		return false
	}
	a := actions[0]
	if a.Blocked != nil {
		l.unserved(id, errors.New(a.Blocked.Text))
		m.done()
		return true
	}
	if len(l.inTurn(d, actions)) == 0 { // it waits for what it depends on
		m.done()
		return true
	}
	defer m.done()
	l.carry(m, d, a, false)
	return true
}

// claimAlone claims an instance that nobody works on and of which nothing runs,
// and gives what there is of it, unless the long way has to be gone: a rollout is
// about to begin, it has just failed, or not all that runs could be seen.
func (l *Loop) claimAlone(ctx context.Context, id runtimes.ID) (*desired, mend, []plan.Instance) {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, failed := l.failed[id.Service]
	there := l.byID[id]
	quiet := len(there) == 0 || len(there) == 1 && there[0].frozen && !there[0].leaving
	if l.force == nil || l.down || l.offered || failed || len(l.unseen) > 0 || !quiet || time.Now().Before(l.resting[id]) {
		return nil, mend{}, nil
	}
	ctx, cancel := context.WithCancelCause(ctx)
	if !l.claim(id, cancel) {
		cancel(nil)
		return nil, mend{}, nil
	}
	delete(l.dirty, id)
	delete(l.after, id)
	var found []plan.Instance
	for _, t := range there {
		found = append(found, plan.Instance{
			Instance: runtimes.Instance{Spec: t.spec, Phase: runtimes.Sleeping, Pid: t.pid, StartedAt: t.began},
			Health:   runtimes.Unknown, Address: t.address, Restarts: l.restarts(id, time.Now()),
		})
	}
	return l.force, mend{ctx, func() { cancel(nil); l.release(id) }}, found
}

// planAlone plans one instance that somebody asked for, as if its service had no
// other. Whether its level works here its start will tell.
func (l *Loop) planAlone(ctx context.Context, d *desired, id runtimes.ID, found []plan.Instance) ([]plan.Action, error) {
	one := *d.Model.Service(id.Service)
	if declares(&one, id) {
		one.Instances = []string{id.Instance}
	} else {
		one.Instances = nil
	}
	one.MinRunning = 0
	model := *d.Model
	model.Services = []*schema.Service{&one}
	obs := plan.Observed{
		Now: time.Now(), Host: plan.Host{Name: l.cfg.Host, DataDir: l.cfg.DataDir},
		Paused: map[string]string{}, Instances: found,
	}
	pauses, err := l.cfg.Store.Pauses(context.WithoutCancel(ctx), obs.Now)
	if err != nil {
		return nil, err
	}
	for _, p := range pauses {
		obs.Paused[p.Service] = p.Reason
	}
	obs.Approved, obs.Applied, obs.AppliedFields = true, d.Revision, model.Fields
	obs.Awake = []runtimes.ID{id}
	obs.Hands = slices.DeleteFunc(l.observeHands(), func(h plan.Hand) bool { return h.ID != id })
	l.observeHost(Asks(&model, ""), d, &obs)
	want := d.Desired
	want.Model = &model
	return slices.DeleteFunc(plan.New(want, obs).Actions, func(a plan.Action) bool { return a.ID != id }), nil
}
