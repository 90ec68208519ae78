// Package reconcile is the loop: it takes revisions from a source, compares
// what they desire with what runs, and applies the difference. It is the only
// place that decides when; what changes is decided by plan.New alone.
//
// Three things go on at once. follow takes accepted revisions from the source
// and loads them; rollout applies the newest of them, serial per service and
// parallel across; supervise repairs single instances of the revision in force
// when they end or stop answering. An instance is worked on by one of them at a
// time (claim). A newer revision ends the rollout of an older one while that
// only waits; it never cuts an operation in two.
//
// What the loop must not forget across kill -9 is on disk before it acts: the
// model in force in DATA/applied.json, revisions and intents in the store, and
// every instance's own record with its runtime.
package reconcile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tenement/ten/host/logs"
	"github.com/tenement/ten/host/probe"
	"github.com/tenement/ten/host/router"
	"github.com/tenement/ten/reconcile/plan"
	"github.com/tenement/ten/reconcile/source"
	"github.com/tenement/ten/reconcile/store"
	"github.com/tenement/ten/runtimes"
	"github.com/tenement/ten/schema"
	"github.com/tenement/ten/schema/load"
)

// Source is where revisions come from.
type Source interface {
	// Latest returns the newest revision that passes the trust rules, the same
	// pointer when nothing changed.
	Latest(ctx context.Context, anchor source.Anchor) (*source.Snapshot, error)
	// At returns an older revision again.
	At(ctx context.Context, revision string) (*source.Snapshot, error)
	// Wait blocks until it is time to look again.
	Wait(ctx context.Context) error
	// Hint makes Wait return soon.
	Hint()
}

// Loader turns a tree into a model, or says all that is wrong with it.
type Loader interface {
	Load(ctx context.Context, tree load.Tree) (*schema.Model, []schema.Problem, error)
}

// Prober asks instances whether they answer.
type Prober interface {
	Probe(ctx context.Context, t probe.Target) probe.Result
	// WaitReady asks until the answer is good or ctx ends.
	WaitReady(ctx context.Context, t probe.Target, interval time.Duration) (probe.Result, error)
}

// Output keeps what instances print.
type Output interface {
	Attach(ctx context.Context, key runtimes.Key, stdout, stderr io.ReadCloser) error
	// Drained waits until all that an ended incarnation printed is kept.
	Drained(ctx context.Context, key runtimes.Key) error
	// Tail returns the newest n lines of an instance, oldest first.
	Tail(service, id string, n int) ([]logs.Line, error)
}

// Traffic is what the front door knows of requests.
type Traffic interface {
	// Activity says how many requests and connections of an instance are under
	// way, and when the last one ended or sent a byte; zero = none so far.
	Activity(id runtimes.ID) (open int, last time.Time)
	// Drain waits until nothing of an incarnation is under way. It is called when
	// the incarnation was published as Draining. When ctx ends, what is left is
	// told where its protocol can, and cut.
	Drain(ctx context.Context, key runtimes.Key) error
	// Outcome counts the requests that an incarnation answered since it was
	// published, and those of them that failed: no answer, or a 5xx.
	Outcome(key runtimes.Key) (answered, failed uint64)
}

// Config is all a Loop needs. Every field is required except Publish, Traffic, Busy and Ready.
type Config struct {
	Host     string // name of this host
	DataDir  string // absolute
	Version  string // of ten
	Origin   string // where revisions come from, for people; no credentials
	Source   Source
	Loader   Loader
	Store    *store.Store
	Runtimes map[runtimes.Level]runtimes.Runtime
	Prober   Prober
	Output   Output
	Log      *slog.Logger
	// FreePort picks a TCP port that nobody listens on and that is not in used.
	FreePort func(used map[int]bool) (int, error)
	// OpenDir reads a directory of this host as a snapshot, for Apply.
	OpenDir func(dir string) (*source.Snapshot, error)
	// Publish is told the model in force and what of its instances changed,
	// before anybody who waits for an instance is answered. It is called under the
	// loop's lock, so it only swaps what it is given, and calls nothing back.
	Publish func(router.Update)
	// Traffic is asked who is idle and drained; nil where nothing is routed: then
	// nothing is put to sleep.
	Traffic Traffic
	// Busy reports that an incarnation said itself that it is in the middle of
	// something, and is not to be put to sleep; nil where nobody can say so.
	Busy func(runtimes.Key) bool
	// Ready reports that an incarnation said itself that it is; nil where nobody can.
	Ready func(runtimes.Key) bool
}

// Loop reconciles one host. Make it with New, start it with Run.
type Loop struct {
	cfg     Config
	log     *slog.Logger
	started time.Time

	submit    chan struct{} // a revision is waiting
	kick      chan struct{} // something in dirty
	running   chan struct{} // closed once Run has adopted what runs; before, nobody is answered
	finished  chan struct{} // closed when Run returns: nobody is answered any more
	downed    chan struct{} // closed by the down command
	goingDown sync.Once
	group     *errgroup.Group
	runCtx    context.Context // of Run: for what outlives one action, such as a watcher
	spawning  sync.Mutex      // guards over
	over      bool            // Run ends

	mu       sync.Mutex
	force    *desired // in force: what supervision rests on; nil until something was applied
	good     *desired // applied last and healthy
	pending  *desired // accepted, but waits for a person
	waiting  *desired // the newest accepted, whose rollout has not begun
	current  *desired // whose rollout is under way
	repeat   *desired // whose rollout has ended, and is tried again by itself
	begun    uint64   // how many rollouts have begun
	failing  *desired // the one that is held
	replan   bool     // current is to be planned once more: a person changed what it rests on
	status   status
	hands    map[runtimes.ID]store.Hand // what people did by hand, as the store has it
	world    map[runtimes.Key]*tracked
	byID     map[runtimes.ID][]*tracked              // the same
	gone     map[runtimes.Key]time.Time              // stopped by this daemon, and when: a list that was begun before may still show it
	past     map[runtimes.ID][]time.Time             // restarts within the window
	claimed  map[runtimes.ID]context.CancelCauseFunc // an action on it is under way
	dirty    map[runtimes.ID]bool                    // to be looked at by supervise
	alarms   map[runtimes.ID]*time.Timer             // when to look at it again by itself
	after    map[runtimes.ID]string                  // repairs that wait for a service that is just coming up
	wakers   map[runtimes.ID]*waker                  // who waits for it to serve
	lulling  int                                     // how many are being put to sleep
	drowsy   map[runtimes.ID]bool                    // to be looked at when fewer are
	resting  map[runtimes.ID]time.Time               // not to be started again before, after a start that failed
	failed   map[string]string                       // services held after a first rollout failed, with the reason
	preempt  context.CancelCauseFunc                 // ends the waits of the rollout under way; nil when none
	tidy     bool                                    // the rollout under way leaves sources unused
	offered  bool                                    // a revision waits for its rollout to begin
	looked   chan struct{}                           // closed when the source was looked at first
	down     bool                                    // nothing begins any more
	attempts int                                     // failed attempts at one revision, for the backoff
	watchers []*watcher                              // who follows a rollout
	news     news                                    // for those who watch the host
	making   map[string]chan struct{}                // sources and builds that somebody makes or removes; closed when done
	ports    ports
	rests    map[runtimes.ID]bool    // somebody asked for it (true), or it was put to sleep
	noting   sync.Mutex              // writers of rests take turns
	table    *schema.Model           // as published last: that in force, and services that are on their way out
	unseen   map[runtimes.Level]bool // levels that could not be asked last
	handing  sync.Mutex              // writers of hands take turns
	sockets  sync.Mutex              // who makes and removes directories of sockets takes turns
}

// desired is a revision on its way: its model, and the tree to take sources from.
// Tree is nil for a model read back from disk.
type desired struct {
	plan.Desired
	Tree source.Tree `json:"-"`
	// Anchor is what the next revision must descend from once this one is applied.
	Anchor string `json:"anchor,omitempty"`
	// Manual marks a directory that a person applied over the source's revision;
	// Git is the source's revision, under it or itself.
	Manual bool   `json:"manual,omitempty"`
	Git    string `json:"git,omitempty"`
	notice string // what a person should know of it
}

// New builds a Loop; nothing runs until Run.
func New(cfg Config) *Loop {
	if cfg.Publish == nil {
		cfg.Publish = func(router.Update) {}
	}
	return &Loop{
		cfg:      cfg,
		log:      cfg.Log,
		submit:   make(chan struct{}, 1),
		kick:     make(chan struct{}, 1),
		running:  make(chan struct{}),
		finished: make(chan struct{}),
		downed:   make(chan struct{}),
		looked:   make(chan struct{}),
		hands:    map[runtimes.ID]store.Hand{},
		world:    map[runtimes.Key]*tracked{},
		byID:     map[runtimes.ID][]*tracked{},
		gone:     map[runtimes.Key]time.Time{},
		alarms:   map[runtimes.ID]*time.Timer{},
		after:    map[runtimes.ID]string{},
		wakers:   map[runtimes.ID]*waker{},
		drowsy:   map[runtimes.ID]bool{},
		past:     map[runtimes.ID][]time.Time{},
		claimed:  map[runtimes.ID]context.CancelCauseFunc{},
		dirty:    map[runtimes.ID]bool{},
		resting:  map[runtimes.ID]time.Time{},
		failed:   map[string]string{},
		making:   map[string]chan struct{}{},
		rests:    map[runtimes.ID]bool{},
		unseen:   map[runtimes.Level]bool{},
		ports:    newPorts(),
	}
}

// errDown ends Run after the down command has stopped every instance.
var errDown = errors.New("stopped by ten down")

// Run adopts what runs and reconciles until ctx ends. Instances go on running
// after it returned, unless a down command stopped them.
func (l *Loop) Run(ctx context.Context) error {
	group, inner := errgroup.WithContext(ctx)
	l.group, l.runCtx, l.started = group, inner, time.Now()
	defer close(l.finished)
	defer l.disarm()
	group.Go(func() error { return l.untilDown(inner) })
	if err := l.restore(inner); err != nil {
		group.Go(func() error { return err })
	} else {
		l.publish()
		close(l.running)
		group.Go(func() error { return l.follow(inner) })
		group.Go(func() error { return l.rollouts(inner) })
		group.Go(func() error { return l.supervise(inner) })
		group.Go(func() error { return l.monitor(inner) })
	}
	err := group.Wait()
	if ctx.Err() != nil || errors.Is(err, errDown) || errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// untilDown waits for the end, and closes the loop to what its clients would
// still begin. It keeps the group open until then.
func (l *Loop) untilDown(ctx context.Context) (err error) {
	select {
	case <-ctx.Done():
		err = ctx.Err()
	case <-l.downed:
		err = errDown
	}
	l.spawning.Lock()
	defer l.spawning.Unlock()
	l.over = true
	return err
}

// restore brings back the model in force and adopts every instance found.
func (l *Loop) restore(ctx context.Context) error {
	d, err := l.readApplied()
	if err != nil {
		return err
	}
	held, isHeld, err := l.cfg.Store.Held(ctx)
	if err != nil {
		return err
	}
	anchor, err := l.cfg.Store.Anchor(ctx)
	if err != nil {
		return err
	}
	l.mu.Lock()
	l.force, l.good = d, d
	l.status.attempted = anchor
	if d != nil {
		l.status.attempted = d.Revision
		l.status.subject, l.status.signer = d.Subject, d.Signer
	}
	if isHeld {
		l.status.attempted = held.Revision
	}
	l.mu.Unlock()
	if isHeld && d == nil {
		// Nothing good is in force to hold at: the revision is tried again.
		if err := l.cfg.Store.ClearHold(ctx); err != nil {
			return err
		}
	} else if isHeld {
		l.say(stateHeld, held.Reason, "push a fix, or run: ten retry")
	}
	if err := l.endInterrupted(ctx); err != nil {
		return err
	}
	if err := l.restoreHands(ctx); err != nil {
		return err
	}
	if err := l.restoreRests(ctx); err != nil {
		return err
	}
	return l.adopt(ctx, d)
}

// endInterrupted closes what an earlier run began and never ended. It is not
// done again: the world is observed, and a new plan says what is left to do.
func (l *Loop) endInterrupted(ctx context.Context) error {
	entries, err := l.cfg.Store.Interrupted(ctx)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := l.cfg.Store.End(ctx, e.ID, "interrupted: the daemon ended in it", 0); err != nil {
			return err
		}
	}
	return nil
}

// adopt takes over every incarnation found on the machine and has supervise look
// at each, and at each that should be there.
func (l *Loop) adopt(ctx context.Context, d *desired) error {
	if err := l.dropBuilds(ctx); err != nil {
		return err
	}
	obs, err := l.observe(ctx, d, "")
	if err != nil {
		return err
	}
	highest := uint64(0)
	l.mu.Lock()
	for _, in := range obs.Instances {
		l.dirty[in.Spec.Key.ID] = true
		highest = max(highest, in.Spec.Key.Generation)
	}
	l.reopen(d, obs.Instances)
	if d != nil {
		for _, s := range d.Model.Services {
			for _, id := range s.Instances {
				l.dirty[runtimes.ID{Service: s.Name, Instance: id}] = true
			}
		}
	}
	l.mu.Unlock()
	if err := l.cfg.Store.SawGeneration(ctx, highest); err != nil {
		return err
	}
	l.log.Info("instances adopted", "reason", fmt.Sprintf("%d found running", len(obs.Instances)))
	l.poke()
	return nil
}

// dropBuilds ends builds that an earlier run left half done.
func (l *Loop) dropBuilds(ctx context.Context) error {
	for level, rt := range l.cfg.Runtimes {
		if rt.Check(ctx) != nil {
			continue
		}
		list, err := rt.List(ctx)
		if err != nil {
			l.log.Warn("level can't be observed", "runtime", level, "err", err)
			continue
		}
		for _, in := range list {
			if !strings.HasPrefix(in.Spec.Key.Instance, buildPrefix) {
				continue
			}
			if err := rt.Stop(ctx, in.Spec.Key); err != nil {
				return fmt.Errorf("stop an interrupted build: %w", err)
			}
		}
	}
	return nil
}

// errOver answers those who ask a daemon that has ended, or never got to serve.
var errOver = errors.New("the daemon was stopped")

// Ready waits until it is known what runs here, and told to whom Publish leads.
func (l *Loop) Ready(ctx context.Context) error { return l.up(ctx) }

// up waits until Run has adopted what runs, or has ended before it could.
func (l *Loop) up(ctx context.Context) error {
	select {
	case <-l.running:
		return nil
	case <-l.finished:
		return errOver
	case <-ctx.Done():
		return ctx.Err()
	}
}

// path joins parts beneath the data directory.
func (l *Loop) path(parts ...string) string {
	return filepath.Join(append([]string{l.cfg.DataDir}, parts...)...)
}

// spawn runs f beside the loop and ends with it; failures are f's to report.
// Once the loop ends, nothing begins any more.
func (l *Loop) spawn(f func()) {
	l.spawning.Lock()
	defer l.spawning.Unlock()
	if !l.over {
		l.group.Go(func() error { f(); return nil })
	}
}

// mkdir makes a directory of the data dir, private to the daemon's user.
func (l *Loop) mkdir(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make directory: %w", err)
	}
	return nil
}
