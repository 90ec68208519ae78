package main

import (
	"fmt"
	"hash/fnv"
	"log/slog"
	"path/filepath"

	"github.com/tenement/ten/runtimes"
	"github.com/tenement/ten/runtimes/launch"
	"github.com/tenement/ten/runtimes/namespace"
	"github.com/tenement/ten/runtimes/process"
)

// stateDir is what of a data directory is ten's own; no service's name begins
// with a dot, so none can collide with it.
const stateDir = ".ten"

// openLevels gives every isolation level of this build over a data directory.
// The closer frees what starting instances needs, and stops none of them.
func openLevels(dataDir string, log *slog.Logger) (map[runtimes.Level]runtimes.Runtime, func() error, error) {
	l, err := launch.New(launch.Config{
		RunDir:       filepath.Join(dataDir, stateDir, "run"),
		Hide:         []string{dataDir},
		CgroupParent: cgroupParent(dataDir),
		NotifyDir:    notifyDir(dataDir),
		Log:          log,
	})
	if err != nil {
		return nil, nil, err
	}
	return map[runtimes.Level]runtimes.Runtime{
		runtimes.Process:   process.New(l),
		runtimes.Namespace: namespace.New(l),
	}, l.Close, nil
}

// cgroupParent names the one cgroup beneath which all of a data directory's are.
func cgroupParent(dataDir string) string {
	h := fnv.New64a()
	_, _ = h.Write([]byte(dataDir))
	return fmt.Sprintf("ten-%016x", h.Sum64())
}
