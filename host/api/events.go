package api

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Change is one event of GET /api/events: an instance is not as it was, or is
// gone (Instance nil), or the host is not (Status set; only for callers who may
// look at all of it).
type Change struct {
	At       time.Time `json:"at"`
	Kind     string    `json:"kind"` // "instance", "gone" or "status"
	ID       string    `json:"id,omitempty"`
	Instance *Instance `json:"instance,omitempty"`
	Status   *Status   `json:"status,omitempty"`
}

// Herald says that something of the host is perhaps not as it was.
type Herald interface {
	// Changed gives a channel that is closed at the next change. Whoever makes one
	// never waits for those who wait for it.
	Changed() <-chan struct{}
}

const (
	// lookEvery is how often the host is looked at while nothing is said of it: the
	// end of a pause comes by itself.
	lookEvery = 15 * time.Second
	// lookRest is the least time between two looks; after a long one it is
	// lookShare times as long as that took, so that watching costs a host no more
	// than a part of one processor however much goes on.
	lookRest  = 20 * time.Millisecond
	lookShare = 4
)

// watch looks at the host for everybody who watches, so that a watcher more
// costs no look more. It looks only while there is one.
type watch struct {
	mu       sync.Mutex
	watchers map[*watcher]struct{}
	last     picture
	stop     context.CancelFunc
	done     chan struct{}
}

// watcher is one of them. What it has not read yet is kept by what it is of, and
// the newest counts: who reads slowly misses what is over, and holds up nobody.
type watcher struct {
	some    chan struct{} // of capacity 1: there is something
	pending map[string]Change
}

func newWatcher() *watcher {
	return &watcher{some: make(chan struct{}, 1), pending: map[string]Change{}}
}

// picture is how the host stood at one look.
type picture struct {
	instances map[string]Instance // an instance may have two incarnations: the newest counts
	status    Status
}

// eventStream sends how the host stands, then what changes.
func (s *Server) eventStream(w http.ResponseWriter, r *http.Request) error {
	who := callerOf(r)
	now, err := s.look(r.Context())
	if err != nil {
		return err
	}
	ctx, cancel := s.while(r)
	defer cancel()
	me, now := s.join(who.serving, now)
	defer s.leave(me)
	out := openEvents(w)
	defer out.keepAlive(ctx, cancel)()
	for changes := changesBetween(picture{}, now); ; changes = s.take(me) {
		for _, c := range changes {
			if who.maySee(c) && out.send(c.Kind, c) != nil {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-me.some:
		}
	}
}

// maySee reports whether a change is a caller's to know of.
func (c caller) maySee(change Change) bool {
	if change.Kind == "status" {
		return c.look
	}
	_, id, _ := strings.Cut(change.ID, ":")
	return c.mayTouch(id)
}

// look takes a picture of the host.
func (s *Server) look(ctx context.Context) (picture, error) {
	list, err := s.Viewer.Instances(ctx, true)
	if err != nil {
		return picture{}, err
	}
	status, err := s.Viewer.Status(ctx)
	if err != nil {
		return picture{}, err
	}
	p := picture{instances: make(map[string]Instance, len(list)), status: status}
	for _, i := range list {
		p.instances[i.Service+":"+i.ID] = i
	}
	return p, nil
}

// changesBetween says what is not as it was. Requests come and go without a word.
func changesBetween(before, now picture) []Change {
	at := time.Now()
	var all []Change
	for id, i := range now.instances {
		if was, ok := before.instances[id]; !ok || still(was) != still(i) {
			all = append(all, Change{At: at, Kind: "instance", ID: id, Instance: &i})
		}
	}
	for id := range before.instances {
		if _, ok := now.instances[id]; !ok {
			all = append(all, Change{At: at, Kind: "gone", ID: id})
		}
	}
	was, is := before.status, now.status
	if was.State != is.State || was.Message != is.Message || was.Revision != is.Revision || was.StartedAt != is.StartedAt {
		all = append(all, Change{At: at, Kind: "status", Status: &now.status})
	}
	slices.SortFunc(all, func(a, b Change) int { return strings.Compare(a.ID, b.ID) }) // that of the host first
	return all
}

// still leaves out what each request changes.
func still(i Instance) Instance {
	i.LastRequest, i.Open = time.Time{}, 0
	return i
}

// join adds a watcher and gives the picture that its changes begin from; looking
// begins with the first. ctx ends with the daemon.
func (s *Server) join(ctx context.Context, now picture) (*watcher, picture) {
	me := newWatcher()
	s.watch.mu.Lock()
	defer s.watch.mu.Unlock()
	if len(s.watch.watchers) == 0 {
		looking, stop := context.WithCancel(ctx)
		done := make(chan struct{})
		s.watch.watchers, s.watch.last = map[*watcher]struct{}{}, now
		s.watch.stop, s.watch.done = stop, done
		go func() {
			defer close(done)
			s.lookOn(looking)
		}()
	}
	s.watch.watchers[me] = struct{}{}
	return me, s.watch.last
}

// leave takes a watcher away, and ends looking with the last.
func (s *Server) leave(me *watcher) {
	s.watch.mu.Lock()
	delete(s.watch.watchers, me)
	stop, done := s.watch.stop, s.watch.done
	last := len(s.watch.watchers) == 0
	s.watch.mu.Unlock()
	if last {
		stop()
		<-done
	}
}

// lookOn looks whenever something changed, and tells the watchers what.
func (s *Server) lookOn(ctx context.Context) {
	for {
		changed := s.Herald.Changed() // before the look: nothing is missed between them
		began := time.Now()
		now, err := s.look(ctx)
		if err == nil && ctx.Err() == nil { // else it is asked again; the daemon itself reports what it can't do
			s.tell(now)
		}
		if !rest(ctx, max(lookRest, lookShare*time.Since(began)), nil) || !rest(ctx, lookEvery, changed) {
			return
		}
	}
}

// rest waits for a time or until sooner is closed, and reports whether ctx goes on.
func rest(ctx context.Context, d time.Duration, sooner <-chan struct{}) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
	case <-sooner:
	}
	return true
}

// tell never waits for a watcher.
func (s *Server) tell(now picture) {
	s.watch.mu.Lock()
	defer s.watch.mu.Unlock()
	changes := changesBetween(s.watch.last, now)
	s.watch.last = now
	if len(changes) == 0 {
		return
	}
	for w := range s.watch.watchers {
		for _, c := range changes {
			w.pending[c.ID] = c
		}
		select {
		case w.some <- struct{}{}:
		default:
		}
	}
}

// take gives what a watcher has not read yet.
func (s *Server) take(me *watcher) []Change {
	s.watch.mu.Lock()
	defer s.watch.mu.Unlock()
	changes := slices.SortedFunc(maps.Values(me.pending), func(a, b Change) int { return strings.Compare(a.ID, b.ID) })
	clear(me.pending)
	return changes
}
