package reconcile

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/tenement/ten/host/api"
	"github.com/tenement/ten/reconcile/plan"
	"github.com/tenement/ten/reconcile/store"
	"github.com/tenement/ten/runtimes"
)

var _ api.Viewer = (*Loop)(nil)

// Status tells how the host stands.
func (l *Loop) Status(ctx context.Context) (api.Status, error) {
	if err := l.up(ctx); err != nil {
		return api.Status{}, err
	}
	pauses, err := l.cfg.Store.Pauses(ctx, time.Now())
	if err != nil {
		return api.Status{}, err
	}
	rows, err := l.Instances(ctx, true)
	if err != nil {
		return api.Status{}, err
	}
	held, _, err := l.cfg.Store.Held(ctx)
	if err != nil {
		return api.Status{}, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	s := api.Status{
		Host: l.cfg.Host, Source: l.cfg.Origin, Version: l.cfg.Version,
		State: l.status.state, Message: l.status.message, Hint: l.status.hint, Since: l.status.since,
		Subject: l.status.subject, Signer: l.status.signer, Problems: l.status.problems,
		Pid: os.Getpid(), StartedAt: l.started,
		Revision:  api.Revisions{Attempted: l.status.attempted},
		Instances: count(rows),
	}
	if l.good != nil {
		s.Revision.Applied = l.good.Revision
		s.Instances.Declared = l.good.Model.InstanceCount()
	} else if l.force != nil {
		s.Instances.Declared = l.force.Model.InstanceCount()
	}
	for _, p := range pauses {
		if s.Pauses == nil {
			s.Pauses = map[string]string{}
		}
		s.Pauses[p.Service] = p.Reason
		if p.Service == "*" && s.State == stateInSync {
			s.State, s.Message, s.Hint = statePaused, pausedText(p.Reason), "ten resume"
		}
	}
	if l.status.notice != "" {
		s.Message += "; " + l.status.notice
	}
	switch {
	case s.State == stateHeld:
		s.Logs = held.Logs
	case s.State == "":
		s.State, s.Message = stateApplying, "waiting for the first revision"
		if l.good != nil {
			s.State, s.Message = stateInSync, "at "+short(l.good.Revision)
		}
		if l.status.fetch != "" {
			s.State, s.Message, s.Hint = stateError, l.status.fetch, l.status.fetchHint
		}
	case s.State == stateInSync:
		if l.status.fetch != "" {
			s.State, s.Message, s.Hint = stateError, l.status.fetch, l.status.fetchHint
		}
	}
	return s, nil
}

func count(rows []api.Instance) api.Counts {
	var c api.Counts
	for _, r := range rows {
		switch r.Phase {
		case runtimes.Running, runtimes.Starting:
			c.Running++
		case runtimes.Sleeping:
			c.Sleeping++
		case runtimes.Failed:
			c.Failed++
		}
		switch r.Health {
		case runtimes.Healthy:
			c.Healthy++
		case runtimes.Degraded:
			c.Degraded++
		case runtimes.Unhealthy:
			c.Unhealthy++
		}
	}
	return c
}

// Instances lists what runs; with all, also what sleeps, has stopped or failed.
func (l *Loop) Instances(ctx context.Context, all bool) ([]api.Instance, error) {
	if err := l.up(ctx); err != nil {
		return nil, err
	}
	l.mu.Lock()
	d := l.force
	l.mu.Unlock()
	obs, err := l.observe(ctx, nil, "")
	if err != nil {
		return nil, err
	}
	rows := make([]api.Instance, 0, len(obs.Instances))
	there := map[runtimes.ID]bool{}
	for _, in := range obs.Instances {
		there[in.Spec.Key.ID] = true
		if all || in.Phase.Alive() {
			rows = append(rows, l.row(d, in))
		}
	}
	if all && d != nil {
		rows = append(rows, l.absent(d, there, obs)...)
	}
	slices.SortStableFunc(rows, func(a, b api.Instance) int {
		if c := strings.Compare(a.Service, b.Service); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return rows, nil
}

func (l *Loop) row(d *desired, in plan.Instance) api.Instance {
	r := api.Instance{
		Service: in.Spec.Key.Service, ID: in.Spec.Key.Instance, Isolation: in.Spec.Level,
		Phase: in.Phase, Health: in.Health, Pid: in.Pid, Address: in.Address, StartedAt: in.StartedAt,
		Restarts: in.Restarts, Revision: in.Spec.Revision, Digest: in.Spec.Digest,
	}
	if in.Health == runtimes.Healthy && in.HealthText != "" {
		r.Health = runtimes.Degraded
	}
	l.asked(&r, d)
	switch {
	case in.Exit != nil:
		r.Note = in.Exit.String()
	case in.HealthText != "":
		r.Note = in.HealthText
	}
	return r
}

// asked adds to a row what people and requests ask of the instance.
func (l *Loop) asked(r *api.Instance, d *desired) {
	id := runtimes.ID{Service: r.Service, Instance: r.ID}
	r.Weight = 100
	l.mu.Lock()
	if d != nil {
		if s := d.Model.Service(r.Service); s != nil {
			r.Weight = l.weight(s, id)
		}
	}
	h := l.hands[id]
	l.mu.Unlock()
	r.ByHand = h.Spawned || h.Stopped || h.Weight != nil
	if h.Stopped {
		r.Note = "stopped by " + h.By
	}
	if l.cfg.Traffic != nil {
		r.Open, r.LastRequest = l.cfg.Traffic.Activity(id)
	}
}

// absent lists instances of which nothing is on the machine: the declared ones,
// and others that sleep.
func (l *Loop) absent(d *desired, there map[runtimes.ID]bool, obs plan.Observed) []api.Instance {
	l.mu.Lock()
	failed := maps.Clone(l.failed)
	asleep, undeclared := map[runtimes.ID]bool{}, map[string][]string{}
	for id, awake := range l.rests {
		s := d.Model.Service(id.Service)
		if s == nil || awake || there[id] {
			continue
		}
		asleep[id] = s.IdleTimeout > 0
		if !declares(s, id) {
			asleep[id] = true
			undeclared[s.Name] = append(undeclared[s.Name], id.Instance)
		}
	}
	l.mu.Unlock()
	var rows []api.Instance
	for _, s := range d.Model.Services {
		for _, id := range append(slices.Clip(s.Instances), undeclared[s.Name]...) {
			if there[runtimes.ID{Service: s.Name, Instance: id}] {
				continue
			}
			r := api.Instance{
				Service: s.Name, ID: id, Isolation: runtimes.Level(s.Isolation), Phase: runtimes.Stopped,
				Health: runtimes.Unknown, Revision: d.Revision, Digest: s.Digest,
			}
			l.asked(&r, d)
			if s.OnDemand || asleep[runtimes.ID{Service: s.Name, Instance: id}] {
				r.Phase = runtimes.Sleeping
			}
			if why, ok := obs.Paused[s.Name]; ok {
				r.Note = why
			}
			if why, ok := failed[s.Name]; ok {
				r.Note = why
			}
			rows = append(rows, r)
		}
	}
	return rows
}

// Observe answers for a model that a person has at their desk.
func (l *Loop) Observe(ctx context.Context, ask api.Ask) (plan.Observed, error) {
	if err := l.up(ctx); err != nil {
		return plan.Observed{}, err
	}
	obs, err := l.observe(ctx, nil, "")
	if err != nil {
		return obs, err
	}
	l.observeHost(ask, nil, &obs)
	return obs, nil
}

// Why tells what would happen to a service next, and what happened to it.
func (l *Loop) Why(ctx context.Context, service string) (api.Why, error) {
	w := api.Why{Service: service, Instances: []api.Instance{}, Pending: []plan.Action{}, Past: []api.Entry{}} // lists in JSON, never null
	l.mu.Lock()
	d := l.force
	if l.pending != nil {
		d = l.pending
	}
	l.mu.Unlock()
	rows, err := l.Instances(ctx, true)
	if err != nil {
		return w, err
	}
	for _, r := range rows {
		if r.Service == service {
			w.Instances = append(w.Instances, r)
		}
	}
	if d != nil {
		obs, err := l.observe(ctx, d, "")
		if err != nil {
			return w, err
		}
		for _, a := range plan.New(d.Desired, obs).Actions {
			if a.ID.Service == service {
				w.Pending = append(w.Pending, a.Masked())
			}
		}
	}
	entries, err := l.cfg.Store.Journal(ctx, service, 50)
	if err != nil {
		return w, err
	}
	for _, e := range entries {
		w.Past = append(w.Past, api.Entry{
			At: e.At, Revision: e.Revision, Instance: e.Service + ":" + e.Instance, Action: e.Op,
			Reason: e.Reason, Result: e.Result, Took: e.Took,
		})
	}
	if len(w.Instances) == 0 && len(w.Past) == 0 && (d == nil || d.Model.Service(service) == nil) {
		return w, fmt.Errorf("no service %q on this host; ten ps -a lists what there is", service)
	}
	return w, nil
}

// History lists the revisions tried, newest first.
func (l *Loop) History(ctx context.Context, limit int) ([]api.Entry, error) {
	revisions, err := l.cfg.Store.Revisions(ctx, limit)
	if err != nil {
		return nil, err
	}
	entries := make([]api.Entry, 0, len(revisions))
	for _, r := range revisions {
		e := api.Entry{At: r.At, Revision: r.Hash, Subject: r.Subject, Action: string(r.Outcome), Reason: r.Subject, Result: "ok", Took: r.Took}
		if r.Outcome != store.Applied {
			e.Result = r.Message
		}
		entries = append(entries, e)
	}
	return entries, nil
}
