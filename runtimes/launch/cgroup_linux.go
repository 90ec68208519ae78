package launch

import (
	"os"
	"syscall"

	"github.com/tenement/ten/runtimes"
)

type group struct{ oom *os.File }

func (g *group) countsOOM() bool { return g != nil && g.oom != nil }

func (g *group) Close()                      {}
func (g *group) join(attr *syscall.ProcAttr) {}
func (g *group) adopt(pid int) error         { return nil }

func (l *Launcher) makeCgroup(level runtimes.Level, spec *runtimes.Spec, track bool) (*group, error) {
	if spec.Limits != (runtimes.Limits{}) {
		return nil, &fault{"limits", "cgroup", &runtimes.UnsupportedError{Level: level, Reason: "limits are not supported by this build"}}
	}
	return nil, nil
}
func (l *Launcher) dropCgroup(level runtimes.Level, key runtimes.Key) error { return nil }
func (l *Launcher) killCgroup(level runtimes.Level, key runtimes.Key) error { return nil }
func (l *Launcher) oomKilled(level runtimes.Level, key runtimes.Key) bool   { return false }
