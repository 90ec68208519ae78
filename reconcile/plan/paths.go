package plan

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/tenement/ten/runtimes"
	"github.com/tenement/ten/schema"
)

// InstanceDir is the managed data directory of an instance. It belongs to the
// ID, not to an incarnation, and a reconcile never deletes it.
func InstanceDir(h Host, id runtimes.ID) string {
	return path.Join(h.DataDir, id.Service, id.Instance)
}

// SourceDir is where the tree of a service's source lies, read-only and shared
// by all that have the same tree.
func SourceDir(h Host, s *schema.Service) string {
	return path.Join(h.DataDir, ".ten", "sources", sourceTree(s))
}

// BuildDir is where the result of the service's build lies, read-only and
// shared; "" when the service builds nothing.
func BuildDir(h Host, s *schema.Service) string {
	if s.Build == "" {
		return ""
	}
	return path.Join(h.DataDir, ".ten", "builds", BuildKey(s))
}

// BuildKey names a build by everything that it can see: the command, the source
// tree, in whose root it runs, the level it runs at and its environment.
// Two services with an equal key share one build; "" = nothing to build.
func BuildKey(s *schema.Service) string {
	if s.Build == "" {
		return ""
	}
	h := sha256.New()
	part := func(v string) { fmt.Fprintf(h, "%d:%s,", len(v), v) }
	part("build-v1")
	part(s.Build)
	part(sourceTree(s))
	part(string(s.Isolation))
	for _, entry := range buildEnv(s) {
		part(entry)
	}
	return hex.EncodeToString(h.Sum(nil)[:20])
}

// codeDir is where the program's files are: the build if there is one.
func codeDir(h Host, s *schema.Service) string {
	if s.Build != "" {
		return BuildDir(h, s)
	}
	return SourceDir(h, s)
}

// buildEnv is the part of the environment that a build sees: what is the same
// for every instance. Sorted.
func buildEnv(s *schema.Service) []string {
	var env []string
	for name, value := range s.Env {
		if !perInstance(value) {
			env = append(env, name+"="+value)
		}
	}
	slices.SortFunc(env, compareEnv)
	return env
}

func perInstance(value string) bool {
	return slices.ContainsFunc([]string{"{name}", "{id}", "{port}", "{socket}", "{data_dir}", "{instance_dir}"},
		func(v string) bool { return strings.Contains(value, v) })
}

// sourceTree is the id of the service's source tree, "none" where the model
// has none.
func sourceTree(s *schema.Service) string {
	v := s.Fields["source.tree"]
	if tree, err := strconv.Unquote(v); err == nil {
		v = tree
	}
	if v == "" || strings.ContainsAny(v, "/.") {
		return "none"
	}
	return v
}
