package plan

import "time"

// backoff gives the moment before which an instance that ended (or was started,
// when it is unhealthy) at a time is not started again; zero = now. The delay
// doubles with each restart within the window, from backoff_base to backoff_max,
// and is backoff_max once max_restarts is reached; so it decays by itself as the
// window moves on.
//
// An end that lies in the future means the clock was set back: how long ago it
// was can't be known, and the start is due. So no clock delays a start for
// longer than backoff_max.
func (r *round) backoff(at time.Time, restarts int) time.Time {
	set := r.d.Model.Settings
	const ragged = time.Second // an end may be a moment newer than the observation's clock
	if restarts <= 0 || at.IsZero() || at.After(r.o.Now.Add(ragged)) {
		return time.Time{}
	}
	delay := set.BackoffBase
	for i := 1; i < restarts && delay < set.BackoffMax; i++ {
		delay *= 2
	}
	if delay > set.BackoffMax || set.MaxRestarts > 0 && restarts >= set.MaxRestarts {
		delay = set.BackoffMax
	}
	due := at.Add(delay)
	if latest := r.o.Now.Add(set.BackoffMax); due.After(latest) {
		due = latest
	}
	if !due.After(r.o.Now) {
		return time.Time{}
	}
	return due
}
