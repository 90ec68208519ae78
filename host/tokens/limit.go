package tokens

import (
	"net/netip"
	"sync"
	"time"
)

// What one source may do: so many failures at once, and one more each so often.
const (
	guesses    = 10
	guessEvery = time.Second
	proofs     = 5
	proofEvery = 2 * time.Second
	// maxSources bounds the memory. When it is full of sources that are still
	// limited, any of them is forgotten: with so many addresses a guesser is not
	// held up by limits but by the 256 bits.
	maxSources = 8192
)

// limits counts failures by source.
type limits struct {
	mu      sync.Mutex
	sources map[netip.Addr]*source
}

// source has two budgets, each kept as the moment at which it is full again.
// Bad tokens with nobody's prefix and failed proofs are counted apart, so that a
// flood of the first never keeps a good token from being proven.
type source struct{ guesses, proofs time.Time }

func newLimits() *limits { return &limits{sources: map[netip.Addr]*source{}} }

// failed notes a bad token and says how to refuse it.
func (l *limits) failed(from netip.Addr, now time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !spend(&l.at(from, now).guesses, now, guesses, guessEvery) {
		return ErrLimited
	}
	return ErrUnknown
}

// mayProve reports whether a source has not failed too many proofs.
func (l *limits) mayProve(from netip.Addr, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.at(from, now).proofs.Sub(now) <= (proofs-1)*proofEvery
}

func (l *limits) failedProof(from netip.Addr, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	spend(&l.at(from, now).proofs, now, proofs, proofEvery)
}

// spend takes one of a budget and reports whether there was one.
func spend(full *time.Time, now time.Time, burst int, every time.Duration) bool {
	if full.Before(now) {
		*full = now
	}
	if full.Sub(now) > time.Duration(burst-1)*every {
		return false
	}
	*full = full.Add(every)
	return true
}

// at gives the account of a source, of a whole /64 with IPv6. l.mu is held.
func (l *limits) at(from netip.Addr, now time.Time) *source {
	from = from.Unmap().WithZone("")
	if from.Is6() {
		from = netip.PrefixFrom(from, 64).Masked().Addr()
	}
	if s, ok := l.sources[from]; ok {
		return s
	}
	if len(l.sources) >= maxSources {
		l.forget(now)
	}
	s := &source{}
	l.sources[from] = s
	return s
}

// forget makes room: all that have nothing against them, or else some.
func (l *limits) forget(now time.Time) {
	for from, s := range l.sources {
		if !s.guesses.After(now) && !s.proofs.After(now) {
			delete(l.sources, from)
		}
	}
	for from := range l.sources {
		if len(l.sources) < maxSources*7/8 {
			return
		}
		delete(l.sources, from)
	}
}
