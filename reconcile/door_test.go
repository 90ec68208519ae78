package reconcile

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/tenement/ten/host/router"
	"github.com/tenement/ten/runtimes"
)

// door is a router as far as the loop can tell: it holds what was published,
// counts requests, and wakes. It dies with its daemon.
type door struct {
	m *machine
	d *daemon

	mu      sync.Mutex
	routes  map[string]router.Endpoint
	open    map[runtimes.Key]int
	last    map[runtimes.ID]time.Time
	counts  map[runtimes.Key][2]uint64
	busy    map[runtimes.ID]bool
	fails   func(runtimes.Key) bool // which incarnations answer badly
	updates []router.Update
	drained []string
	cut     []string
	r       *rand.Rand
}

func newDoor(m *machine, d *daemon) *door {
	return &door{
		m: m, d: d, routes: map[string]router.Endpoint{}, open: map[runtimes.Key]int{}, last: map[runtimes.ID]time.Time{},
		counts: map[runtimes.Key][2]uint64{}, busy: map[runtimes.ID]bool{}, r: rand.New(rand.NewPCG(1, 2)),
	}
}

func (d *door) publish(u router.Update) {
	if d.d.killed.Load() {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.updates = append(d.updates, u)
	if u.Whole {
		d.routes = map[string]router.Endpoint{}
	}
	for _, e := range u.Endpoints {
		d.routes[e.ID.String()] = e
		share := 0
		for _, in := range e.Serving {
			if in.Draining && in.Share > 0 || in.Address == "" {
				d.m.t.Errorf("published: %+v", in)
			}
			share += in.Share
		}
		if len(e.Serving) > 0 && share != 100 && share != 0 {
			d.m.t.Errorf("the shares of %s make %d: %+v", e.ID, share, e.Serving)
		}
	}
}

func (d *door) Activity(id runtimes.ID) (open int, last time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for key, n := range d.open {
		if key.ID == id {
			open += n
		}
	}
	return open, d.last[id]
}

func (d *door) Drain(ctx context.Context, key runtimes.Key) error {
	for {
		d.mu.Lock()
		n := d.open[key]
		if n == 0 {
			d.drained = append(d.drained, key.String())
		}
		for _, in := range d.routes[key.ID.String()].Serving {
			if in.Key == key && !in.Draining && !d.d.killed.Load() { // what a killed one says reaches nobody
				d.m.t.Errorf("%s is drained while it is in the table", key)
			}
		}
		d.mu.Unlock()
		if n == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			d.mu.Lock()
			d.cut = append(d.cut, key.String())
			d.mu.Unlock()
			return ctx.Err()
		case <-time.After(time.Millisecond):
		}
	}
}

func (d *door) Outcome(key runtimes.Key) (answered, failed uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := d.counts[key]
	return c[0], c[1]
}

// says has an instance say that it is busy.
func (d *door) says(id runtimes.ID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.busy[id] = true
}

// isReady reports what m.ready says of a service.
func (d *door) isReady(key runtimes.Key) bool { return d.m.ready[key.Service] }

func (d *door) isBusy(key runtimes.Key) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.busy[key.ID]
}

// take picks an incarnation for a request, and notes that it is under way.
func (d *door) take(id runtimes.ID) (runtimes.Key, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	at := d.r.IntN(100)
	for _, in := range d.routes[id.String()].Serving {
		if at -= in.Share; in.Share > 0 && at < 0 {
			d.open[in.Key]++
			return in.Key, true
		}
	}
	return runtimes.Key{}, false
}

// request is one of a client: it goes where the table says, or wakes. It fails
// when its incarnation is not there from the beginning to the end.
func (d *door) request(ctx context.Context, id runtimes.ID, takes time.Duration) error {
	key, ok := d.take(id)
	for tries := 0; !ok; tries++ {
		if err := d.d.Wake(ctx, id); err != nil {
			return err
		}
		if key, ok = d.take(id); !ok && tries > 10 {
			return fmt.Errorf("%s was woken and does not serve", id)
		}
	}
	defer func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.open[key]--
		d.last[id] = time.Now()
		c := d.counts[key]
		c[0]++
		if d.fails != nil && d.fails(key) {
			c[1]++
		}
		d.counts[key] = c
	}()
	if !d.m.lives(key) {
		return fmt.Errorf("%s is not there", key)
	}
	select {
	case <-time.After(takes):
	case <-ctx.Done():
		return nil // the test is over
	}
	if !d.m.lives(key) {
		return fmt.Errorf("%s ended with a request under way", key)
	}
	return nil
}

// lives reports that an incarnation runs: a frozen one does not.
func (m *machine) lives(key runtimes.Key) bool {
	for _, in := range m.instances() {
		if in.Spec.Key == key {
			return in.Phase == runtimes.Running
		}
	}
	return false
}

// hammer sends requests to an instance until the returned func is called, which
// tells how many there were.
func (m *machine) hammer(id string, every, takes time.Duration) (stop func() int) {
	target, err := runtimes.ParseID(id)
	if err != nil {
		m.t.Fatal(err)
	}
	var all sync.WaitGroup
	done := make(chan struct{})
	n := 0
	d := m.door
	all.Go(func() {
		for {
			select {
			case <-done:
				return
			case <-time.After(every):
			}
			n++
			all.Go(func() {
				if err := d.request(m.t.Context(), target, takes); err != nil {
					m.t.Errorf("request for %s: %v", id, err)
				}
			})
		}
	})
	return func() int { close(done); all.Wait(); return n }
}
