package reconcile

import (
	"sync"
	"time"
)

// promiseTime is how long a port is kept for an incarnation that was not seen yet.
const promiseTime = time.Minute

// ports knows which TCP ports incarnations have, or were promised.
type ports struct {
	mu       sync.Mutex
	taken    map[int]bool // held or promised
	held     map[int]int  // by how many incarnations
	promises []promise    // oldest first
}

type promise struct {
	port int
	at   time.Time
}

func newPorts() ports { return ports{taken: map[int]bool{}, held: map[int]int{}} }

// hold notes that an incarnation has a port.
func (p *ports) hold(port int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held[port]++
	p.taken[port] = true
}

// drop notes that an incarnation with a port is no more.
func (p *ports) drop(port int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.held[port]--; p.held[port] <= 0 {
		delete(p.held, port)
		delete(p.taken, port)
	}
}

// pick promises a port that free finds and nobody has.
func (p *ports) pick(free func(taken map[int]bool) (int, error)) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	for len(p.promises) > 0 && now.Sub(p.promises[0].at) > promiseTime {
		if old := p.promises[0].port; p.held[old] == 0 {
			delete(p.taken, old)
		}
		p.promises = p.promises[1:]
	}
	port, err := free(p.taken)
	if err == nil {
		p.taken[port] = true
		p.promises = append(p.promises, promise{port, now})
	}
	return port, err
}
