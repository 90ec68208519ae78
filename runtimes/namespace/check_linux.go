package namespace

import (
	"context"

	"golang.org/x/sys/unix"

	"github.com/tenement/ten/runtimes"
)

// Check reports why the level does not work here.
func (r *Runtime) Check(context.Context) error { return r.l.Ready(runtimes.Namespace) }

// privileged reports whether this process may make namespaces and mounts
// without a user namespace of its own.
func privileged() bool {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if unix.Capget(&hdr, &data[0]) != nil {
		return false
	}
	return data[0].Effective&(1<<unix.CAP_SYS_ADMIN) != 0
}
