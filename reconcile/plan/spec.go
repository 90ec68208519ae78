package plan

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	shellquote "github.com/kballard/go-shellquote"

	"github.com/tenement/ten/runtimes"
	"github.com/tenement/ten/schema"
)

// SpecFor translates a declared service into what starts its instance id. It is
// pure: equal input gives an equal Spec. What only the moment of starting knows
// stays open, as {port} and {socket}, until Bind fills it in; so do the key's
// generation and, where the service fixes none, Port and Socket.
//
// The variables are {name}, {id}, {data_dir} (of the host), {instance_dir} (the
// managed directory of this instance), {port} and {socket}; anything else in
// braces is left as written, and a value is not looked through again (but for a
// data directory whose own path holds {port} or {socket}).
// Fields is shared with the service and must not be changed.
func SpecFor(s *schema.Service, id string, d Desired, h Host) runtimes.Spec {
	dir := InstanceDir(h, runtimes.ID{Service: s.Name, Instance: id})
	expand := expander(s, id, h)
	spec := runtimes.Spec{
		Key:         runtimes.Key{ID: runtimes.ID{Service: s.Name, Instance: id}},
		Level:       runtimes.Level(s.Isolation),
		Revision:    d.Revision,
		Digest:      s.Digest,
		Fields:      s.Fields,
		Command:     command(s, expand),
		Env:         environment(s, dir, expand),
		Dir:         workdir(s, h, expand),
		Limits:      runtimes.Limits{MemoryMB: s.MemoryLimitMB, CPUShares: s.CPUShares},
		Port:        s.Port,
		Socket:      expand(s.Socket),
		ListenFDs:   s.ListenFDs,
		StopSignal:  s.StopSignal,
		StopTimeout: s.StopTimeout,
	}
	if s.Network != schema.NetworkHost { // which goes without saying
		spec.Network = string(s.Network)
	}
	spec.Mounts = []runtimes.Mount{{Path: codeDir(h, s)}, {Path: dir, Writable: true}}
	if spec.Socket != "" && !sharedDir(path.Dir(spec.Socket)) {
		spec.Mounts = append(spec.Mounts, runtimes.Mount{Path: path.Dir(spec.Socket), Writable: true})
	}
	return spec
}

// Bind completes a Spec for one incarnation. A port or socket that the service
// fixes wins over the arguments. PORT and SOCKET_PATH are the only variables
// that are set unasked, and they win over what the user wrote. The directory of
// a socket that was not fixed becomes a writable mount. spec is not changed.
func Bind(spec runtimes.Spec, generation uint64, port int, socket string) runtimes.Spec {
	spec.Key.Generation = generation
	spec.Env = slices.Clone(spec.Env)
	spec.Command = slices.Clone(spec.Command)
	if spec.Port == 0 {
		spec.Port = port
	}
	if spec.Socket == "" && socket != "" {
		spec.Socket = socket
		spec.Mounts = append(slices.Clip(spec.Mounts), runtimes.Mount{Path: path.Dir(socket), Writable: true})
	}
	number := ""
	if spec.Port != 0 {
		number = strconv.Itoa(spec.Port)
	}
	r := strings.NewReplacer("{port}", number, "{socket}", spec.Socket)
	for i, word := range spec.Command {
		spec.Command[i] = r.Replace(word)
	}
	for i, entry := range spec.Env {
		name, value, _ := strings.Cut(entry, "=")
		spec.Env[i] = name + "=" + r.Replace(value)
	}
	spec.Dir = r.Replace(spec.Dir)
	if number != "" {
		spec.Env = setenv(spec.Env, "PORT", number)
	}
	if spec.Socket != "" {
		spec.Env = setenv(spec.Env, "SOCKET_PATH", spec.Socket)
	}
	return spec
}

// SplitCommand splits a command line into words by the quoting rules of sh,
// without expanding anything.
func SplitCommand(line string) ([]string, error) {
	words, err := shellquote.Split(line)
	if err != nil {
		return nil, fmt.Errorf("command %q: %s; close it, or give the words in args", line, strings.ToLower(err.Error()))
	}
	if len(words) == 0 {
		return nil, fmt.Errorf("command %q: no word in it; name the program to run", line)
	}
	return words, nil
}

// unbind gives back a bound Spec with its socket open again, so that it can be
// bound to another generation. The port stays: digits can't be told from others.
func unbind(spec runtimes.Spec) runtimes.Spec {
	spec.Key.Generation = 0
	if _, fixed := spec.Fields["socket"]; fixed || spec.Socket == "" {
		return spec
	}
	dir := path.Dir(spec.Socket)
	spec.Mounts = slices.DeleteFunc(slices.Clone(spec.Mounts), func(m runtimes.Mount) bool { return m.Path == dir })
	spec.Command = slices.Clone(spec.Command)
	for i, word := range spec.Command {
		spec.Command[i] = strings.ReplaceAll(word, spec.Socket, "{socket}")
	}
	spec.Env = slices.Clone(spec.Env)
	for i, entry := range spec.Env {
		spec.Env[i] = strings.ReplaceAll(entry, spec.Socket, "{socket}")
	}
	spec.Socket = ""
	return spec
}

// command splits before it expands, so that a value with a space in it stays
// one word. A line that can't be split is refused by New and never started.
func command(s *schema.Service, expand func(string) string) []string {
	words := []string{s.Command}
	if len(s.Args) > 0 {
		words = append(words, s.Args...)
	} else if split, err := SplitCommand(s.Command); err == nil {
		words = split
	}
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = expand(w)
	}
	return out
}

// environment is what the user wrote, at every level but process on top of a
// clean set: a program behind a wall sees nothing of the daemon's own.
func environment(s *schema.Service, dir string, expand func(string) string) []string {
	env := map[string]string{}
	if runtimes.Level(s.Isolation) != runtimes.Process {
		env["PATH"] = DefaultPath
		env["HOME"] = dir
		env["TMPDIR"] = "/tmp"
		env["LANG"] = "C.UTF-8"
		env["USER"] = s.Name
	}
	for name, value := range s.Env {
		env[name] = expand(value)
	}
	out := make([]string, 0, len(env)+2)
	for name, value := range env {
		out = append(out, name+"="+value)
	}
	slices.SortFunc(out, compareEnv)
	return out
}

// setenv sets one variable in a list sorted by name.
func setenv(env []string, name, value string) []string {
	entry := name + "=" + value
	i, found := slices.BinarySearchFunc(env, entry, compareEnv)
	if found {
		env[i] = entry
		return env
	}
	return slices.Insert(env, i, entry)
}

func compareEnv(a, b string) int {
	an, _, _ := strings.Cut(a, "=")
	bn, _, _ := strings.Cut(b, "=")
	return strings.Compare(an, bn)
}

// workdir is beneath the code when it is relative, whatever dots it has.
func workdir(s *schema.Service, h Host, expand func(string) string) string {
	dir := expand(s.Workdir)
	if path.IsAbs(dir) {
		return path.Clean(dir)
	}
	return path.Join(codeDir(h, s), path.Join("/", dir))
}

// expander replaces all variables but {port} and {socket} in one pass.
func expander(s *schema.Service, id string, h Host) func(string) string {
	r := strings.NewReplacer(
		"{name}", s.Name,
		"{id}", id,
		"{data_dir}", h.DataDir,
		"{instance_dir}", InstanceDir(h, runtimes.ID{Service: s.Name, Instance: id}),
	)
	return r.Replace
}

// sharedDir reports a directory that everybody on the host uses: mounting it to
// reach one socket would open the wall.
func sharedDir(dir string) bool {
	return slices.Contains([]string{"/", ".", "/tmp", "/var/tmp", "/run", "/var/run", "/dev", "/dev/shm"}, dir)
}
