package launch

import (
	"context"
	"os"

	"golang.org/x/sys/unix"

	"github.com/tenement/ten/runtimes"
	"github.com/tenement/ten/runtimes/launch/wire"
)

// Try builds the walls of a recipe, runs nothing inside and leaves nothing
// behind. It is how a level finds out whether the host lets it: a
// *runtimes.StartError says at which step it does not. It takes about as long
// as a start.
func (v *Level) Try(ctx context.Context, recipe Recipe) error {
	if err := v.l.Ready(v.name); err != nil {
		return err
	}
	spec := &runtimes.Spec{Command: []string{"nothing"}}
	recipe.Plan.Trial, recipe.Plan.Argv, recipe.Plan.Dir = true, spec.Command, "/"
	if err := v.l.try(ctx, &recipe); err != nil {
		return startError(spec, &recipe.Plan, err)
	}
	return nil
}

func (l *Launcher) try(ctx context.Context, recipe *Recipe) error {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return &fault{"socket", "init", err}
	}
	unix.SetNonblock(pair[0], true)
	conn := os.NewFile(uintptr(pair[0]), "init")
	defer conn.Close()
	null := int(l.null.Fd())
	_, pidfd, err := l.clone(recipe, nil, null, null, null, pair[1])
	unix.Close(pair[1])
	if err != nil {
		return err
	}
	defer unix.Close(pidfd)
	defer endInit(pidfd)
	_, err = conn.Write(wire.AppendPlan(nil, &recipe.Plan))
	return outcome(ctx, conn, err)
}
