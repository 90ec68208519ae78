// Package api is how commands reach the daemon: JSON over HTTP on a unix socket
// (mode 0660) in the data directory. Reading verbs are open to whoever may
// connect; acting verbs want the daemon's own user or root, by peer credentials.
package api

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/tenement/ten/reconcile/plan"
	"github.com/tenement/ten/runtimes"
)

// State is the one word for how a host stands.
type State string

// The states of a host.
const (
	InSync   State = "in-sync"
	Applying State = "applying"
	Held     State = "held"    // at last good; the newest revision failed
	Paused   State = "paused"  // a person said so
	Blocked  State = "blocked" // something waits for a person: a removal guard, a refused rewind, a blocked action
	Failed   State = "error"   // the newest revision can't be read or checked
)

// Status is what `ten status` shows.
type Status struct {
	Host     string    `json:"host"`
	Revision Revisions `json:"revision"`
	State    State     `json:"state"`
	Message  string    `json:"message"`
	Hint     string    `json:"hint,omitempty"` // the command that helps
	Source   string    `json:"source"`         // the repository's URL without credentials, or a directory
	Subject  string    `json:"subject,omitempty"`
	Signer   string    `json:"signer,omitempty"`
	Since    time.Time `json:"since"` // of State
	// Problems are the faults of the attempted revision's config, one a line.
	Problems []string `json:"problems,omitempty"`
	// Logs are the last lines of the instance for which the host is held.
	Logs      []string          `json:"logs,omitempty"`
	Pauses    map[string]string `json:"pauses,omitempty"`
	Instances Counts            `json:"instances"`
	Listeners []Listener        `json:"listeners,omitempty"`
	// Certificates are those that the front door holds, or failed to get.
	Certificates []Certificate `json:"certificates,omitempty"`
	Version      string        `json:"version"`
	Pid          int           `json:"pid"`
	StartedAt    time.Time     `json:"started_at"`
}

// Listener is where requests are taken, or why they can't be.
type Listener struct {
	Name    string `json:"name"` // "http", "https"
	Address string `json:"address"`
	Error   string `json:"error,omitempty"` // why it is not open
}

// Certificate is one that the front door holds, or failed to get.
type Certificate struct {
	Name    string    `json:"name"`
	Source  string    `json:"source"` // "acme", or the file
	Issuer  string    `json:"issuer,omitempty"`
	Expires time.Time `json:"expires,omitzero"`
	Error   string    `json:"error,omitempty"`
}

// Revisions are the two revisions that matter.
type Revisions struct {
	Applied   string `json:"applied"`
	Attempted string `json:"attempted"`
}

// Counts are instances by what one wants to know first.
type Counts struct {
	Declared  int `json:"declared"`
	Running   int `json:"running"`
	Healthy   int `json:"healthy"`
	Degraded  int `json:"degraded"`
	Unhealthy int `json:"unhealthy"`
	Sleeping  int `json:"sleeping"`
	Failed    int `json:"failed"`
}

// Instance is one row of `ten ps`.
type Instance struct {
	Service     string          `json:"service"`
	ID          string          `json:"id"`
	Isolation   runtimes.Level  `json:"isolation"`
	Phase       runtimes.Phase  `json:"phase"`
	Health      runtimes.Health `json:"health"`
	Pid         int             `json:"pid"`
	Address     string          `json:"address"`
	StartedAt   time.Time       `json:"started_at"`
	Restarts    int             `json:"restarts"`
	Weight      int             `json:"weight"`
	ByHand      bool            `json:"by_hand,omitempty"`     // spawned or stopped by hand, or Weight was
	LastRequest time.Time       `json:"last_request,omitzero"` // the end of it; zero = none since the daemon started
	Open        int             `json:"open"`                  // requests and connections under way
	Revision    string          `json:"revision"`
	Digest      string          `json:"digest"`
	// Note says in words what phase and health can't: "exited 1, restart in 4s".
	Note string `json:"note,omitempty"`
}

// Ask names what an Observed must know of the host for one model.
type Ask struct {
	Commands []CommandAsk `json:"commands,omitempty"`
	Ports    []int        `json:"ports,omitempty"`
}

// CommandAsk asks whether a command can be found.
type CommandAsk struct {
	Service string         `json:"service"`
	Level   runtimes.Level `json:"level"`
	Command string         `json:"command"`
	Path    string         `json:"path,omitempty"` // PATH when the service sets one
}

// Entry is one line of a service's or host's past, newest first in lists.
type Entry struct {
	At       time.Time     `json:"at"`
	Revision string        `json:"revision,omitempty"`
	Subject  string        `json:"subject,omitempty"`
	Instance string        `json:"instance,omitempty"` // "web:prod", or "" for the host
	Action   string        `json:"action"`             // a plan.Op, or "applied", "failed", "reverted", "refused", "superseded"
	Reason   string        `json:"reason"`
	Result   string        `json:"result"` // "ok", or what went wrong
	Took     time.Duration `json:"took"`
}

// Why is the answer of `ten why SERVICE`.
type Why struct {
	Service   string        `json:"service"`
	Instances []Instance    `json:"instances"`
	Pending   []plan.Action `json:"pending"` // what the next plan would do to it
	Past      []Entry       `json:"past"`
}

// Verb names a Command.
type Verb string

// The acting verbs.
const (
	VerbPause        Verb = "pause"
	VerbResume       Verb = "resume"
	VerbApprove      Verb = "approve"
	VerbAcceptRewind Verb = "accept-rewind"
	VerbRetry        Verb = "retry"
	VerbDown         Verb = "down"
	VerbWake         Verb = "wake"
	VerbSync         Verb = "sync" // look at the source now
	// What people do by hand. It is kept, shown by every plan, and outlives the
	// daemon; a reconcile never takes it back.
	VerbSpawn   Verb = "spawn"   // Instance of Service is to exist, declared or not
	VerbStop    Verb = "stop"    // it is to stand still until spawn, restart or a request wakes it
	VerbRestart Verb = "restart" // a new incarnation takes over from the running one
	VerbWeight  Verb = "weight"  // Weight is its share of the service's requests
	VerbDeploy  Verb = "deploy"  // spawn, wait until healthy, then give it Weight
	VerbRoute   Verb = "route"   // From gets 0, Instance 100, at the same moment
)

// Command is one act of a person, as a value.
type Command struct {
	Verb     Verb          `json:"verb"`
	Service  string        `json:"service,omitempty"`  // pause, resume, retry, wake; "" = the host
	Instance string        `json:"instance,omitempty"` // wake
	Revision string        `json:"revision,omitempty"` // approve, accept-rewind
	Reason   string        `json:"reason,omitempty"`
	Until    time.Time     `json:"until,omitzero"`    // pause
	Weight   int           `json:"weight,omitempty"`  // weight, deploy: 0 to 100
	From     string        `json:"from,omitempty"`    // route: the instance that loses its requests
	Timeout  time.Duration `json:"timeout,omitempty"` // deploy: until it must be healthy; 0 = startup_timeout
	By       string        `json:"by,omitempty"`      // set by the server from the peer's credentials
}

// act is how a command stands in the audit log.
func (c Command) act() Act {
	a := Act{Action: string(c.Verb), Target: c.Service, Detail: c.Reason}
	if c.Instance != "" {
		a.Target += ":" + c.Instance
	}
	switch {
	case c.Revision != "":
		a.Detail = c.Revision
	case c.Verb == VerbWeight || c.Verb == VerbDeploy:
		a.Detail = fmt.Sprintf("weight %d", c.Weight)
	case c.From != "":
		a.Detail = "from " + c.From
	}
	return a
}

// ApplyRequest asks the daemon to apply a directory of this host. Expect is the
// fingerprint of the plan that a person saw; when the world has moved since, the
// daemon refuses.
type ApplyRequest struct {
	Dir    string `json:"dir,omitempty"` // absolute; "" = the daemon's own source, now
	Expect string `json:"expect,omitempty"`
	By     string `json:"by,omitempty"`
}

// Event is one line of progress, and the last one tells the outcome.
type Event struct {
	At       time.Time `json:"at"`
	Instance string    `json:"instance,omitempty"`
	Text     string    `json:"text"` // "web:prod  restarted, healthy after 84ms"
	Error    string    `json:"error,omitempty"`
	Code     Code      `json:"code,omitempty"` // of Error, in the last event
	Hint     string    `json:"hint,omitempty"`
	Logs     []string  `json:"logs,omitempty"` // the last lines of a failed instance
	Done     bool      `json:"done,omitempty"`
}

// LogQuery selects lines of one service, of one instance, or of all there is.
type LogQuery struct {
	Service  string // "" = all of them
	Instance string // "" = all of the service
	Level    string // "stdout", "stderr" or "" for both
	Search   string // case-sensitive substring
	Limit    int    // the last so many; 0 = 100
	Follow   bool
}

// Viewer is what the API shows of a host.
type Viewer interface {
	Status(ctx context.Context) (Status, error)
	// Instances lists running ones, or with all also sleeping, stopped and failed.
	Instances(ctx context.Context, all bool) ([]Instance, error)
	Observe(ctx context.Context, ask Ask) (plan.Observed, error)
	Why(ctx context.Context, service string) (Why, error)
	History(ctx context.Context, limit int) ([]Entry, error)
}

// Inspector answers what a Viewer does not: by asking, not by remembering.
type Inspector interface {
	// Plan is what is due on the host now, with secrets masked.
	Plan(ctx context.Context) (plan.Plan, error)
	// Probe asks an instance at this moment; one that does not run is Unknown.
	Probe(ctx context.Context, id runtimes.ID) (runtimes.Health, error)
	// Storage tells what instances keep on disk; with fresh it counts now, else
	// what was counted lately will do. An instance without a directory is
	// fs.ErrNotExist with fresh, and left out without.
	Storage(ctx context.Context, fresh bool, ids ...runtimes.ID) (map[runtimes.ID]Storage, error)
}

// Storage is what one instance keeps on disk.
type Storage struct {
	Path  string
	Used  int64
	Quota int64 // 0 = none
}

// TLS is how the front door stands with certificates.
type TLS struct {
	Enabled        bool   `json:"enabled"`
	Domain         string `json:"domain"`
	Staging        bool   `json:"staging"`
	HTTPSPort      int    `json:"https_port"`
	HTTPPort       int    `json:"http_port"`
	Recommendation string `json:"recommendation"`
}

// Requests are those of one instance since the daemon started, or since it was
// stopped by hand.
type Requests struct {
	Total     uint64
	AverageMS float64
	P99MS     float64
}

// Door is what the front door tells of itself.
type Door interface {
	TLS() TLS
	Requests(id runtimes.ID) Requests
}

// Actor is what the API lets people do to a host.
type Actor interface {
	// Do carries out one command; the text tells what happened.
	Do(ctx context.Context, c Command) (string, error)
	// Apply applies and reports as it goes; it returns when all is done.
	Apply(ctx context.Context, r ApplyRequest, report func(Event)) error
}

// Logs writes matching lines, oldest first, as "RFC3339Nano LEVEL service:id text\n";
// with Follow until ctx ends.
type Logs interface {
	Write(ctx context.Context, w io.Writer, q LogQuery) error
}
