//go:build !linux

package namespace

import (
	"context"

	"github.com/tenement/ten/runtimes"
	"github.com/tenement/ten/runtimes/launch"
)

// Check says that the level needs Linux.
func (r *Runtime) Check(context.Context) error { return r.l.Ready(runtimes.Namespace) }

func (r *Runtime) recipe(spec *runtimes.Spec) (launch.Recipe, error) {
	return launch.Recipe{}, r.l.Ready(spec.Level)
}
