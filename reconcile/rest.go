package reconcile

import (
	"context"
	"slices"
	"time"

	"github.com/tenement/ten/reconcile/plan"
	"github.com/tenement/ten/reconcile/store"
	"github.com/tenement/ten/runtimes"
	"github.com/tenement/ten/schema"
)

// restoreRests reads who is awake and who sleeps.
func (l *Loop) restoreRests(ctx context.Context) error {
	kept, err := l.cfg.Store.Rests(ctx)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range kept {
		l.rests[runtimes.ID{Service: r.Service, Instance: r.Instance}] = r.Awake
	}
	return nil
}

// note keeps that somebody asked for an instance, or that it was put to sleep.
// may says under the lock whether that is still so.
func (l *Loop) note(ctx context.Context, id runtimes.ID, awake bool, may func() bool) (bool, error) {
	l.mu.Lock()
	before, was := l.rests[id]
	if !may() {
		l.mu.Unlock()
		return false, nil
	}
	l.rests[id] = awake
	l.mu.Unlock()
	if was && before == awake {
		return true, nil
	}
	return true, l.keepRest(ctx, id)
}

// keepRest writes what is noted of an instance by now.
func (l *Loop) keepRest(ctx context.Context, id runtimes.ID) error {
	l.noting.Lock()
	defer l.noting.Unlock()
	l.mu.Lock()
	now, known := l.rests[id]
	l.mu.Unlock()
	if !known {
		return nil
	}
	return l.cfg.Store.SetRest(ctx, store.Rest{Service: id.Service, Instance: id.Instance, Awake: now})
}

// setAsleep notes that an instance is wanted no more until somebody asks again,
// where somebody asked for it.
func (l *Loop) setAsleep(ctx context.Context, id runtimes.ID) error {
	_, err := l.note(ctx, id, false, func() bool { return l.rests[id] })
	return err
}

// pruneRests forgets what was said of instances that can't be had any more.
func (l *Loop) pruneRests(ctx context.Context) {
	l.noting.Lock()
	defer l.noting.Unlock()
	var gone []store.Rest
	l.mu.Lock()
	for id, awake := range l.rests {
		if l.force == nil || len(l.byID[id]) > 0 || l.wakers[id] != nil {
			continue
		}
		s := l.force.Model.Service(id.Service)
		if s == nil || !declares(s, id) && !s.OnDemand && len(s.Instances) > 0 && !l.hands[id].Spawned {
			delete(l.rests, id)
			gone = append(gone, store.Rest{Service: id.Service, Instance: id.Instance, Awake: awake})
		}
	}
	l.mu.Unlock()
	if len(gone) == 0 {
		return
	}
	if err := l.cfg.Store.DropRests(ctx, gone); err != nil {
		l.log.Warn("what is no more can't be forgotten", "err", err)
	}
}

// observeRest adds who was asked for, who sleeps, and who has been idle since when.
func (l *Loop) observeRest(d *desired, service string, obs *plan.Observed) {
	l.mu.Lock()
	if d == nil {
		d = l.force
	}
	for id, awake := range l.rests {
		switch {
		case service != "" && id.Service != service:
		case awake:
			obs.Awake = append(obs.Awake, id)
		default:
			obs.Asleep = append(obs.Asleep, id)
		}
	}
	for id := range l.wakers {
		if awake, noted := l.rests[id]; noted && !awake { // it is about to be noted
			obs.Asleep = slices.DeleteFunc(obs.Asleep, func(other runtimes.ID) bool { return other == id })
			obs.Awake = append(obs.Awake, id)
		}
	}
	clear(l.unseen)
	for level := range obs.Unknown {
		l.unseen[level] = true
	}
	l.mu.Unlock()
	slices.SortFunc(obs.Awake, runtimes.ID.Compare)
	slices.SortFunc(obs.Asleep, runtimes.ID.Compare)
	if d == nil {
		return
	}
	for i := range obs.Instances {
		in := &obs.Instances[i]
		s := d.Model.Service(in.Spec.Key.Service)
		if t := l.known(in.Spec.Key); t != nil && s != nil && s.IdleTimeout > 0 && in.GateOpen {
			in.IdleSince = l.idleSince(t)
			in.Busy = l.busy(t.key)
		}
	}
}

// idleSince is when the last request to an incarnation ended, or it began to
// serve; zero while one is under way and where nobody knows.
func (l *Loop) idleSince(t *tracked) time.Time {
	l.mu.Lock()
	since := t.since
	l.mu.Unlock()
	if l.cfg.Traffic == nil || since.IsZero() {
		return time.Time{}
	}
	open, last := l.cfg.Traffic.Activity(t.key.ID)
	switch {
	case open > 0:
		return time.Time{}
	case last.After(since):
		return last
	}
	return since
}

func (l *Loop) busy(key runtimes.Key) bool { return l.cfg.Busy != nil && l.cfg.Busy(key) }

// watchIdle has an incarnation looked at once it may have been idle for as long
// as its service lets it: one timer each, which goes by what it finds. Called
// with mu held.
func (l *Loop) watchIdle(t *tracked) {
	s := l.idles(t)
	if s == nil {
		if t.doze != nil {
			t.doze.Stop()
			t.doze = nil
		}
		return
	}
	if t.doze == nil {
		t.doze = time.AfterFunc(s.IdleTimeout, func() { l.idled(t) })
	}
}

// idles gives the service of an incarnation that may fall asleep. Called with mu held.
func (l *Loop) idles(t *tracked) *schema.Service {
	if l.force == nil || l.cfg.Traffic == nil || !t.open || t.over() || l.runCtx.Err() != nil {
		return nil
	}
	s := l.force.Model.Service(t.key.Service)
	if s == nil || s.IdleTimeout == 0 {
		return nil
	}
	return s
}

// idled looks how long an incarnation has been idle. Where that is long enough a
// plan decides; else it is looked at when that could be.
func (l *Loop) idled(t *tracked) {
	since := l.idleSince(t)
	busy := l.busy(t.key)
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.idles(t)
	if s == nil || l.world[t.key] != t || t.doze == nil {
		return
	}
	left := s.IdleTimeout // from now, while a request is under way
	if !since.IsZero() && !busy {
		left = s.IdleTimeout - time.Since(since)
	}
	if left <= 0 {
		l.dirty[t.key.ID] = true
		l.poke()
		left = s.IdleTimeout // should it have to stay awake
	}
	t.doze.Reset(left)
}
