package plan

import (
	"strings"
	"time"

	"github.com/tenement/ten/runtimes"
	"github.com/tenement/ten/schema"
)

// DefaultPath is the PATH of every instance behind a wall that sets none itself.
const DefaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// Argv is a service's command in words, variables not expanded; empty when the
// line can't be split.
func Argv(s *schema.Service) []string {
	return command(s, func(word string) string { return word })
}

// BuildSpec is what runs a service's build command once, in dir, which is a
// writable copy of its source. It runs at the service's own level and sees what
// BuildKey is made of and nothing else; home is the private /tmp. The service's
// memory limit is for the program, and does not bound the compiler.
func BuildSpec(s *schema.Service, id runtimes.ID, dir string) runtimes.Spec {
	spec := runtimes.Spec{
		Key:         runtimes.Key{ID: id},
		Level:       runtimes.Level(s.Isolation),
		Digest:      BuildKey(s),
		Command:     []string{"/bin/sh", "-c", s.Build},
		Env:         buildEnv(s),
		Dir:         dir,
		Mounts:      []runtimes.Mount{{Path: dir, Writable: true}},
		Limits:      runtimes.Limits{CPUShares: s.CPUShares},
		StopSignal:  "SIGTERM",
		StopTimeout: 5 * time.Second,
	}
	if spec.Level == runtimes.Process {
		return spec
	}
	clean := []string{"HOME=/tmp", "LANG=C.UTF-8", "PATH=" + DefaultPath, "TMPDIR=/tmp"}
	for _, entry := range spec.Env {
		name, value, _ := strings.Cut(entry, "=")
		clean = setenv(clean, name, value)
	}
	spec.Env = clean
	return spec
}
