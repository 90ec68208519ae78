package namespace

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/tenement/ten/runtimes"
	"github.com/tenement/ten/runtimes/launch"
	"github.com/tenement/ten/runtimes/launch/wire"
)

const namespaces = unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWCGROUP

// scratch are the directories every instance has for itself.
var scratch = []string{"/tmp", "/dev/shm"}

// recipe draws the walls around one spec.
func (r *Runtime) recipe(spec *runtimes.Spec) (launch.Recipe, error) {
	mounts, err := mountsOf(spec, r.l.Hidden())
	if err != nil {
		return launch.Recipe{}, err
	}
	recipe := launch.Recipe{
		Namespaces: namespaces,
		Plan: wire.Plan{
			Walls:    true,
			Mounts:   mounts,
			Scratch:  present(scratch),
			Covered:  outermost(r.l.Hidden()),
			Hostname: hostname(spec.Key.ID),
		},
	}
	if !privileged() {
		recipe.Namespaces |= unix.CLONE_NEWUSER
		recipe.Plan.DropAmbient = true
	}
	return recipe, nil
}

// mountsOf orders the mounts, outer before inner, and refuses those that would
// show again what is hidden or would be of no use.
func mountsOf(spec *runtimes.Spec, hidden []string) ([]wire.Mount, error) {
	refuse := func(object, why, hint string) error {
		return &runtimes.StartError{Key: spec.Key, Step: "mount", Object: object, Err: errors.New(why), Hint: hint}
	}
	mounts := make([]wire.Mount, 0, len(spec.Mounts))
	for _, m := range spec.Mounts {
		for _, dir := range hidden {
			if within(dir, m.Path) {
				return nil, refuse(m.Path, "would show "+dir+", which instances must not see", "mount a directory that does not hold it")
			}
		}
		mounts = append(mounts, wire.Mount{Path: m.Path, Writable: m.Writable})
	}
	slices.SortFunc(mounts, func(a, b wire.Mount) int { return strings.Compare(a.Path, b.Path) })
	if spec.Socket != "" && !writable(filepath.Dir(spec.Socket), mounts) {
		return nil, refuse(spec.Socket, "the socket's directory is read-only in there", "make a writable mount of "+filepath.Dir(spec.Socket))
	}
	return mounts, nil
}

// writable reports whether the innermost mount around a directory is.
func writable(dir string, mounts []wire.Mount) bool {
	found := false
	for _, m := range mounts {
		if within(dir, m.Path) {
			found = m.Writable
		}
	}
	return found
}

// within reports whether path is dir or lies below it.
func within(path, dir string) bool {
	return path == dir || dir == "/" || strings.HasPrefix(path, dir+"/")
}

// outermost drops the directories that lie inside another one.
func outermost(dirs []string) []string {
	sorted := slices.Sorted(slices.Values(dirs))
	var outer []string
	for _, dir := range sorted {
		inside := slices.ContainsFunc(outer, func(o string) bool { return within(dir, o) })
		if !inside {
			outer = append(outer, dir)
		}
	}
	return outer
}

func present(dirs []string) []string {
	var found []string
	for _, dir := range dirs {
		if st, err := os.Stat(dir); err == nil && st.IsDir() {
			found = append(found, dir)
		}
	}
	return found
}

// hostname is "service-id", cut to what the kernel takes.
func hostname(id runtimes.ID) string {
	name := id.Service + "-" + id.Instance
	return name[:min(len(name), 64)]
}
