package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/tenement/ten/host/api"
	"github.com/tenement/ten/reconcile"
	"github.com/tenement/ten/reconcile/plan"
	"github.com/tenement/ten/reconcile/source"
	"github.com/tenement/ten/schema"
	"github.com/tenement/ten/schema/load"
)

// planned is a plan with all that it was made from.
type planned struct {
	dir      string // absolute
	desired  plan.Desired
	observed plan.Observed
	plan     plan.Plan
	offline  bool // no daemon runs: planned against nothing
}

// saved binds the plan to what it was made from.
func (p planned) saved() plan.Saved {
	return plan.NewSaved(buildVersion(), p.dir, p.desired, p.observed, p.plan)
}

// configDir is the directory that an optional argument names: itself, or that
// of the nearest tenement.toml upward.
func (e *env) configDir(given []string) (string, error) {
	if len(given) > 0 {
		return e.abs(given[0]), nil
	}
	if config := e.nearestConfig(); config != "" {
		return filepath.Dir(config), nil
	}
	if hasConfig(e.dir) { // without a tenement.toml, in services/ or in CUE
		return e.dir, nil
	}
	return "", &hintError{fmt.Errorf("no %s in %s or above it", configName, e.dir), "name the directory that has one"}
}

// planDir plans a directory against what the daemon observes.
func (e *env) planDir(ctx context.Context, c *api.Client, dir string) (planned, error) {
	p := planned{dir: dir}
	snap, model, err := e.loadDir(ctx, dir)
	if err != nil {
		return p, err
	}
	p.desired = plan.Desired{
		Model: model, Revision: snap.Revision, Subject: snap.Subject, Signer: snap.Signer, Dirty: snap.Dirty, Ahead: snap.Ahead,
	}
	ask := reconcile.Asks(model, "")
	p.observed, err = c.Observe(ctx, ask)
	if _, absent := errors.AsType[*api.NotRunningError](err); absent {
		p.offline, err = true, nil
		p.observed = e.emptyHost(dir)
	}
	if err != nil {
		return p, err
	}
	if reveal(p.observed, model) {
		fmt.Fprintln(e.stderr, "ten: environment values are shown only to those who may act on this daemon: changes of them are not in this plan")
	}
	if p.observed.Host.Commands == nil {
		p.observed.Host.Commands = map[string]string{}
	}
	maps.Copy(p.observed.Host.Commands, reconcile.MissingInSource(model, snap.Tree, ask))
	p.plan = plan.New(p.desired, p.observed)
	return p, nil
}

// reveal takes every variable that the daemon did not show for what the model
// wants, so that what can't be compared is no change. It reports whether there
// was any.
func reveal(o plan.Observed, m *schema.Model) (any bool) {
	for _, i := range o.Instances {
		s := m.Service(i.Spec.Key.Service)
		for path, value := range i.Spec.Fields {
			if value != api.Hidden {
				continue
			}
			any = true
			delete(i.Spec.Fields, path)
			if s != nil && s.Fields[path] != "" {
				i.Spec.Fields[path] = s.Fields[path]
			}
		}
	}
	return any
}

// emptyHost is what is observed where nothing runs: this machine, and nothing
// said of what works on it.
func (e *env) emptyHost(dir string) plan.Observed {
	host := plan.Host{Name: "localhost"}
	if name, err := os.Hostname(); err == nil {
		host.Name = name
	}
	if dataDir, err := e.dataDirFrom(dir); err == nil {
		host.DataDir = dataDir
	}
	return plan.Observed{Now: time.Now(), Host: host}
}

// loadDir reads a directory as a revision. Faults of its config are printed
// here, all of them, and end the command.
func (e *env) loadDir(ctx context.Context, dir string) (*source.Snapshot, *schema.Model, error) {
	snap, err := e.openDir(dir)
	if err != nil {
		return nil, nil, err
	}
	model, problems, err := e.loader().Load(ctx, snap.Tree)
	if err != nil {
		return nil, nil, fmt.Errorf("load %s: %w", dir, err)
	}
	if err := schema.WriteText(e.stderr, e.fromHere(dir, problems)); err != nil {
		return nil, nil, err
	}
	if model == nil {
		return nil, nil, exitError(exitFailed)
	}
	return snap, model, nil
}

// openDir reads a directory as a revision, without the data of a host in it.
func (e *env) openDir(dir string) (*source.Snapshot, error) {
	dataDir, err := e.dataDirFrom(dir)
	if err != nil {
		return nil, err
	}
	snap, err := source.OpenDir(dir, source.DirOptions{Exclude: []string{dataDir}})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read %s: no such directory", dir)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", dir, err)
	}
	return snap, nil
}

// loader judges configs, and remembers verdicts in the person's cache directory
// where there is one.
func (e *env) loader() *load.Loader {
	cache := e.getenv("XDG_CACHE_HOME")
	if home := e.getenv("HOME"); cache == "" && home != "" {
		cache = filepath.Join(home, ".cache")
	}
	if cache != "" {
		cache = filepath.Join(cache, "ten")
	}
	return load.New(load.Config{Eval: evalChild, CacheDir: cache})
}

// evalChild starts this program again to evaluate a repository's CUE, where it
// can be bounded. main sends it to load.EvalMain.
func evalChild(ctx context.Context) *exec.Cmd {
	self, err := os.Executable()
	if err != nil {
		self = os.Args[0]
	}
	cmd := exec.CommandContext(ctx, self)
	cmd.Args = []string{"ten", "eval"}
	return cmd
}
