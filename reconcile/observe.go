package reconcile

import (
	"context"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/tenement/ten/host/api"
	"github.com/tenement/ten/host/probe"
	"github.com/tenement/ten/reconcile/plan"
	"github.com/tenement/ten/reconcile/source"
	"github.com/tenement/ten/runtimes"
	"github.com/tenement/ten/schema"
)

// buildPrefix starts the ids under which builds run. A dot is not allowed in
// the id of an instance, so a build is never taken for one.
const buildPrefix = "build."

// observe asks the machine what runs, and joins what the loop knows of it. With
// service set, it tells of that service alone. d says whose needs the host is
// asked about; it may be nil.
func (l *Loop) observe(ctx context.Context, d *desired, service string) (plan.Observed, error) {
	obs := plan.Observed{
		Now:     time.Now(),
		Host:    plan.Host{Name: l.cfg.Host, DataDir: l.cfg.DataDir, Levels: l.levels(ctx)},
		Unknown: map[runtimes.Level]string{},
		Paused:  map[string]string{},
	}
	found := map[runtimes.Key]bool{}
	for level, rt := range l.cfg.Runtimes {
		if !obs.Host.Levels[level].OK {
			continue
		}
		list, err := rt.List(ctx)
		if ctx.Err() != nil {
			return obs, context.Cause(ctx)
		}
		if err != nil {
			obs.Unknown[level] = err.Error()
			l.log.Warn("level can't be observed", "runtime", level, "err", err)
			continue
		}
		for _, in := range list {
			if service != "" && in.Spec.Key.Service != service {
				continue
			}
			if strings.HasPrefix(in.Spec.Key.Instance, buildPrefix) || l.stopped(in.Spec.Key, obs.Now) {
				continue
			}
			found[in.Spec.Key] = true
			obs.Instances = append(obs.Instances, l.track(in))
		}
	}
	slices.SortFunc(obs.Instances, func(a, b plan.Instance) int {
		if c := a.Spec.Key.Compare(b.Spec.Key.ID); c != 0 {
			return c
		}
		return int(int64(a.Spec.Key.Generation) - int64(b.Spec.Key.Generation))
	})
	l.observeRest(d, service, &obs)
	if len(obs.Unknown) == 0 {
		l.forget(found, service, obs.Now)
	}
	if err := l.observeMarks(ctx, d, &obs); err != nil {
		return obs, err
	}
	if d != nil {
		ask := Asks(d.Model, service)
		l.observeHost(ask, d, &obs)
	}
	return obs, nil
}

// observeMarks adds what people and earlier rollouts said.
func (l *Loop) observeMarks(ctx context.Context, d *desired, obs *plan.Observed) error {
	pauses, err := l.cfg.Store.Pauses(ctx, obs.Now)
	if err != nil {
		return err
	}
	for _, p := range pauses {
		obs.Paused[p.Service] = p.Reason
	}
	obs.Hands = l.observeHands()
	if d != nil {
		if obs.Approved, err = l.cfg.Store.Approved(ctx, d.Revision); err != nil {
			return err
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.good != nil {
		obs.Applied, obs.AppliedFields = l.good.Revision, l.good.Model.Fields
	}
	if d != nil && d == l.force { // another revision, or another try, begins afresh
		for service, why := range l.failed {
			obs.Paused[service] = why
		}
	}
	return nil
}

// levels asks every isolation level whether it works here. Levels without a
// runtime in this build say so.
func (l *Loop) levels(ctx context.Context) map[runtimes.Level]plan.Support {
	all := []runtimes.Level{runtimes.Process, runtimes.Namespace, runtimes.Sandbox, runtimes.Wasm, runtimes.VM}
	levels := make(map[runtimes.Level]plan.Support, len(all))
	for _, level := range all {
		rt, ok := l.cfg.Runtimes[level]
		if !ok {
			levels[level] = plan.Support{Reason: "not supported by this build of ten", Hint: `set isolation = "namespace" or "process"`}
			continue
		}
		levels[level] = support(rt, rt.Check(ctx))
	}
	return levels
}

func support(rt runtimes.Runtime, err error) plan.Support {
	if err == nil {
		return unfreezable(rt)
	}
	s := plan.Support{Reason: err.Error()}
	if u, ok := asUnsupported(err); ok {
		s.Reason, s.Hint = u.Reason, u.Hint
	}
	return s
}

// unfreezable is the support of a level that works, and may be able to freeze.
func unfreezable(rt runtimes.Runtime) plan.Support {
	s, ok := rt.(runtimes.Suspender)
	if !ok {
		return plan.Support{OK: true, Unfreezable: "it has no way to"}
	}
	err := s.Suspends()
	if err == nil {
		return plan.Support{OK: true}
	}
	if u, ok := asUnsupported(err); ok {
		return plan.Support{OK: true, Unfreezable: u.Reason, Hint: u.Hint}
	}
	return plan.Support{OK: true, Unfreezable: err.Error()}
}

// Asks lists what a model asks of the host: commands to be found, ports to be
// free; of one service, or of all when service is "". Who plans away from the
// loop must ask the same, or the two plans differ.
func Asks(m *schema.Model, service string) api.Ask {
	var ask api.Ask
	for _, s := range m.Services {
		if service != "" && s.Name != service {
			continue
		}
		if s.Port != 0 {
			ask.Ports = append(ask.Ports, s.Port)
		}
		argv := plan.Argv(s)
		if len(argv) == 0 || s.Build != "" && !filepath.IsAbs(argv[0]) || strings.Contains(argv[0], "{") {
			continue
		}
		ask.Commands = append(ask.Commands, api.CommandAsk{Service: s.Name, Level: runtimes.Level(s.Isolation), Command: argv[0], Path: s.Env["PATH"]})
	}
	return ask
}

// observeHost answers what a model asks of the host.
func (l *Loop) observeHost(ask api.Ask, d *desired, obs *plan.Observed) {
	obs.Host.Commands = map[string]string{}
	if d != nil && d.Tree != nil { // else the question is left to the start
		obs.Host.Commands = MissingInSource(d.Model, d.Tree, ask)
	}
	obs.Host.Ports = map[int]plan.Holder{}
	seen := map[string]string{}
	for _, c := range ask.Commands {
		if inSource(c) {
			continue
		}
		key := string(c.Level) + "\x00" + c.Path + "\x00" + c.Command
		why, ok := seen[key]
		if !ok {
			why = missingCommand(c)
			seen[key] = why
		}
		if why != "" {
			obs.Host.Commands[c.Service] = why
		}
	}
	ours := map[int]plan.Holder{}
	for _, in := range obs.Instances {
		if in.Phase.Alive() {
			ours[in.Spec.Port] = plan.Holder{Pid: in.Pid, Command: strings.Join(in.Spec.Command, " "), Instance: in.Spec.Key.ID}
		}
	}
	for _, port := range ask.Ports {
		if h, ok := ours[port]; ok { // the machine is asked only about others: that takes a look at every process
			obs.Host.Ports[port] = h
		} else if pid, command, taken := probe.Holder(port); taken {
			obs.Host.Ports[port] = plan.Holder{Pid: pid, Command: command}
		}
	}
}

// missingCommand says why a command is not found in its PATH, or "".
func missingCommand(c api.CommandAsk) string {
	if filepath.IsAbs(c.Command) {
		return notExecutable(c.Command)
	}
	search := c.Path
	if search == "" {
		search = plan.DefaultPath
		if c.Level == runtimes.Process {
			search = os.Getenv("PATH")
		}
	}
	for _, dir := range filepath.SplitList(search) {
		if filepath.IsAbs(dir) && notExecutable(filepath.Join(dir, c.Command)) == "" {
			return ""
		}
	}
	return fmt.Sprintf("%s: not found in PATH %s", c.Command, search)
}

func notExecutable(file string) string {
	info, err := os.Stat(file)
	switch {
	case err != nil:
		return fmt.Sprintf("%s: %v", file, errnoText(err))
	case info.IsDir():
		return file + ": is a directory"
	case info.Mode()&0o111 == 0:
		return file + ": is not executable"
	}
	return ""
}

// inSource reports whether a command is a file of the service's source.
func inSource(c api.CommandAsk) bool {
	return strings.Contains(c.Command, "/") && !filepath.IsAbs(c.Command)
}

// MissingInSource says, by service, why a command that lies in the source can't
// be run from it. The tree, not the host, knows, so Observe alone can't tell.
func MissingInSource(m *schema.Model, tree source.Tree, ask api.Ask) map[string]string {
	missing := map[string]string{}
	for _, c := range ask.Commands {
		s := m.Service(c.Service)
		if !inSource(c) || s == nil || filepath.IsAbs(s.Workdir) || strings.Contains(s.Workdir, "{") {
			continue
		}
		within := path.Join(s.Workdir, c.Command)
		file := path.Join(s.Source, within)
		info, err := tree.Stat(file)
		switch {
		case strings.HasPrefix(within, "../"):
			missing[c.Service] = fmt.Sprintf("%s: is not part of the source of %s, which is %q", c.Command, s.Name, s.Source)
		case err != nil:
			missing[c.Service] = fmt.Sprintf("%s: no such file in the repository", file)
		case info.IsDir():
			missing[c.Service] = file + ": is a directory"
		case info.Mode().IsRegular() && info.Mode()&0o111 == 0:
			missing[c.Service] = fmt.Sprintf("%s: is not executable (git update-index --chmod=+x %s)", file, file)
		}
	}
	return missing
}
