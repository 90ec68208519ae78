package docker

import (
	"maps"
	"path"
	"slices"
	"strconv"

	"github.com/tenement/ten/export"
	"github.com/tenement/ten/schema"
)

func absolute(dir string) bool { return path.IsAbs(dir) }

// container makes one instance.
func (b *builder) container(in export.Instance, sv *service) (Container, error) {
	s := in.Service
	c := Container{
		Instance: in, Image: sv.image,
		Key: s.Name + "-" + in.ID, Name: b.opts.Project + "-" + s.Name + "-" + in.ID,
		StopSignal: s.StopSignal, StopTimeout: s.StopTimeout,
		MemoryMB: int(s.MemoryLimitMB), Walled: s.Isolation != "process",
		DependsOn: b.dependencies(s), Awaited: sv.awaited,
		StartLimit: s.StartupTimeout + b.model.Settings.HealthCheckInterval + export.ProbeTimeout,
	}
	if err := b.names.Take(c.Key, in); err != nil {
		return Container{}, err
	}
	for _, name := range slices.Sorted(maps.Keys(in.Env)) {
		c.Env = append(c.Env, name+"="+in.Env[name])
	}
	if sv.image.Dockerfile == "" || absolute(s.Workdir) {
		c.Workdir = in.Dir
	}
	if s.CPUShares > 0 {
		c.CPUShares = Shares(s.CPUShares)
	}
	if s.Isolation == "sandbox" {
		c.Runtime = "runsc"
	}
	b.restart(s, &c)
	b.storage(in, &c)
	b.network(in, sv, &c)
	return c, nil
}

// restart says the policy; Docker knows no time within which restarts count.
func (b *builder) restart(s *schema.Service, c *Container) {
	n := b.model.Settings.MaxRestarts
	switch {
	case s.Restart == schema.RestartNever, n == 0:
		c.Restart = "no"
	case s.Restart == schema.RestartOnFailure:
		c.Restart, c.MaxRetries = "on-failure", n
	default:
		c.Restart = "always"
	}
}

// storage is a volume where data is kept, else memory.
func (b *builder) storage(in export.Instance, c *Container) {
	if in.Service.StoragePersist {
		c.Volume = c.Name
	} else {
		c.Tmpfs = append(c.Tmpfs, in.Data)
	}
	if c.Walled {
		c.Tmpfs = append(c.Tmpfs, "/tmp")
	}
	if dir := path.Dir(in.Socket); in.Socket != "" && dir != "/" && dir != in.Data {
		c.Tmpfs = append(c.Tmpfs, dir)
	}
	slices.Sort(c.Tmpfs)
	c.Tmpfs = slices.Compact(c.Tmpfs)
}

// network publishes the port to the host alone, where a proxy can reach it, and
// says how the container is asked.
func (b *builder) network(in export.Instance, sv *service, c *Container) {
	c.HostPort = b.ports[in.Label()]
	switch {
	case sv.probe == export.ProbeNone:
		c.Health.Test = []string{"NONE"}
	case sv.asked:
		c.Health = Health{
			Test:     Test(sv.probe, in.Port, sv.request, sv.image.Dockerfile != ""),
			Interval: b.model.Settings.HealthCheckInterval, Timeout: export.ProbeTimeout,
			StartPeriod: in.Service.StartupTimeout, Retries: export.UnhealthyAfter,
		}
	}
}

// dependencies are all instances of what a service depends on.
func (b *builder) dependencies(s *schema.Service) []string {
	var keys []string
	for _, d := range s.DependsOn {
		if on := b.model.Service(d.Service); on != nil {
			for _, id := range on.Instances {
				keys = append(keys, on.Name+"-"+id)
			}
		}
	}
	slices.Sort(keys)
	return keys
}

// Entrypoint is what runs where the image sets an entrypoint of its own: it takes
// the place of that, since the command of a service is the whole.
func (c Container) Entrypoint() []string {
	if c.Image.Entrypoint {
		return c.Argv
	}
	return nil
}

// Command is what runs unless Entrypoint says it.
func (c Container) Command() []string {
	if c.Image.Entrypoint {
		return nil
	}
	return c.Argv
}

// The probes: $1 is the port, $2 the path. Bash connects by itself, so that an
// image needs no client; a good answer is 2xx or 3xx, redirects not followed.
const (
	connectScript = `exec 3<>"/dev/tcp/127.0.0.1/$1"`
	httpScript    = connectScript + ` && printf 'GET %s HTTP/1.0\r\nHost: localhost:%s\r\nUser-Agent: ten-probe\r\nAccept: */*\r\n\r\n' "$2" "$1" >&3` +
		` && read -r _ code _ <&3 && [ "$code" -ge 200 ] && [ "$code" -lt 400 ]`
	// anyScript is for images that may have no bash.
	anyScript = `if command -v bash >/dev/null; then exec bash -c "$0" probe "$1" "$2"; fi; ` +
		`if command -v wget >/dev/null; then exec wget -q -O /dev/null "http://127.0.0.1:$1$2"; fi; exec curl -fsS -o /dev/null "http://127.0.0.1:$1$2"`
)

// Test is the healthcheck of an instance that listens at a port.
func Test(probe export.Probe, port int, request string, anyImage bool) []string {
	script := httpScript
	if probe == export.ProbeConnect {
		script, request = connectScript, "/"
	}
	if anyImage {
		return []string{"CMD", "sh", "-c", anyScript, script, strconv.Itoa(port), request}
	}
	return []string{"CMD", "bash", "-c", script, "probe", strconv.Itoa(port), request}
}

// ScratchMode is the mode of a directory in memory: everybody in the container
// may write to it.
const ScratchMode = 0o1777
