package reconcile

import (
	"context"

	"github.com/tenement/ten/reconcile/plan"
	"github.com/tenement/ten/runtimes"
	"github.com/tenement/ten/schema"
)

// Plan is what is due on this host now, with secrets masked: of the revision
// that waits where one does, else of the one in force.
func (l *Loop) Plan(ctx context.Context) (plan.Plan, error) {
	if err := l.up(ctx); err != nil {
		return plan.Plan{}, err
	}
	l.mu.Lock()
	d := l.force
	if l.pending != nil {
		d = l.pending
	}
	l.mu.Unlock()
	if d == nil {
		return plan.Plan{Host: l.cfg.Host}, nil
	}
	obs, err := l.observe(ctx, d, "")
	if err != nil {
		return plan.Plan{}, err
	}
	return plan.New(d.Desired, obs).Masked(), nil
}

// Probe asks an instance at this moment whether it answers. The verdict changes
// nothing: what is done about it is for the loop's own probes to say. One that
// fails while they count it as healthy is degraded; one that does not run is unknown.
func (l *Loop) Probe(ctx context.Context, id runtimes.ID) (runtimes.Health, error) {
	if err := l.up(ctx); err != nil {
		return runtimes.Unknown, err
	}
	l.mu.Lock()
	var s *schema.Service
	if l.force != nil {
		s = l.force.Model.Service(id.Service)
	}
	var newest *tracked
	for _, t := range l.byID[id] {
		if !t.over() && !t.frozen && (newest == nil || t.key.Generation > newest.key.Generation) {
			newest = t
		}
	}
	l.mu.Unlock()
	switch {
	case s == nil || newest == nil:
		return runtimes.Unknown, nil
	case s.Health == schema.HealthNone:
		return runtimes.Healthy, nil
	case l.cfg.Prober.Probe(ctx, l.target(s, newest)).Healthy:
		return runtimes.Healthy, nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if newest.health == runtimes.Healthy {
		return runtimes.Degraded, nil
	}
	return runtimes.Unhealthy, nil
}

// StorageQuota is how many bytes an instance of a service may keep; 0 where
// nothing is said.
func (l *Loop) StorageQuota(service string) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.force == nil {
		return 0
	}
	s := l.force.Model.Service(service)
	if s == nil {
		return 0
	}
	return int64(s.StorageQuotaMB) << 20
}
