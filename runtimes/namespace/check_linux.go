package namespace

import (
	"context"
	"errors"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/tenement/ten/runtimes"
	"github.com/tenement/ten/runtimes/launch"
	"github.com/tenement/ten/runtimes/launch/wire"
)

// Check builds the walls around nothing, and where the host refuses says which
// of its settings is the reason. It takes a millisecond.
func (r *Runtime) Check(ctx context.Context) error {
	places, err := placesOf(&runtimes.Spec{}, present(scratch), r.l.Hidden(), r.l.Shown())
	if err != nil {
		return err
	}
	recipe := launch.Recipe{Namespaces: namespaces, Plan: wire.Plan{Walls: true, Places: places, Hostname: "check"}}
	err = r.Try(ctx, withUser(recipe))
	var failed *runtimes.StartError
	if errors.As(err, &failed) && ctx.Err() == nil {
		return explain(failed, readSettings())
	}
	return err
}

// settings are what a host can forbid user namespaces with.
type settings struct {
	privileged bool
	maxUser    string // user.max_user_namespaces
	userClone  string // kernel.unprivileged_userns_clone, of Debian kernels
	appArmor   string // kernel.apparmor_restrict_unprivileged_userns
}

func readSettings() settings {
	read := func(file string) string {
		b, _ := os.ReadFile("/proc/sys/" + file)
		return strings.TrimSpace(string(b))
	}
	return settings{
		privileged: privileged(),
		maxUser:    read("user/max_user_namespaces"),
		userClone:  read("kernel/unprivileged_userns_clone"),
		appArmor:   read("kernel/apparmor_restrict_unprivileged_userns"),
	}
}

// explain turns the step at which the walls could not be built into the reason
// and what to do.
func explain(e *runtimes.StartError, s settings) *runtimes.UnsupportedError {
	say := func(reason, hint string) *runtimes.UnsupportedError {
		return &runtimes.UnsupportedError{Level: runtimes.Namespace, Reason: reason, Hint: hint}
	}
	denied := errors.Is(e.Err, unix.EPERM) || errors.Is(e.Err, unix.EACCES)
	switch {
	case errors.Is(e.Err, unix.ENOSYS):
		return say("the kernel is too old", "run Linux 5.12 or newer")
	case !s.privileged && s.maxUser == "0":
		return say("user namespaces are switched off (user.max_user_namespaces = 0)",
			"run ten as root, or: sysctl -w user.max_user_namespaces=15000")
	case errors.Is(e.Err, unix.ENOSPC):
		return say("there are as many namespaces as the host allows (user.max_*_namespaces)",
			"end what made them, or raise the limit: sysctl -w user.max_user_namespaces=100000")
	case !s.privileged && s.userClone == "0":
		return say("only root may make user namespaces (kernel.unprivileged_userns_clone = 0)",
			"run ten as root, or: sysctl -w kernel.unprivileged_userns_clone=1")
	case !s.privileged && denied && s.appArmor == "1":
		return say("AppArmor takes the rights out of an ordinary user's namespaces (kernel.apparmor_restrict_unprivileged_userns = 1)",
			"run ten as root, or give ten an AppArmor profile with the rule userns, or: sysctl -w kernel.apparmor_restrict_unprivileged_userns=0")
	case e.Step == "proc" && denied:
		return say("a /proc of its own is refused, as in a container that hides parts of /proc",
			"run ten on the host, or the container with an unmasked /proc (docker: --security-opt systempaths=unconfined)")
	case denied:
		return say("making namespaces or mounts is refused ("+e.Step+" "+e.Object+": "+e.Err.Error()+"), as in a container",
			"run ten as root on the host, or the container privileged")
	}
	return say(e.Step+" "+e.Object+": "+e.Err.Error(), "")
}

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
