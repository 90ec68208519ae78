package reconcile

import (
	"context"
	"errors"
	"time"

	"github.com/tenement/ten/runtimes"
)

// drainFor is how long requests may take where no service says it any more.
const drainFor = 10 * time.Second

// retire takes an incarnation out of the table, before anything is done to it,
// and waits until nothing of it is under way, as long as its service lets it.
// Nothing ends that wait but its time: whoever ended it would cut what is under way.
func (l *Loop) retire(t *tracked) error {
	l.mu.Lock()
	serves := (t.open || t.share > 0) && !t.over() && !t.frozen
	if serves {
		t.leaving = true
		l.changed(t.key.ID)
	}
	l.mu.Unlock()
	if !serves {
		return nil
	}
	return l.drain(t)
}

// drain waits until nothing of an incarnation that left the table is under way,
// or its time is over: then what is left was cut. It fails only when the daemon ends.
func (l *Loop) drain(t *tracked) error {
	if l.cfg.Traffic == nil {
		return nil
	}
	within, cancel := context.WithTimeout(l.runCtx, l.drainTimeout(t.key.ID))
	defer cancel()
	err := l.cfg.Traffic.Drain(within, t.key)
	if l.runCtx.Err() != nil {
		return context.Cause(l.runCtx)
	}
	if err != nil && !errors.Is(err, context.DeadlineExceeded) {
		l.log.Warn("requests under way were cut", "instance", t.key.ID.String(), "err", err)
	}
	return nil
}

func (l *Loop) drainTimeout(id runtimes.ID) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, d := range []*desired{l.force, l.good, l.current} {
		if d == nil {
			continue
		}
		if s := d.Model.Service(id.Service); s != nil {
			return s.DrainTimeout
		}
	}
	return drainFor
}
