package api

import (
	"context"
	"net/http"
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

// lookEvery is how often the host is looked at while somebody watches.
const lookEvery = time.Second

// watch looks at the host for everybody who watches, so that a watcher more
// costs no look more. It looks only while there is one.
type watch struct {
	mu       sync.Mutex
	watchers map[*watcher]struct{}
	last     picture
	stop     context.CancelFunc
	done     chan struct{}
}

// watcher is one of them. When it lags its channel is closed: it connects again
// and is told how all stands.
type watcher struct {
	changes chan []Change
	lagging bool
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
	changes := changesBetween(picture{}, now)
	for {
		for _, c := range changes {
			if !who.maySee(c) {
				continue
			}
			if out.send(c.Kind, c) != nil {
				return nil
			}
		}
		var ok bool
		select {
		case <-ctx.Done():
			return nil
		case changes, ok = <-me.changes:
			if !ok {
				out.send("lagging", &Error{Code: CodeBusy, Message: "events came faster than they were read; connect again"})
				return nil
			}
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
	me := &watcher{changes: make(chan []Change, 64)}
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

// lookOn looks again and again and tells the watchers what changed.
func (s *Server) lookOn(ctx context.Context) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now, err := s.look(ctx)
		if err == nil && ctx.Err() == nil { // else it is asked again; the daemon itself reports what it can't do
			s.tell(now)
		}
	}
}

// tell never waits: a watcher that lags is let go of.
func (s *Server) tell(now picture) {
	s.watch.mu.Lock()
	defer s.watch.mu.Unlock()
	changes := changesBetween(s.watch.last, now)
	s.watch.last = now
	if len(changes) == 0 {
		return
	}
	for w := range s.watch.watchers {
		if w.lagging {
			continue
		}
		select {
		case w.changes <- changes:
		default:
			w.lagging = true
			close(w.changes)
		}
	}
}
