package reconcile

import (
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
}

// tell reports progress to all who follow.
func (l *Loop) tell(e progress) {
	e.At = time.Now()
	l.mu.Lock()
	watchers := l.watchers
	l.mu.Unlock()
	for _, w := range watchers {
		(*w)(e)
	}
}

// short is how people read a revision.
func short(revision string) string {
	if len(revision) == 40 {
		return revision[:7]
	}
	return revision
}
