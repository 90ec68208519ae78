package namespace_test

import (
	"log/slog"
	"testing"

	"github.com/tenement/ten/runtimes"
	"github.com/tenement/ten/runtimes/launch"
	"github.com/tenement/ten/runtimes/namespace"
	"github.com/tenement/ten/runtimes/runtimetest"
)

func TestContract(t *testing.T) {
	t.Parallel()
	runtimetest.Run(t, runtimes.Namespace, open)
}

func open(t *testing.T, dir string) runtimes.Runtime {
	t.Helper()
	program, err := runtimetest.Init()
	if err != nil {
		t.Fatal(err)
	}
	l, err := launch.New(launch.Config{RunDir: dir, CgroupParent: "ten-test", Init: program, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return namespace.New(l)
}
