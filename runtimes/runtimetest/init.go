package runtimetest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
)

// Init builds ten-init from source, once per test process, so that tests never
// run a stale one. The caller's working directory must be inside the module.
var Init = sync.OnceValues(buildInit)

func buildInit() ([]byte, error) {
	dir, err := os.MkdirTemp("", "ten-init-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	out := filepath.Join(dir, "ten-init")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w -buildid= -E main.entry", "-o", out, "github.com/tenement/ten/cmd/ten-init")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if msg, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build ten-init: %w\n%s", err, msg)
	}
	return os.ReadFile(out)
}
