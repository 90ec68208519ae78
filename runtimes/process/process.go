// Package process is the isolation level without a wall: an instance runs with
// the daemon's user, environment, files and network. What it starts is still
// its own: stopping it ends all of it, and nothing outlives it.
package process

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"

	"github.com/tenement/ten/runtimes"
	"github.com/tenement/ten/runtimes/launch"
	"github.com/tenement/ten/runtimes/launch/wire"
)

// Runtime is the process level. All of its methods but Check are the
// launcher's.
type Runtime struct {
	*launch.Level
	l *launch.Launcher
}

// New gives the process level over the launcher's run directory.
func New(l *launch.Launcher) *Runtime {
	return &Runtime{Level: l.Level(runtimes.Process, recipe), l: l}
}

// Check reports why the level does not work here; any Linux will do.
func (r *Runtime) Check(context.Context) error { return r.l.Ready(runtimes.Process) }

func recipe(spec *runtimes.Spec) (launch.Recipe, error) {
	if spec.Network != "" && spec.Network != runtimes.NetworkHost {
		return launch.Recipe{}, &runtimes.StartError{Key: spec.Key, Step: "network", Object: spec.Network, Err: errors.New("a process without walls has the host's network"),
			Hint: `use isolation = "namespace", or network = "host"`}
	}
	return launch.Recipe{Plan: wire.Plan{Env: merge(launch.WithoutDaemon(os.Environ()), spec.Env)}, Track: true}, nil
}

// merge gives the base environment with the entries of over in the place of
// those of the same name, sorted.
func merge(base, over []string) []string {
	byName := make(map[string]string, len(base)+len(over))
	for _, kv := range slices.Concat(base, over) {
		name, _, _ := strings.Cut(kv, "=")
		byName[name] = kv
	}
	env := make([]string, 0, len(byName))
	for _, kv := range byName {
		env = append(env, kv)
	}
	slices.Sort(env)
	return env
}
