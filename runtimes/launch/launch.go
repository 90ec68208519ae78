package launch

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tenement/ten/runtimes"
	"github.com/tenement/ten/runtimes/launch/wire"
)

// embedded holds ten-init, which the build puts there first.
//
//go:embed embedded
var embedded embed.FS

// Config says where instances are kept and what they must not see.
type Config struct {
	RunDir string   // absolute; holds what List finds
	Hide   []string // absolute directories that a walled instance does not see beside RunDir; its Mounts shine through
	// CgroupParent names the one cgroup under which all cgroups of this RunDir
	// are made. Two daemons must not share it.
	CgroupParent string
	// NotifyDir, where not "", is a directory that every instance sees, read-only, and
	// in which it is told of a socket, NotifyName, to say things of itself on.
	NotifyDir string
	Init      []byte // the ten-init program; nil takes the one built in
	Log       *slog.Logger
}

// NotifyName is the name of the socket in a NotifyDir.
const NotifyName = "s"

// Recipe is what one level asks for beyond the Spec.
type Recipe struct {
	Plan       wire.Plan // Dir, Argv, Env and Path are filled in from the Spec where empty
	Namespaces uintptr   // flags of clone(2)
	// Track keeps the instance in a cgroup of its own where the host has a
	// writable v2 tree, even without limits: for a level whose processes could
	// not be found otherwise.
	Track bool
}

// errNoInit says that the program was built without its other half.
var errNoInit = errors.New("built without ten-init")

func initProgram(cfg Config) ([]byte, error) {
	if cfg.Init != nil {
		return cfg.Init, nil
	}
	b, err := fs.ReadFile(embedded, "embedded/ten-init")
	if err != nil {
		return nil, errNoInit
	}
	return b, nil
}

func (c Config) validate() error {
	if !filepath.IsAbs(c.RunDir) || filepath.Clean(c.RunDir) != c.RunDir {
		return fmt.Errorf("run directory %q: want a clean absolute path", c.RunDir)
	}
	for _, dir := range c.Hide {
		if !filepath.IsAbs(dir) {
			return fmt.Errorf("hidden directory %q: want an absolute path", dir)
		}
	}
	if c.NotifyDir != "" && (!filepath.IsAbs(c.NotifyDir) || filepath.Clean(c.NotifyDir) != c.NotifyDir) {
		return fmt.Errorf("notify directory %q: want a clean absolute path", c.NotifyDir)
	}
	if c.CgroupParent == "" || strings.ContainsAny(c.CgroupParent, "/\x00") || c.CgroupParent[0] == '.' {
		return fmt.Errorf("cgroup parent %q: want a plain name", c.CgroupParent)
	}
	if c.Log == nil {
		return errors.New("launch: no logger")
	}
	return nil
}

// checkSpec refuses what would lead out of the run directory or cannot be put
// into a C string.
func checkSpec(spec *runtimes.Spec) *runtimes.StartError {
	refuse := func(object, why string) *runtimes.StartError {
		return &runtimes.StartError{Key: spec.Key, Step: "spec", Object: object, Err: errors.New(why)}
	}
	if !plainName(spec.Key.Service) || !plainName(spec.Key.Instance) {
		return refuse(fmt.Sprintf("%q", spec.Key.ID.String()), "names must be plain: no slash, no leading dot")
	}
	if len(spec.Command) == 0 || spec.Command[0] == "" {
		return refuse("command", "is empty")
	}
	if !filepath.IsAbs(spec.Dir) {
		return refuse(fmt.Sprintf("dir %q", spec.Dir), "want an absolute path")
	}
	for _, m := range spec.Mounts {
		if !filepath.IsAbs(m.Path) || filepath.Clean(m.Path) != m.Path {
			return refuse(fmt.Sprintf("mount %q", m.Path), "want a clean absolute path")
		}
	}
	if spec.ListenFDs && spec.Socket == "" && (spec.Port <= 0 || spec.Port > 65535) {
		return refuse("listen_fds", "there is no socket and no port to listen on")
	}
	if strings.ContainsRune(spec.Socket, 0) {
		return refuse(fmt.Sprintf("socket %q", spec.Socket), "holds a NUL byte")
	}
	size := 0
	for _, s := range slices.Concat(spec.Command, spec.Env, []string{spec.Dir}) {
		if strings.ContainsRune(s, 0) {
			return refuse(fmt.Sprintf("%q", s), "holds a NUL byte")
		}
		size += len(s) + 8
	}
	if size > wire.MaxPlan/2 {
		return refuse("command and environment", fmt.Sprintf("are larger than %d bytes together", wire.MaxPlan/2))
	}
	return nil
}

func plainName(s string) bool {
	return s != "" && s[0] != '.' && len(s) <= 128 && !strings.ContainsAny(s, "/\x00\n")
}

// defaultPath is where programs are looked up when the instance's environment
// names no PATH.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

func pathOf(env []string) string {
	for _, kv := range env {
		if v, ok := strings.CutPrefix(kv, "PATH="); ok {
			return v
		}
	}
	return defaultPath
}

// Shown lists the directories that every walled instance sees, read-only, inside
// what is hidden.
func (l *Launcher) Shown() []string {
	if l.cfg.NotifyDir == "" {
		return nil
	}
	return []string{l.cfg.NotifyDir}
}

// Hidden lists the directories that no walled instance sees.
func (l *Launcher) Hidden() []string { return append([]string{l.cfg.RunDir}, l.cfg.Hide...) }
