package namespace_test

import (
	"log/slog"
	"os"
	"testing"

	"github.com/tenement/ten/runtimes"
	"github.com/tenement/ten/runtimes/launch"
	"github.com/tenement/ten/runtimes/namespace"
	"github.com/tenement/ten/runtimes/runtimetest"
)

func TestMain(m *testing.M) { os.Exit(runtimetest.Main(m, open)) }

func TestContract(t *testing.T) {
	t.Parallel()
	runtimetest.Run(t, runtimes.Namespace, open)
}

func TestMachine(t *testing.T) {
	t.Parallel()
	runtimetest.Machine(t, runtimes.Namespace, open)
}

// Everything holds for an ordinary user too.
func TestUnprivileged(t *testing.T) {
	t.Parallel()
	runtimetest.Unprivileged(t, "TestContract", "TestMachine", "TestWalls", "TestOwnership", "TestMountsNest")
}

func open(dir string) (runtimes.Runtime, func() error, error) {
	program, err := runtimetest.Init()
	if err != nil {
		return nil, nil, err
	}
	l, err := launch.New(launch.Config{
		RunDir:       dir,
		CgroupParent: runtimetest.CgroupParent(dir),
		Init:         program,
		Log:          slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return nil, nil, err
	}
	return namespace.New(l), l.Close, nil
}
