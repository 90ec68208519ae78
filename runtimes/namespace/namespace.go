// Package namespace is the isolation level of a walled process on the host's
// own kernel. An instance has its own process, mount, IPC, host name and cgroup
// namespaces: it sees no process but its own, and nobody's environment; the
// host's files are read-only except for its writable mounts; /tmp and /dev/shm
// are its own and empty; the daemon's directories are not there at all; and its
// environment is exactly the Spec's. With network "none" it has a loopback of its
// own and nothing else: no device, no address of the host's, no abstract socket;
// Dial alone reaches it.
//
// As root no user namespace is used. An ordinary user gets one, in which the
// user stays who it is, where the host allows that; Check says so when it
// does not.
package namespace

import (
	"github.com/tenement/ten/runtimes"
	"github.com/tenement/ten/runtimes/launch"
)

// Runtime is the namespace level. All of its methods but Check are the
// launcher's.
type Runtime struct {
	*launch.Level
	l *launch.Launcher
}

// New gives the namespace level over the launcher's run directory.
func New(l *launch.Launcher) *Runtime {
	r := &Runtime{l: l}
	r.Level = l.Level(runtimes.Namespace, r.recipe)
	return r
}
