package reconcile

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/google/renameio/v2"

	"github.com/tenement/ten/reconcile/plan"
	"github.com/tenement/ten/reconcile/source"
	"github.com/tenement/ten/runtimes"
	"github.com/tenement/ten/schema"
)

// provide makes what an incarnation stands on: its source, its build, its data
// directory. All are made once and shared by the instances of a service, except
// the last.
func (l *Loop) provide(ctx context.Context, d *desired, s *schema.Service, spec *runtimes.Spec) error {
	host := plan.Host{DataDir: l.cfg.DataDir}
	dir := plan.SourceDir(host, s)
	if s.Build != "" {
		dir = plan.BuildDir(host, s)
	}
	leave, err := l.alone(ctx, dir)
	if err != nil {
		return err
	}
	defer leave()
	if s.Build != "" {
		err = l.build(ctx, d, s, dir)
	} else {
		err = l.export(ctx, d, s, dir)
	}
	if err != nil {
		return err
	}
	data := plan.InstanceDir(host, spec.Key.ID)
	if err := os.MkdirAll(filepath.Dir(data), 0o755); err != nil {
		return err
	}
	return os.MkdirAll(data, 0o700)
}

// alone waits until nobody else makes or removes what is at a path.
func (l *Loop) alone(ctx context.Context, dir string) (leave func(), err error) {
	for {
		l.mu.Lock()
		other := l.making[dir]
		if other == nil {
			mine := make(chan struct{})
			l.making[dir] = mine
			l.mu.Unlock()
			return func() {
				l.mu.Lock()
				delete(l.making, dir)
				l.mu.Unlock()
				close(mine)
			}, nil
		}
		l.mu.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// export writes a service's source tree to dir, config files of ten left out.
func (l *Loop) export(ctx context.Context, d *desired, s *schema.Service, dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	tree := d.Tree
	if tree == nil {
		snap, err := l.cfg.Source.At(ctx, d.Revision)
		if err != nil {
			return fmt.Errorf("source of %s at %s: %w", s.Name, short(d.Revision), err)
		}
		tree = snap.Tree
	}
	config := map[string]bool{}
	for _, f := range d.Model.ConfigFiles {
		config[f] = true
	}
	if err := l.mkdir(filepath.Dir(dir)); err != nil {
		return err
	}
	return source.Export(ctx, tree, s.Source, dir, func(p string) bool { return config[path.Join(s.Source, p)] || config[p] })
}

// build runs a service's build command in a copy of its source, in the walls of
// the service's own level. The result is used only once it is complete: a mark
// beside it says so.
func (l *Loop) build(ctx context.Context, d *desired, s *schema.Service, dir string) error {
	done := dir + doneMark
	if _, err := os.Stat(done); err == nil {
		if _, err := os.Stat(dir); err == nil {
			return nil
		}
	}
	for _, path := range []string{done, dir} { // in this order: a mark alone would be a lie
		if err := os.RemoveAll(path); err != nil {
			return err
		}
	}
	if err := l.export(ctx, d, s, dir); err != nil {
		return err
	}
	id := runtimes.ID{Service: s.Name, Instance: buildPrefix + filepath.Base(dir)[:12]}
	began := time.Now()
	l.tell(progress{Instance: id.String(), Text: fmt.Sprintf("%s: building: %s", s.Name, s.Build)})
	exit, err := l.runBuild(ctx, d, s, id, dir)
	if err == nil && (!exit.Known || exit.Code != 0) {
		err = fmt.Errorf("build %q %s", s.Build, exit)
	}
	if err != nil {
		return &actionError{id: runtimes.ID{Service: s.Name, Instance: "build"}, op: "build", err: err, logs: l.tail(id)}
	}
	l.log.Info("build done", "service", s.Name, "dur", time.Since(began))
	return os.WriteFile(done, []byte(began.UTC().Format(time.RFC3339)+"\n"), 0o644)
}

// runBuild runs the build as an instance of its own, to its end.
func (l *Loop) runBuild(ctx context.Context, d *desired, s *schema.Service, id runtimes.ID, dir string) (runtimes.Exit, error) {
	rt, ok := l.cfg.Runtimes[runtimes.Level(s.Isolation)]
	if !ok {
		return runtimes.Exit{}, &runtimes.UnsupportedError{Level: runtimes.Level(s.Isolation), Reason: "not supported by this build of ten"}
	}
	generation, err := l.cfg.Store.NextGeneration(ctx)
	if err != nil {
		return runtimes.Exit{}, err
	}
	spec := plan.BuildSpec(s, id, dir)
	spec.Key.Generation, spec.Revision = generation, d.Revision
	if _, err := rt.Start(l.runCtx, spec); err != nil {
		return runtimes.Exit{}, err
	}
	defer func() {
		if err := rt.Stop(context.WithoutCancel(ctx), spec.Key); err != nil {
			l.log.Warn("build can't be cleaned up", "service", s.Name, "err", err)
		}
	}()
	if o, ok := rt.(runtimes.Outputter); ok {
		l.attach(l.runCtx, o, spec.Key)
	}
	exit, err := rt.Wait(ctx, spec.Key)
	if err == nil {
		drain, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		_ = l.cfg.Output.Drained(drain, spec.Key)
	}
	return exit, err
}

// bind completes a spec with a generation, a free port and a socket path. What is
// handed its socket on a port that was asked for by number gets no other.
func (l *Loop) bind(ctx context.Context, s *schema.Service, spec *runtimes.Spec) (runtimes.Spec, error) {
	generation, err := l.cfg.Store.NextGeneration(ctx)
	if err != nil {
		return runtimes.Spec{}, err
	}
	port := s.Port
	if port == 0 {
		if port, err = l.ports.pick(l.cfg.FreePort); err != nil {
			return runtimes.Spec{}, err
		}
	}
	socket := s.Socket
	if socket == "" && !(s.ListenFDs && s.Port != 0) {
		dir := l.socketDir(generation)
		if err := l.makeSocketDir(dir); err != nil {
			return runtimes.Spec{}, fmt.Errorf("socket directory: %w", err)
		}
		socket = filepath.Join(dir, "s")
	}
	return plan.Bind(*spec, generation, port, socket), nil
}

// socketDir holds one incarnation's socket. A unix socket's path has room for
// 107 bytes only; a data directory too deep for that gets a short way round.
func (l *Loop) socketDir(generation uint64) string {
	g := strconv.FormatUint(generation, 10)
	dir := l.path(".ten", "sock", g)
	if len(dir) < 100 {
		return dir
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(l.cfg.DataDir))
	return filepath.Join(os.TempDir(), fmt.Sprintf("ten-%d-%x", os.Getuid(), h.Sum64()), g)
}

// makeSocketDir makes the directory of a socket, while the last one beside it may go.
func (l *Loop) makeSocketDir(dir string) error {
	l.sockets.Lock()
	defer l.sockets.Unlock()
	return os.MkdirAll(dir, 0o755)
}

// dropSocket removes what bind made for an incarnation.
func (l *Loop) dropSocket(generation uint64, socket string) {
	dir := l.socketDir(generation)
	if filepath.Dir(socket) == dir {
		l.sockets.Lock()
		defer l.sockets.Unlock()
		_ = os.RemoveAll(dir)
		_ = os.Remove(filepath.Dir(dir)) // the last one out; fails while others are in it
	}
}

// dropStorage empties the data directory of an instance whose service says that
// it keeps nothing, once no incarnation of it is left. Of a service that is gone,
// fields is what its last incarnation recorded.
func (l *Loop) dropStorage(d *desired, id runtimes.ID, fields map[string]string) error {
	keep := fields["storage_persist"] != "false"
	if s := d.Model.Service(id.Service); s != nil {
		keep = s.StoragePersist
	}
	l.mu.Lock()
	there := len(l.byID[id])
	l.mu.Unlock()
	if keep || there > 0 {
		return nil
	}
	return os.RemoveAll(plan.InstanceDir(plan.Host{DataDir: l.cfg.DataDir}, id))
}

// applied is the file that keeps the model in force across restarts.
func (l *Loop) appliedFile() string { return l.path(".ten", "applied.json") }

// commit makes d what a restarted daemon begins with.
func (l *Loop) commit(ctx context.Context, d *desired) error {
	b, err := json.Marshal(d)
	if err != nil {
		return fmt.Errorf("keep the model: %w", err)
	}
	if err := renameio.WriteFile(l.appliedFile(), b, 0o600); err != nil {
		return fmt.Errorf("keep the model: %w", err)
	}
	if d.Manual || d.Anchor == "" {
		return nil
	}
	return l.cfg.Store.SetAnchor(ctx, d.Anchor)
}

// readApplied reads what commit wrote, or nil when nothing was applied yet.
func (l *Loop) readApplied() (*desired, error) {
	b, err := os.ReadFile(l.appliedFile())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("model in force: %w", err)
	}
	d := new(desired)
	if err := json.Unmarshal(b, d); err != nil || d.Model == nil {
		return nil, fmt.Errorf("model in force: %s is damaged (%v); remove it, and the next revision is compared with what runs", l.appliedFile(), err)
	}
	return d, nil
}

// doneMark beside a build's directory says that it is complete.
const doneMark = ".done"

// sweep removes sources and builds that neither the revision in force nor any
// incarnation stands on. The next rollout ends it: that one may need them again.
func (l *Loop) sweep(ctx context.Context) {
	used, rollout := l.inUse()
	for _, kind := range []string{"sources", "builds"} {
		entries, err := os.ReadDir(l.path(".ten", kind))
		if err != nil {
			continue
		}
		for _, e := range entries {
			dir := l.path(".ten", kind, strings.TrimSuffix(e.Name(), doneMark))
			if used[dir] || strings.HasPrefix(e.Name(), ".") {
				continue
			}
			if err := l.unmake(ctx, dir, rollout); errors.Is(err, errPreempted) || ctx.Err() != nil {
				return
			} else if err != nil {
				l.log.Warn("unused source can't be removed", "err", err)
			}
		}
	}
}

// unmake removes one directory of shared files, unless another rollout has begun
// since the given one. Whoever needs it after that makes it anew.
func (l *Loop) unmake(ctx context.Context, dir string, rollout uint64) error {
	leave, err := l.alone(ctx, dir)
	if err != nil {
		return err
	}
	defer leave()
	l.mu.Lock()
	late := l.begun != rollout
	l.mu.Unlock()
	if late {
		return errPreempted
	}
	if err := os.RemoveAll(dir + doneMark); err != nil {
		return err
	}
	return os.RemoveAll(dir)
}

// inUse gives the directories that revisions and incarnations stand on, and the
// number of the last rollout that began.
func (l *Loop) inUse() (used map[string]bool, rollout uint64) {
	host := plan.Host{DataDir: l.cfg.DataDir}
	used = map[string]bool{}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, d := range []*desired{l.force, l.good, l.pending, l.waiting, l.current} {
		if d == nil {
			continue
		}
		for _, s := range d.Model.Services {
			used[plan.SourceDir(host, s)], used[plan.BuildDir(host, s)] = true, true
		}
	}
	for _, t := range l.world {
		for _, m := range t.spec.Mounts {
			used[m.Path] = true
		}
		used[t.spec.Dir] = true
	}
	return used, l.begun
}

// prune forgets the past of instances that are no more.
func (l *Loop) prune() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id := range l.past {
		if len(l.byID[id]) == 0 && (l.force == nil || l.force.Model.Service(id.Service) == nil) {
			delete(l.past, id)
		}
	}
}
