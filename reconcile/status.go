package reconcile

import (
	"slices"
	"time"

	"github.com/tenement/ten/host/api"
)

// State words the loop uses; the API's are the only ones.
const (
	stateInSync   = api.InSync
	stateApplying = api.Applying
	stateHeld     = api.Held
	statePaused   = api.Paused
	stateBlocked  = api.Blocked
	stateError    = api.Failed
)

// status is what people are told of the loop.
type status struct {
	state     api.State
	message   string
	hint      string
	since     time.Time
	attempted string
	subject   string
	signer    string
	problems  []string
	notice    string // what a person should know of a revision that is good
	fetch     string // why the source can't be read now, "" when it can
	fetchHint string
}

// progress is one line for those who follow a rollout.
type progress = api.Event

// say sets the host's state. The message is a whole sentence without its stop.
func (l *Loop) say(state api.State, message, hint string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.saying(state, message, hint)
}

// saying is say for who holds mu: what is told of one revision changes at once.
func (l *Loop) saying(state api.State, message, hint string) {
	if l.status.state != state {
		l.status.since = time.Now()
	}
	l.status.state, l.status.message, l.status.hint = state, message, hint
	if state != stateError {
		l.status.problems = nil
	}
	l.news.tell()
}

// watcher follows the rollout of one revision.
type watcher struct {
	d   *desired
	see func(progress) // must not block
}

// subscribe has see called with every line of progress, and with the end of the
// rollout of d, until the returned func is called.
func (l *Loop) subscribe(d *desired, see func(progress)) (remove func()) {
	w := &watcher{d, see}
	l.mu.Lock()
	l.watchers = append(slices.Clone(l.watchers), w)
	l.mu.Unlock()
	return func() {
		l.mu.Lock()
		l.watchers = slices.DeleteFunc(slices.Clone(l.watchers), func(o *watcher) bool { return o == w })
		l.mu.Unlock()
	}
}

// tell reports progress to all who follow.
func (l *Loop) tell(e progress) {
	e.At = time.Now()
	for _, w := range l.following() {
		w.see(e)
	}
}

// finish reports to those who follow d how its rollout ended.
func (l *Loop) finish(d *desired, e progress) {
	e.At, e.Done = time.Now(), true
	for _, w := range l.following() {
		if w.d == d {
			w.see(e)
		}
	}
}

func (l *Loop) following() []*watcher {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.watchers
}

// short is how people read a revision.
func short(revision string) string {
	if len(revision) == 40 {
		return revision[:7]
	}
	return revision
}
