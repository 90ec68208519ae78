package namespace

import (
	"errors"
	"fmt"
	"maps"
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
	places, err := placesOf(spec, present(scratch), r.l.Hidden(), r.l.Shown())
	if err != nil {
		return launch.Recipe{}, err
	}
	recipe := launch.Recipe{
		Namespaces: namespaces,
		Plan:       wire.Plan{Walls: true, Places: places, Hostname: hostname(spec.Key.ID)},
	}
	switch spec.Network {
	case "", runtimes.NetworkHost:
	case runtimes.NetworkNone:
		recipe.Namespaces |= unix.CLONE_NEWNET
		recipe.Plan.Loopback = true
	default:
		return launch.Recipe{}, &runtimes.StartError{Key: spec.Key, Step: "network", Object: spec.Network, Err: errors.New("is no network of this level"),
			Hint: `write network = "host" or network = "none"`}
	}
	return withUser(recipe), nil
}

// withUser adds a user namespace where the daemon may not build walls without.
func withUser(recipe launch.Recipe) launch.Recipe {
	if !privileged() {
		recipe.Namespaces |= unix.CLONE_NEWUSER
		recipe.Plan.DropCaps = true
	}
	return recipe
}

// placesOf orders what an instance sees beside the read-only host, outer before
// inner. A mount inside a hidden directory shines through; one around it does
// not show what is hidden; one at the very path of it wins.
func placesOf(spec *runtimes.Spec, scratch, hidden, shown []string) ([]wire.Place, error) {
	byPath := map[string]wire.Kind{}
	for _, dir := range hidden {
		byPath[dir] = wire.Cover
	}
	for _, dir := range shown {
		byPath[dir] = wire.ReadOnly
	}
	for _, dir := range scratch {
		byPath[dir] = wire.Scratch
	}
	for _, m := range spec.Mounts {
		byPath[m.Path] = wire.ReadOnly
		if m.Writable {
			byPath[m.Path] = wire.Writable
		}
	}
	places := make([]wire.Place, 0, len(byPath))
	for _, path := range slices.Sorted(maps.Keys(byPath)) {
		place := wire.Place{Kind: byPath[path], Path: path}
		around := innermost(filepath.Dir(path), places)
		switch {
		case path == "/":
			return nil, refuse(spec, "/", "would undo the walls", `use isolation = "process"`)
		case around == wire.Writable && place.Kind == wire.ReadOnly:
			return nil, refuse(spec, path, "is inside a writable mount, where the instance could put a link in its place", "move it out of there")
		case around == place.Kind && (place.Kind == wire.Cover || place.Kind == wire.Writable):
			continue // it is so already, and a link in its place leads nowhere
		}
		places = append(places, place)
	}
	if len(places) > wire.MaxPlaces {
		return nil, refuse(spec, places[0].Path, "is one of too many mounts", fmt.Sprintf("use at most %d", wire.MaxPlaces))
	}
	if spec.Socket != "" && innermost(filepath.Dir(spec.Socket), places) != wire.Writable {
		return nil, refuse(spec, spec.Socket, "nobody outside would see a socket there", "give it a directory of its own that is a writable mount")
	}
	return places, nil
}

func refuse(spec *runtimes.Spec, object, why, hint string) error {
	return &runtimes.StartError{Key: spec.Key, Step: "mount", Object: object, Err: errors.New(why), Hint: hint}
}

// innermost tells what kind of place a directory is in; what is in none is the
// read-only host.
func innermost(dir string, places []wire.Place) wire.Kind {
	kind := wire.ReadOnly
	for _, p := range places {
		if dir == p.Path || strings.HasPrefix(dir, strings.TrimSuffix(p.Path, "/")+"/") {
			kind = p.Kind
		}
	}
	return kind
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
