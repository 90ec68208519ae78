package reconcile

import (
	"sync"

	"github.com/tenement/ten/host/api"
)

var _ api.Herald = (*Loop)(nil)

// news says that something that is shown of the host may not be as it was. It
// carries nothing else: who hears it looks for itself. The zero value is ready.
type news struct {
	mu   sync.Mutex
	next chan struct{} // closed by the next; nil while nobody waits for it
}

// Changed gives a channel that is closed at the next change.
func (l *Loop) Changed() <-chan struct{} {
	l.news.mu.Lock()
	defer l.news.mu.Unlock()
	if l.news.next == nil {
		l.news.next = make(chan struct{})
	}
	return l.news.next
}

// tell wakes all who wait. It waits for nobody, and may be called with any lock held.
func (n *news) tell() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.next != nil {
		close(n.next)
		n.next = nil
	}
}
