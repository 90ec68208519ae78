package router

import (
	"math/bits"
	"sync/atomic"
	"time"

	"github.com/tenement/ten/runtimes"
)

// Requests is what an instance did for those who asked it.
type Requests struct {
	Total uint64
	// How long they waited for the head of their answer, a wake and tries again
	// included. P99 is exact to a fifth.
	Average, P99 time.Duration
}

// Requests counts those that an instance was given since it came into the table,
// answered or not. One whose client left meanwhile is not among them.
func (r *Router) Requests(id runtimes.ID) Requests {
	e := r.table.Load().entry(id)
	if e == nil {
		return Requests{}
	}
	return e.activity.meter.Load().read()
}

// meter counts requests by how long they took: two additions each, and no lock.
// It is of an instance, not of an incarnation, and made at its first request, so
// that one that nobody asks costs nothing.
type meter struct {
	micros atomic.Uint64
	slots  [meterSlots]atomic.Uint64
}

// meterSlots are two for each power of two microseconds, to an hour.
const meterSlots = 64

// metered counts a request that began at a time of exact.
func (r *Router) metered(a *activity, began int64) {
	m := a.meter.Load()
	if m == nil {
		a.meter.CompareAndSwap(nil, new(meter))
		m = a.meter.Load()
	}
	m.add(uint64(max(0, r.clock.exact()-began)) / uint64(time.Microsecond))
}

func (m *meter) add(micros uint64) {
	m.micros.Add(micros)
	m.slots[slotOf(micros)].Add(1)
}

// slotOf names the slot of a number of microseconds: its highest bit, and the
// one behind it.
func slotOf(micros uint64) int {
	if micros < 2 {
		return 0
	}
	top := bits.Len64(micros) - 1
	return min(2*top+int(micros>>(top-1)&1), meterSlots-1)
}

// slotFrom is the least number of microseconds in a slot.
func slotFrom(slot int) float64 {
	if slot < 2 {
		return 0
	}
	return float64(uint64(2+slot&1) << (slot/2 - 1))
}

// read sums up. Additions go on meanwhile: each is seen or not.
func (m *meter) read() Requests {
	if m == nil {
		return Requests{}
	}
	var counts [meterSlots]uint64
	q := Requests{}
	micros := m.micros.Load()
	for i := range m.slots {
		counts[i] = m.slots[i].Load()
		q.Total += counts[i]
	}
	if q.Total == 0 {
		return q
	}
	q.Average = time.Duration(micros / q.Total * uint64(time.Microsecond))
	rest := float64(q.Total) * 0.99
	for i, n := range counts {
		if rest > float64(n) || n == 0 {
			rest -= float64(n)
			continue
		}
		from := slotFrom(i)
		to := from + (slotFrom(i+1)-from)*rest/float64(n)
		q.P99 = time.Duration(to * float64(time.Microsecond))
		break
	}
	return q
}
