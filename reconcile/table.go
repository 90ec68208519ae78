package reconcile

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/tenement/ten/host/router"
	"github.com/tenement/ten/reconcile/plan"
	"github.com/tenement/ten/runtimes"
	"github.com/tenement/ten/schema"
)

// publish tells whoever routes of the model in force and all its instances, and
// watches for idleness as that model says.
func (l *Loop) publish() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.force == nil {
		return
	}
	l.table = l.withLeaving(l.force.Model)
	l.cfg.Publish(router.Update{Model: l.table, Whole: true, Endpoints: l.endpoints(l.table)})
	for _, t := range l.world {
		l.watchIdle(t)
	}
	l.news.tell()
}

// withLeaving is a model with the services that were in the table and are in it
// no more, as long as something of them serves: it gets no new requests, and
// finishes what it began. Called with mu held.
func (l *Loop) withLeaving(m *schema.Model) *schema.Model {
	if l.table == nil || l.table == m {
		return m
	}
	serving := map[string]bool{}
	for _, t := range l.world {
		serving[t.key.Service] = serving[t.key.Service] || t.open && !t.over()
	}
	var leaving []*schema.Service
	for _, s := range l.table.Services {
		if serving[s.Name] && m.Service(s.Name) == nil {
			leaving = append(leaving, s)
		}
	}
	if leaving == nil {
		return m
	}
	both := *m
	both.Services = append(leaving, m.Services...)
	slices.SortFunc(both.Services, func(a, b *schema.Service) int { return strings.Compare(a.Name, b.Name) })
	return &both
}

// leaveAll takes everything out of the table and waits until nothing is under
// way: it all goes down.
func (l *Loop) leaveAll() {
	l.mu.Lock()
	var serving []*tracked
	for _, t := range l.world {
		if (t.open || t.share > 0) && !t.over() && !t.frozen {
			t.leaving = true
			serving = append(serving, t)
		}
	}
	if l.table != nil {
		all := l.endpoints(l.table)
		for i := range all {
			all[i].Wakes = false
		}
		l.cfg.Publish(router.Update{Model: l.table, Whole: true, Endpoints: all})
	}
	l.mu.Unlock()
	var done sync.WaitGroup
	for _, t := range serving {
		done.Go(func() { _ = l.drain(t) }) // it fails only when the daemon ends
	}
	done.Wait()
}

// endpoints are all instances that a request may reach: the declared ones, and
// those that live, sleep or were spawned without being declared. Called with mu held.
func (l *Loop) endpoints(m *schema.Model) []router.Endpoint {
	undeclared := map[string][]string{}
	add := func(id runtimes.ID) {
		if s := m.Service(id.Service); s != nil && !declares(s, id) {
			undeclared[id.Service] = append(undeclared[id.Service], id.Instance)
		}
	}
	for id := range l.byID {
		add(id)
	}
	for id, h := range l.hands {
		if h.Spawned && len(l.byID[id]) == 0 {
			add(id)
		}
	}
	for id := range l.rests {
		if len(l.byID[id]) == 0 && !l.hands[id].Spawned {
			add(id)
		}
	}
	var all []router.Endpoint
	for _, s := range m.Services {
		ids := append(slices.Clone(s.Instances), undeclared[s.Name]...)
		slices.Sort(ids)
		for _, id := range ids {
			all = append(all, l.endpoint(s, runtimes.ID{Service: s.Name, Instance: id}))
		}
	}
	return all
}

// endpoint is one instance as a router sees it. Called with mu held.
func (l *Loop) endpoint(s *schema.Service, id runtimes.ID) router.Endpoint {
	gone := l.force != nil && l.force.Model.Service(s.Name) == nil
	e := router.Endpoint{ID: id, Weight: l.weight(s, id), Wakes: !gone && l.wakes(s, id)}
	tried, serves := 0, -1
	for _, t := range l.byID[id] {
		if !t.open && t.share == 0 || t.over() || t.frozen || t.address == "" {
			continue
		}
		in := router.Incarnation{Key: t.key, Level: t.level, Network: t.spec.Network, Address: t.address, Draining: true}
		switch {
		case t.leaving || gone: // it finishes what it began
		case t.open:
			serves = len(e.Serving) // the newest takes over from the others
		default:
			in.Draining, in.Share = false, t.share
			tried = t.share
		}
		e.Serving = append(e.Serving, in)
	}
	if serves >= 0 {
		e.Serving[serves].Draining, e.Serving[serves].Share = false, 100-tried
		return e
	}
	for i := range e.Serving {
		if !e.Serving[i].Draining {
			e.Serving[i].Share = 100 // what it was tried against is gone
		}
	}
	return e
}

// addressOf is where an incarnation listens that was not asked yet.
func addressOf(spec runtimes.Spec) string {
	bound := spec.ListenFDs
	if !bound && spec.Socket != "" {
		_, err := os.Lstat(spec.Socket)
		bound = err == nil
	}
	switch {
	case spec.Socket != "" && (bound || spec.Port == 0):
		return "unix:" + spec.Socket
	case spec.Port != 0:
		return "127.0.0.1:" + strconv.Itoa(spec.Port)
	}
	return ""
}

// reopen opens the gates of adopted incarnations that passed them: a model is
// kept only after all of its gates were passed, so the one that is as the model
// asks has. What stands beside it is of a rollout that was cut off, and serves
// only when that is carried on. Called with mu held.
func (l *Loop) reopen(d *desired, found []plan.Instance) {
	if d == nil {
		return
	}
	fitting := map[runtimes.ID][]*tracked{}
	for _, in := range found {
		s := d.Model.Service(in.Spec.Key.Service)
		if in.Phase.Alive() && s != nil && s.Digest == in.Spec.Digest {
			fitting[in.Spec.Key.ID] = append(fitting[in.Spec.Key.ID], l.world[in.Spec.Key])
		}
	}
	for id, fit := range fitting {
		if len(fit) != 1 {
			continue
		}
		for _, t := range l.byID[id] {
			t.held = t != fit[0]
		}
		fit[0].open, fit[0].since, fit[0].address = true, l.started, addressOf(fit[0].spec)
	}
}
