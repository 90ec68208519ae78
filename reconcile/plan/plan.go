// Package plan decides what changes. New compares what a revision desires with
// what was observed and returns the difference as a value: no I/O, no clock,
// sorted, a Reason for every action. Nothing else in ten decides; the daemon
// applies the very value that `ten plan` prints.
package plan

import (
	"time"

	"github.com/tenement/ten/runtimes"
	"github.com/tenement/ten/schema"
)

// FormatVersion is the version of the JSON form of Plan and Observed.
const FormatVersion = 1

// Desired is one revision's model and what people want to know of the revision.
type Desired struct {
	Model    *schema.Model `json:"model"`
	Revision string        `json:"revision"`
	Subject  string        `json:"subject,omitempty"`
	Signer   string        `json:"signer,omitempty"`
	Dirty    bool          `json:"dirty,omitempty"`
	Ahead    int           `json:"ahead,omitempty"`
}

// Observed is the world as found: everything a decision may rest on.
type Observed struct {
	Now  time.Time `json:"now"`
	Host Host      `json:"host"`
	// Applied is the revision that was applied last, "" for none, and
	// AppliedFields the settings and routing in force ("settings.max_restarts").
	Applied       string            `json:"applied,omitempty"`
	AppliedFields map[string]string `json:"applied_fields,omitempty"`
	// Instances are all incarnations found, sorted by Key.
	Instances []Instance `json:"instances"`
	// Unknown are the levels that could not be asked, with the reason. Nothing
	// of such a level is ever stopped or started.
	Unknown map[runtimes.Level]string `json:"unknown,omitempty"`
	// Approved says that a person approved this revision's removals.
	Approved bool `json:"approved,omitempty"`
	// Paused are services held by a person, with the reason; "*" is the host.
	Paused map[string]string `json:"paused,omitempty"`
	// Awake are instances that somebody asked for: on-demand ones that are to
	// run, and ids that no config declares, as long as they are wanted. An
	// undeclared instance that is in neither Awake nor Registered is removed. One
	// that ended stays so if its restart policy says that: who asks for it again
	// removes the ended incarnation first.
	Awake []runtimes.ID `json:"awake,omitempty"`
	// Hands is what people did by hand, sorted by ID.
	Hands []Hand `json:"hands,omitempty"`
	// Asleep are instances that were put to sleep and stay so until somebody asks
	// for them; no instance is in both.
	Asleep []runtimes.ID `json:"asleep,omitempty"`
}

// Host is what of the machine bears on a plan.
type Host struct {
	Name    string `json:"name"`
	DataDir string `json:"data_dir"` // absolute
	// Levels says of every isolation level whether it works here.
	Levels map[runtimes.Level]Support `json:"levels"`
	// Commands says, by service, why its command can't be found; absent = found.
	Commands map[string]string `json:"commands,omitempty"`
	// Ports says who holds a TCP port that the model asks for; absent = free.
	Ports map[int]Holder `json:"ports,omitempty"`
}

// Support says whether a level works; Reason and Hint are set when not.
type Support struct {
	OK     bool   `json:"ok"`
	Reason string `json:"reason,omitempty"`
	Hint   string `json:"hint,omitempty"`
	// Unfreezable says of a level that works why it can't freeze an instance, with
	// Hint; "" = it can.
	Unfreezable string `json:"unfreezable,omitempty"`
}

// Holder is who has a port. Instance is set when it is one of ours.
type Holder struct {
	Pid      int         `json:"pid,omitempty"`
	Command  string      `json:"command,omitempty"`
	Instance runtimes.ID `json:"instance,omitzero"`
}

// Instance is an incarnation with what only the daemon knows of it.
type Instance struct {
	runtimes.Instance
	Health     runtimes.Health `json:"health"`
	HealthText string          `json:"health_text,omitempty"` // "GET /up = 503, 3 times"
	Address    string          `json:"address,omitempty"`     // "127.0.0.1:31200" or "unix:/path"
	Restarts   int             `json:"restarts,omitempty"`    // within the restart window
	GateOpen   bool            `json:"gate_open,omitempty"`   // it once was healthy for min_healthy: it may serve
	// IdleSince is when the last request to it ended, or where there was none when
	// it began to serve; zero while one is under way, and where nobody knows.
	IdleSince  time.Time `json:"idle_since,omitzero"`
	Busy       bool      `json:"busy,omitempty"`       // it said so itself: it is not put to sleep
	Registered bool      `json:"registered,omitempty"` // by API, not declared in git: a reconcile never removes it
}

// Op is what an action does. The list is closed.
type Op string

// The operations, by how much they disturb.
const (
	OpReload  Op = "reload"  // the daemon takes new settings or routes; no process is touched
	OpUpdate  Op = "update"  // changes a running instance in place
	OpCreate  Op = "create"  // starts an instance that is not there
	OpStart   Op = "start"   // starts again an instance that ended or is unhealthy
	OpRestart Op = "restart" // starts a new incarnation, waits until healthy, then stops the old
	OpReplace Op = "replace" // stops the old incarnation, then starts the new: a gap in service
	OpStop    Op = "stop"    // stops an instance that is to stand still
	OpRemove  Op = "remove"  // stops an instance that is desired no more
	OpCleanup Op = "cleanup" // removes the leftover of a superseded incarnation
	OpSleep   Op = "sleep"   // stops or freezes an idle instance until somebody asks for it
	OpWake    Op = "wake"    // lets a frozen instance run again
)

// Effect is what changing a field costs.
type Effect string

// The effects, least first.
const (
	EffectNone    Effect = "none"    // recorded, nothing happens
	EffectLive    Effect = "live"    // taken over by the running instance or its supervision
	EffectReload  Effect = "reload"  // the daemon reloads
	EffectRestart Effect = "restart" // a new incarnation beside the old one
	EffectReplace Effect = "replace" // the old one must go first
)

// Woken is the code of the Reason of what is started because somebody waits for it.
const Woken = "woken"

// Reason says why, for people (Text) and for programs (Code).
type Reason struct {
	Code string `json:"code"` // "new", "changed", "removed", "exited", "unhealthy", "superseded", ...
	Text string `json:"text"`
}

// Change is one field that differs. Before and After are canonical JSON, ""
// where the field was not written (for isolation then the level that it is).
// Sensitive says that the values are a secret's: Masked hides them.
type Change struct {
	Path      string `json:"path"`
	Before    string `json:"before,omitempty"`
	After     string `json:"after,omitempty"`
	Effect    Effect `json:"effect"`
	Sensitive bool   `json:"sensitive,omitempty"`
	Decides   bool   `json:"decides,omitempty"` // this field is why the action is what it is
}

// ConditionRemoved is the condition of a removal that waits for another one.
const ConditionRemoved schema.Condition = "removed"

// The reasons for which an action is blocked.
const (
	BlockPortTaken        = "port-taken"
	BlockLevelUnsupported = "level-unsupported"
	BlockLevelUnknown     = "level-unknown"
	BlockCommandNotFound  = "command-not-found"
	BlockPaused           = "paused"
	BlockGuard            = "guard"
	BlockDependency       = "dependency"
	BlockFreeze           = "freeze-unsupported"
)

// Block says why an action can't be carried out now and what to do.
type Block struct {
	Code string `json:"code"`
	Text string `json:"text"`
	Hint string `json:"hint,omitempty"`
}

// Action is one step of a plan, about one instance (or, with a zero ID, the host).
type Action struct {
	ID      runtimes.ID `json:"id"`
	Op      Op          `json:"op"`
	Drift   bool        `json:"drift,omitempty"` // the world moved, not the repository
	Reason  Reason      `json:"reason"`
	Changes []Change    `json:"changes,omitempty"`
	// Spec is what to start or update to. Bind completes it with what only the
	// moment of starting knows. Nil for remove, cleanup and reload.
	Spec *runtimes.Spec `json:"spec,omitempty"`
	// New is an incarnation that an interrupted rollout has started already.
	New *runtimes.Key `json:"new,omitempty"`
	// Old are the incarnations that go: first of all for create, start and
	// replace, and once the new one is healthy for restart (but for those that
	// never served beside one that does: they go first). For update it is the
	// one that is changed. Among those of a create, start or replace are such of
	// another ID when it takes over the fixed port of an instance that is removed.
	Old []runtimes.Key `json:"old,omitempty"`
	// After are services whose actions, and conditions, come first. It is the
	// same for all actions of a service but removals, which come after the
	// removals of what depends on them (ConditionRemoved).
	After []schema.Dependency `json:"after,omitempty"`
	// Takeover is how the new incarnation of a restart takes over from the old one;
	// nil = each as soon as it is healthy.
	Takeover *Takeover `json:"takeover,omitempty"`
	// Freeze says of a sleep that the process is kept and gets no processor time.
	Freeze bool `json:"freeze,omitempty"`
	// NotBefore delays a start for backoff; zero = now.
	NotBefore time.Time `json:"not_before,omitzero"`
	Blocked   *Block    `json:"blocked,omitempty"`
}

// Takeover is a deploy other than a rolling one. Blue-green: all new incarnations
// of the service become healthy, then all take over in one moment, or none does.
// Canary: the new one gets each of Steps percent of its instance's requests for
// Each, and takes over when it has stayed healthy and answered well.
type Takeover struct {
	Deploy schema.Deploy `json:"deploy"`
	Steps  []int         `json:"steps,omitempty"`
	Each   time.Duration `json:"each,omitempty"`
}

// Guard is raised when a revision removes so much that a person must approve.
type Guard struct {
	Removed  []runtimes.ID `json:"removed"`
	Declared int           `json:"declared"` // instances declared before
	Limit    int           `json:"limit"`    // how many may vanish unasked
}

// Summary counts the actions of a plan.
type Summary struct {
	Create    int `json:"create"`
	Start     int `json:"start"`  // again
	Update    int `json:"update"` // in place
	Reload    int `json:"reload"`
	Restart   int `json:"restart"`
	Replace   int `json:"replace"`
	Stop      int `json:"stop"` // to stand still
	Remove    int `json:"remove"`
	Cleanup   int `json:"cleanup"`
	Sleep     int `json:"sleep,omitempty"`
	Wake      int `json:"wake,omitempty"`
	Blocked   int `json:"blocked"`
	Unchanged int `json:"unchanged"` // instances
}

// Plan is the difference between desired and observed, in the order in which
// it is applied: dependencies first, removals last, otherwise by name.
type Plan struct {
	FormatVersion int      `json:"format_version"`
	Host          string   `json:"host"`
	Revision      string   `json:"revision"`
	Subject       string   `json:"subject,omitempty"`
	Signer        string   `json:"signer,omitempty"`
	Dirty         bool     `json:"dirty,omitempty"`
	Ahead         int      `json:"ahead,omitempty"`
	Base          string   `json:"base,omitempty"` // the revision applied before
	Actions       []Action `json:"actions"`
	// ByHand is what stands beside the repository because a person did it.
	ByHand  []Hand  `json:"by_hand,omitempty"`
	Guard   *Guard  `json:"guard,omitempty"`
	Summary Summary `json:"summary"`
	// Next is when a delayed action becomes due; zero = nothing is waiting.
	Next time.Time `json:"next,omitzero"`
}

// Empty reports whether there is nothing to do, now or later.
func (p Plan) Empty() bool { return len(p.Actions) == 0 }
