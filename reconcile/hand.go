package reconcile

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/tenement/ten/host/api"
	"github.com/tenement/ten/host/router"
	"github.com/tenement/ten/reconcile/plan"
	"github.com/tenement/ten/reconcile/store"
	"github.com/tenement/ten/runtimes"
	"github.com/tenement/ten/schema"
)

// doHand carries out what people do to single instances by hand. Each verb
// writes down what is to be; the same plan.New as always decides what that
// means, and supervision carries it out.
func (l *Loop) doHand(ctx context.Context, c api.Command) (string, error) {
	id := runtimes.ID{Service: c.Service, Instance: c.Instance}
	s, err := l.declared(id.Service)
	if err != nil {
		return "", err
	}
	switch c.Verb {
	case api.VerbSpawn:
		return l.doSpawn(ctx, s, id, c)
	case api.VerbStop:
		return l.doStop(ctx, s, id, c)
	case api.VerbRestart:
		return l.doRestart(ctx, s, id, c)
	case api.VerbWeight:
		return l.doWeight(ctx, s, id, c)
	case api.VerbDeploy:
		return l.doDeploy(ctx, s, id, c)
	}
	return l.doRoute(ctx, s, id, c)
}

// declared gives a service of the revision in force.
func (l *Loop) declared(service string) (*schema.Service, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.force != nil {
		if s := l.force.Model.Service(service); s != nil {
			return s, nil
		}
	}
	return nil, &api.Error{Code: api.CodeNotFound, Message: fmt.Sprintf("no service %q on this host", service), Hint: "ten ps -a lists what there is"}
}

func (l *Loop) doSpawn(ctx context.Context, s *schema.Service, id runtimes.ID, c api.Command) (string, error) {
	began := time.Now()
	if err := l.spawnIt(ctx, s, id, c.By, nil); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s serves after %s", id, took(began)), nil
}

// spawnIt writes down that an instance is to exist, with a weight where one is
// given, and waits until it serves. What git does not declare is taken back when
// it can't be had.
func (l *Loop) spawnIt(ctx context.Context, s *schema.Service, id runtimes.ID, by string, weight *int) error {
	isDeclared := slices.Contains(s.Instances, id.Instance)
	if !isDeclared {
		if err := l.fitsIn(s, id); err != nil {
			return &api.Error{Code: api.CodeRefused, Message: err.Error()}
		}
	}
	var before store.Hand
	err := l.hand(ctx, by, func(h *store.Hand) {
		before = *h
		h.Stopped = false
		h.Spawned = h.Spawned || !isDeclared
		if weight != nil {
			h.Weight = weight
		}
	}, id)
	if err != nil {
		return err
	}
	if err := l.Wake(ctx, id); err != nil {
		if !isDeclared && !before.Spawned {
			undo := func(h *store.Hand) { h.Spawned, h.Weight = before.Spawned, before.Weight }
			if e := l.hand(context.WithoutCancel(ctx), by, undo, id); e != nil {
				return e
			}
			l.look(id)
		}
		return err
	}
	return nil
}

func (l *Loop) doStop(ctx context.Context, s *schema.Service, id runtimes.ID, c api.Command) (string, error) {
	if !l.exists(s, id) {
		return "", notThere(id)
	}
	isDeclared := slices.Contains(s.Instances, id.Instance)
	if err := l.setAsleep(ctx, id); err != nil {
		return "", err
	}
	err := l.hand(ctx, c.By, func(h *store.Hand) {
		h.Spawned = false
		h.Stopped = isDeclared
		h.Restart = 0
		if !isDeclared {
			h.Weight = nil // nothing is left that it could be the weight of
		}
	}, id)
	if err != nil {
		return "", err
	}
	l.look(id)
	if err := l.untilStopped(ctx, s, id); err != nil {
		return "", err
	}
	switch {
	case !isDeclared:
		return fmt.Sprintf("%s is stopped and no more; its data is kept as its service says", id), nil
	case wakesAgain(s):
		return fmt.Sprintf("%s is stopped until a request or ten spawn %s wakes it", id, id), nil
	}
	return fmt.Sprintf("%s is stopped until: ten spawn %s", id, id), nil
}

// wakesAgain reports that requests start an instance of the service that a
// person stopped: where instances come and go with the requests, stop is sleep.
func wakesAgain(s *schema.Service) bool { return s.OnDemand || s.IdleTimeout > 0 }

// unstop lets a request wake what was stopped by hand, where requests do.
func (l *Loop) unstop(ctx context.Context, s *schema.Service, id runtimes.ID) error {
	l.mu.Lock()
	h := l.hands[id]
	l.mu.Unlock()
	if !h.Stopped {
		return nil
	}
	if !wakesAgain(s) {
		return &api.Error{Code: api.CodeRefused, Message: fmt.Sprintf("%s was stopped by %s", id, h.By), Hint: "start it again: ten spawn " + id.String()}
	}
	return l.hand(ctx, h.By, func(h *store.Hand) { h.Stopped = false }, id)
}

// untilStopped waits until nothing of an instance lives.
func (l *Loop) untilStopped(ctx context.Context, s *schema.Service, id runtimes.ID) error {
	ctx, cancel := context.WithTimeout(ctx, s.DrainTimeout+s.StopTimeout+stopPatience)
	defer cancel()
	for l.lives(id) {
		l.pause(ctx, stopLook)
		if ctx.Err() != nil {
			return &api.Error{Code: api.CodeBusy, Message: fmt.Sprintf("%s still runs; it is being stopped", id), Hint: "ten why " + id.Service}
		}
	}
	return nil
}

// How long a stop may take beyond the service's own time, and how often it is
// looked at.
const (
	stopPatience = 10 * time.Second
	stopLook     = 5 * time.Millisecond
)

func (l *Loop) lives(id runtimes.ID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.byID[id]) > 0
}

func (l *Loop) doRestart(ctx context.Context, s *schema.Service, id runtimes.ID, c api.Command) (string, error) {
	if !l.exists(s, id) {
		return "", notThere(id)
	}
	began := time.Now()
	newest := l.newest(id)
	if newest == 0 {
		if err := l.spawnIt(ctx, s, id, c.By, nil); err != nil {
			return "", err
		}
		return fmt.Sprintf("%s was not running; it serves after %s", id, took(began)), nil
	}
	err := l.hand(ctx, c.By, func(h *store.Hand) { h.Stopped, h.Restart = false, newest }, id)
	if err != nil {
		return "", err
	}
	l.look(id)
	if err := l.untilNewer(ctx, s, id, newest); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s restarted in %s", id, took(began)), nil
}

// untilNewer waits until an incarnation newer than the given one serves, and no
// older one lives. What keeps it from that is said; the wish stays.
func (l *Loop) untilNewer(ctx context.Context, s *schema.Service, id runtimes.ID, than uint64) error {
	ctx, cancel := context.WithTimeout(ctx, s.StartupTimeout+s.DrainTimeout+s.StopTimeout+stopPatience)
	defer cancel()
	for !l.renewed(id, than) {
		l.pause(ctx, stopLook)
		if ctx.Err() != nil {
			return &api.Error{Code: api.CodeBusy, Message: fmt.Sprintf("%s does not serve anew yet; the old one goes on where it can", id), Hint: "ten why " + id.Service}
		}
	}
	return l.hand(context.WithoutCancel(ctx), "", func(h *store.Hand) {
		if h.Restart == than {
			h.Restart = 0
		}
	}, id)
}

func (l *Loop) renewed(id runtimes.ID, than uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	serves := false
	for _, t := range l.byID[id] {
		if t.key.Generation <= than {
			return false
		}
		serves = serves || t.open
	}
	return serves
}

// newest is the generation of an instance's newest living incarnation, or 0.
func (l *Loop) newest(id runtimes.ID) (generation uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, t := range l.byID[id] {
		if !t.over() {
			generation = max(generation, t.key.Generation)
		}
	}
	return generation
}

func (l *Loop) doWeight(ctx context.Context, s *schema.Service, id runtimes.ID, c api.Command) (string, error) {
	if err := weightFits(c.Weight); err != nil {
		return "", err
	}
	if !l.exists(s, id) {
		return "", notThere(id)
	}
	weight := c.Weight
	if err := l.hand(ctx, c.By, func(h *store.Hand) { h.Weight = &weight }, id); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s has weight %d", id, c.Weight), nil
}

func weightFits(weight int) error {
	if weight < 0 || weight > 100 {
		return &api.Error{Code: api.CodeInvalid, Message: fmt.Sprintf("weight %d: want a number from 0 to 100", weight)}
	}
	return nil
}

// doDeploy starts an instance that gets no requests, and gives it its weight
// once it is healthy. One that runs already only gets the weight.
func (l *Loop) doDeploy(ctx context.Context, s *schema.Service, id runtimes.ID, c api.Command) (string, error) {
	if err := weightFits(c.Weight); err != nil {
		return "", err
	}
	if c.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.Timeout)
		defer cancel()
	}
	began := time.Now()
	none := 0
	if err := l.spawnIt(ctx, s, id, c.By, &none); err != nil {
		return "", err
	}
	weight := c.Weight
	if err := l.hand(ctx, c.By, func(h *store.Hand) { h.Weight = &weight }, id); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s is healthy after %s and has weight %d", id, took(began), c.Weight), nil
}

// doRoute moves all requests of one instance to another, in one step.
func (l *Loop) doRoute(ctx context.Context, s *schema.Service, to runtimes.ID, c api.Command) (string, error) {
	from := runtimes.ID{Service: s.Name, Instance: c.From}
	if from == to {
		return "", &api.Error{Code: api.CodeInvalid, Message: fmt.Sprintf("from and to are both %s", to)}
	}
	for _, id := range []runtimes.ID{from, to} {
		if !l.exists(s, id) {
			return "", notThere(id)
		}
	}
	err := l.hand(ctx, c.By, func(h *store.Hand) {
		weight := 0
		if h.Instance == to.Instance {
			weight = 100
		}
		h.Weight = &weight
	}, from, to)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("requests of %s go to %s now", from, to), nil
}

func notThere(id runtimes.ID) error {
	return &api.Error{Code: api.CodeNotFound, Message: fmt.Sprintf("no instance %s on this host", id), Hint: "ten ps -a lists what there is; ten spawn " + id.String() + " makes one"}
}

// exists reports an instance that is declared, was spawned, or is on the machine.
func (l *Loop) exists(s *schema.Service, id runtimes.ID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Contains(s.Instances, id.Instance) || l.hands[id].Spawned || len(l.byID[id]) > 0
}

// hand changes what is kept of instances, on disk and then for all to see at the
// same moment. Writers take turns.
func (l *Loop) hand(ctx context.Context, by string, change func(*store.Hand), ids ...runtimes.ID) error {
	l.handing.Lock()
	defer l.handing.Unlock()
	hands := make([]store.Hand, len(ids))
	l.mu.Lock()
	for i, id := range ids {
		hands[i] = l.hands[id]
	}
	l.mu.Unlock()
	for i, id := range ids {
		h := &hands[i]
		h.Service, h.Instance, h.At = id.Service, id.Instance, time.Now()
		if by != "" {
			h.By = by
		}
		change(h)
	}
	if err := l.cfg.Store.SetHands(ctx, hands...); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, id := range ids {
		l.hands[id] = hands[i]
		if !hands[i].Lasting() {
			delete(l.hands, id)
		}
	}
	l.changed(ids...)
	return nil
}

// restoreHands reads what people did by hand.
func (l *Loop) restoreHands(ctx context.Context) error {
	kept, err := l.cfg.Store.Hands(ctx)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, h := range kept {
		l.hands[runtimes.ID{Service: h.Service, Instance: h.Instance}] = h
	}
	return nil
}

// observeHands gives what people did by hand as a plan takes it.
func (l *Loop) observeHands() []plan.Hand {
	l.mu.Lock()
	defer l.mu.Unlock()
	hands := make([]plan.Hand, 0, len(l.hands))
	for id, h := range l.hands {
		hands = append(hands, plan.Hand{ID: id, Spawned: h.Spawned, Stopped: h.Stopped, Weight: h.Weight, Restart: h.Restart, By: h.By, At: h.At})
	}
	slices.SortFunc(hands, func(a, b plan.Hand) int { return a.ID.Compare(b.ID) })
	return hands
}

// weight is an instance's share: what a person said, or else git. Called with mu held.
func (l *Loop) weight(s *schema.Service, id runtimes.ID) int {
	if h := l.hands[id]; h.Weight != nil {
		return *h.Weight
	}
	return s.Weight
}

// wakes reports that a request may start an instance, or that it is coming back.
// Called with mu held.
func (l *Loop) wakes(s *schema.Service, id runtimes.ID) bool {
	h := l.hands[id]
	if h.Stopped {
		return wakesAgain(s)
	}
	_, noted := l.rests[id]
	return h.Spawned || noted || declares(s, id) || len(l.byID[id]) > 0
}

// changed tells whoever routes of instances, all at once. Called with mu held.
func (l *Loop) changed(ids ...runtimes.ID) {
	defer l.news.tell()
	if l.force == nil || l.table == nil {
		return
	}
	u := router.Update{Model: l.table}
	for _, id := range ids {
		if s := l.table.Service(id.Service); s != nil {
			u.Endpoints = append(u.Endpoints, l.endpoint(s, id))
		}
	}
	if len(u.Endpoints) > 0 {
		l.cfg.Publish(u)
	}
}
