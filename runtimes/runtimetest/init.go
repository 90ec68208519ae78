package runtimetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/tenement/ten/runtimes"
)

// What a test binary that starts itself is told through its environment.
const (
	envInit   = "RUNTIMETEST_INIT"   // a built ten-init
	envDaemon = "RUNTIMETEST_DAEMON" // be a daemon over this directory
	envSpecs  = "RUNTIMETEST_SPECS"  // and start these, as JSON
	envChurn  = "RUNTIMETEST_CHURN"  // again and again
	envUser   = "RUNTIMETEST_USER"   // run as an ordinary user
)

// Main is for TestMain: it runs the tests, or the daemon that a test of the
// suite wants to kill.
func Main(m *testing.M, open Open) int {
	dir := os.Getenv(envDaemon)
	if dir == "" {
		return m.Run()
	}
	if err := daemon(dir, open); err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

// daemon starts what it is told to, says so, and waits to be killed.
func daemon(dir string, open Open) error {
	r, _, err := open(dir)
	if err != nil {
		return err
	}
	var specs []runtimes.Spec
	if err := json.Unmarshal([]byte(os.Getenv(envSpecs)), &specs); err != nil {
		return err
	}
	ctx := context.Background()
	for round := 1; ; round++ {
		for _, spec := range specs {
			in, err := r.Start(ctx, spec)
			if err != nil {
				return explain(err)
			}
			fmt.Println("started", in.Pid)
		}
		if os.Getenv(envChurn) == "" {
			select {}
		}
		for i := range specs {
			if err := r.Stop(ctx, specs[i].Key); err != nil {
				return err
			}
			specs[i].Key.Generation++
		}
	}
}

// CgroupParent gives every state directory a parent group of its own.
func CgroupParent(dir string) string {
	h := fnv.New64a()
	h.Write([]byte(dir))
	return fmt.Sprintf("ten-test-%016x", h.Sum64())
}

// Init builds ten-init from source, once per test process, so that tests never
// run a stale one. The working directory must be inside the module.
var Init = sync.OnceValues(buildInit)

func buildInit() ([]byte, error) {
	if path := os.Getenv(envInit); path != "" {
		return os.ReadFile(path)
	}
	dir, err := os.MkdirTemp("", "ten-init-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	out := filepath.Join(dir, "ten-init")
	err = goBuild(out, "-trimpath", "-ldflags", "-s -w -buildid= -E main.entry", "github.com/tenement/ten/cmd/ten-init")
	if err != nil {
		return nil, err
	}
	return os.ReadFile(out)
}

var errNoGo = errors.New("no Go toolchain")

// goBuild compiles something, statically.
func goBuild(out string, args ...string) error {
	if _, err := exec.LookPath("go"); err != nil {
		return errNoGo
	}
	cmd := exec.Command("go", append([]string{"build", "-o", out}, args...)...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if msg, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, msg)
	}
	return nil
}
