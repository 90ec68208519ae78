package load

import (
	"context"
	"fmt"
	"io/fs"
	"os/exec"
	"sync"
	"time"

	"github.com/tenement/ten/schema"
)

// Tree is what a Loader needs of a revision's files: reading, and for each file
// and directory an id that changes when, and only when, its content does. The
// id is a git object id; reconcile/source has trees of this kind. A tree whose
// directories list symbolic links also has ReadLink(path) (string, error).
type Tree interface {
	fs.ReadDirFS
	fs.ReadFileFS
	fs.StatFS
	ID(path string) (string, error)
}

// Config says how a Loader works. The zero value works for repositories
// without CUE files, and forgets when the process ends.
type Config struct {
	// Eval makes the command that runs EvalMain in a process of its own:
	// "ten eval". The Loader sets its streams and environment. Without it, a
	// repository with CUE files is refused.
	Eval func(ctx context.Context) *exec.Cmd
	// EvalTime bounds an evaluation; zero means 30 s. Beyond it the CUE of the
	// repository is refused.
	EvalTime time.Duration
	// CacheDir keeps verdicts between processes; "" = don't. It is made when
	// it is missing. What is in it is never trusted for more than that a
	// service once passed the schema.
	CacheDir string
}

// Loader loads one repository again and again, and judges only what changed.
// Its methods may be called from several goroutines; loads are made one by one.
type Loader struct {
	config Config

	mu       sync.Mutex
	units    map[string]*unit           // what the last load read, by path
	surveys  map[string]*survey         // by directory id
	accepted *verdicts                  // services and policies judged good
	policed  map[*schema.Service]string // by which policy a service was judged good last
}

// New makes a Loader. It does no work and starts nothing.
func New(c Config) *Loader {
	if c.EvalTime == 0 {
		c.EvalTime = evalTime
	}
	return &Loader{config: c}
}

// Load reads the tree and gives its model, or what is wrong with it. The model
// is nil exactly when a problem has severity error, or err is not nil; then the
// problems are all that could be found, in the order of files and lines. The
// error is for what is not the fault of a config: reading the tree, the end of
// ctx, a child process that can't be started.
func (l *Loader) Load(ctx context.Context, tree Tree) (*schema.Model, []schema.Problem, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.accepted == nil {
		l.accepted = openVerdicts(l.config.CacheDir)
		l.surveys = make(map[string]*survey)
	}
	r := &run{
		loader:  l,
		ctx:     ctx,
		tree:    tree,
		units:   make(map[string]*unit, len(l.units)),
		files:   make(map[string]*file),
		sources: make(map[string]sourceResult),
	}
	r.checker = r.newChecker()
	model, err := r.load()
	if r.session != nil {
		r.session.end()
	}
	for _, u := range r.units {
		u.forget()
	}
	if err != nil {
		return nil, nil, err
	}
	l.units = r.units
	l.accepted.save()
	sortProblems(r.problems)
	if r.hidden > 0 {
		r.problems = append(r.problems, whole(rootFile, "too-many", fmt.Sprintf("%d more problems are not shown", r.hidden), "begin with the first ones"))
	}
	return model, r.problems, nil
}

// run is one load.
type run struct {
	loader *Loader
	ctx    context.Context
	tree   Tree

	files   map[string]*file        // read in this run
	units   map[string]*unit        // of this run, for the next
	all     []*unit                 // of this run, the refused ones included
	sources map[string]sourceResult // by path
	checker *checker
	judge   *judge   // made when the first service must be judged
	session *session // made when the first CUE file must be evaluated

	problems []schema.Problem
	errors   int // problems of severity error, the hidden ones included
	hidden   int // problems beyond maxProblems
	// partial says that a file could not be read, so that services which seem
	// to be missing may stand in it.
	partial bool
}

// maxProblems is how many faults of one run are shown. A file full of noise has
// hundreds of thousands.
const maxProblems = 500

func (r *run) report(list ...schema.Problem) {
	for _, p := range list {
		if p.Severity == schema.Error {
			r.errors++
		}
		if len(r.problems) < maxProblems {
			r.problems = append(r.problems, p)
		} else {
			r.hidden++
		}
	}
}

// full says that further faults need not be worked out, only counted: see skip.
func (r *run) full() bool { return len(r.problems) >= maxProblems }

// skip counts an error that is not worked out.
func (r *run) skip() {
	r.errors++
	r.hidden++
}

// load goes through the stages.
func (r *run) load() (*schema.Model, error) {
	found, err := r.discover()
	if err != nil {
		return nil, err
	}
	var units []*unit
	for _, ref := range found.toml {
		u, err := r.readUnit(ref)
		if err != nil {
			return nil, err
		}
		units = append(units, u)
	}
	cue, err := r.evaluate(found.cue)
	if err != nil {
		return nil, err
	}
	if cue != nil {
		units = append(units, cue)
	}
	r.all = units
	model, err := r.assemble(units, found)
	if err != nil {
		return nil, err
	}
	if err := r.slum(found.slum, model); err != nil {
		return nil, err
	}
	if cue != nil && model != nil {
		if err := r.police(cue.reply, model); err != nil {
			return nil, err
		}
	}
	if r.errors > 0 {
		return nil, nil
	}
	return model, nil
}
