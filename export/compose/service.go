package compose

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"path"
	"strconv"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"

	"github.com/tenement/ten/export"
	"github.com/tenement/ten/schema"
)

// escape keeps Compose from reading variables into a value.
func escape(s string) string { return strings.ReplaceAll(s, "$", "$$") }

func ref[T any](v T) *T { return &v }

// service writes one instance. What concerns all instances of a service is told
// of with the first.
func (e *exporter) service(in export.Instance) (types.ServiceConfig, error) {
	s := in.Service
	image := e.images[s.Name]
	first := in.ID == s.Instances[0]
	c := types.ServiceConfig{Restart: e.restart(s, first)}
	c.Build = e.build(image)
	c.Image, c.PullPolicy = image.Name, types.PullPolicyBuild
	c.Command = escapeAll(in.Argv)
	if image.Entrypoint {
		c.Entrypoint = types.ShellCommand{}
	}
	c.Environment = types.MappingWithEquals{}
	for name, value := range in.Env {
		c.Environment[name] = ref(escape(value))
	}
	if image.Dockerfile == "" || path.IsAbs(s.Workdir) {
		c.WorkingDir = escape(in.Dir)
	} else if s.Workdir != "" && first {
		e.lose(s, "workdir", s.Workdir, export.Lost, image.Dockerfile+" decides where the program lies", "say it there: WORKDIR")
	}
	c.Labels = types.Labels{"ten.service": s.Name, "ten.instance": in.ID}
	c.Init = ref(true)
	c.StopSignal = s.StopSignal
	c.StopGracePeriod = ref(types.Duration(s.StopTimeout))
	e.limits(s, &c, first)
	e.walls(in, &c)
	e.storage(in, &c)
	if err := e.network(in, &c, first); err != nil {
		return types.ServiceConfig{}, err
	}
	c.DependsOn = e.dependencies(s)
	if first {
		e.tellDependencies(s)
	}
	return c, nil
}

// restart says the policy; Docker knows no time within which it counts.
func (e *exporter) restart(s *schema.Service, first bool) string {
	n := e.model.Settings.MaxRestarts
	_, written := e.model.Fields["settings.max_restarts"]
	switch {
	case s.Restart == schema.RestartNever, n == 0:
		return types.RestartPolicyNo
	case s.Restart == schema.RestartOnFailure:
		return types.RestartPolicyOnFailure + ":" + strconv.Itoa(n)
	}
	if written && first {
		e.lose(s, "restart", "always", export.Converted, "Docker counts restarts only with on-failure", fmt.Sprintf("it is restarted without end, not %d times", n))
	}
	return types.RestartPolicyAlways
}

func (e *exporter) limits(s *schema.Service, c *types.ServiceConfig, first bool) {
	if s.MemoryLimitMB > 0 {
		c.MemLimit = types.UnitBytes(s.MemoryLimitMB) << 20
		c.MemSwapLimit = c.MemLimit // the sum of both: none of it is swap
	}
	if s.CPUShares == 0 {
		return
	}
	c.CPUShares = shares(s.CPUShares)
	if first {
		e.lose(s, "cpu_shares", strconv.Itoa(int(s.CPUShares)), export.Converted,
			"Docker counts shares on another scale, and older runtimes convert it in another way", fmt.Sprintf("cpu_shares: %d, which current runtimes make %d of", c.CPUShares, s.CPUShares))
	}
}

// walls gives a container what the level promises. At the level process there
// is nothing to promise.
func (e *exporter) walls(in export.Instance, c *types.ServiceConfig) {
	if in.Service.Isolation == "process" {
		return
	}
	if in.Service.Isolation == "sandbox" {
		c.Runtime = "runsc"
	}
	c.ReadOnly = true
	c.CapDrop = []string{"ALL"}
	c.SecurityOpt = []string{"no-new-privileges:true"}
	c.Volumes = append(c.Volumes, scratch("/tmp"))
}

// scratch is memory that everybody in the container may write to.
func scratch(target string) types.ServiceVolumeConfig {
	return types.ServiceVolumeConfig{Type: types.VolumeTypeTmpfs, Target: escape(target), Tmpfs: &types.ServiceVolumeTmpfs{Mode: 0o1777}}
}

func (e *exporter) storage(in export.Instance, c *types.ServiceConfig) {
	if in.Service.StoragePersist {
		c.Volumes = append(c.Volumes, types.ServiceVolumeConfig{
			Type: types.VolumeTypeVolume, Source: nameOf(in.Service.Name, in.ID), Target: escape(in.Data), Volume: &types.ServiceVolumeVolume{},
		})
	} else {
		c.Volumes = append(c.Volumes, scratch(in.Data))
	}
	if in.Socket != "" {
		if dir := path.Dir(in.Socket); dir != "/tmp" && dir != "/" && dir != in.Data {
			c.Volumes = append(c.Volumes, scratch(dir))
		}
	}
}

// network publishes the port to the host alone, where a proxy can reach it, and
// asks after the instance's health.
func (e *exporter) network(in export.Instance, c *types.ServiceConfig, first bool) error {
	s := in.Service
	probe, request, err := e.layout.ProbeOf(s)
	if err != nil {
		return err
	}
	if in.Port != 0 {
		published, err := e.ports.take(in, e.layout)
		if err != nil {
			return err
		}
		c.Ports = []types.ServicePortConfig{{
			Mode: "ingress", HostIP: "127.0.0.1", Target: uint32(in.Port), Published: strconv.Itoa(published), Protocol: "tcp",
		}}
	}
	switch {
	case probe == export.ProbeNone:
		c.HealthCheck = &types.HealthCheckConfig{Disable: true}
		return nil
	case in.Listen == export.ListenSocket:
		if first {
			e.lose(s, "health", cmp.Or(s.Health, "accepts a connection"), export.Lost, "nothing in an image asks at a unix socket", "let it listen at {port}")
			e.lose(s, "socket", in.Socket, export.Converted, "a socket in a container is reached from nowhere else", "let it listen at {port}")
		}
		return nil
	}
	own := e.images[s.Name].Dockerfile
	c.HealthCheck = &types.HealthCheckConfig{
		Test:        escapeAll(test(probe, in.Port, request, own != "")),
		Interval:    ref(types.Duration(e.model.Settings.HealthCheckInterval)),
		Timeout:     ref(types.Duration(export.ProbeTimeout)),
		StartPeriod: ref(types.Duration(s.StartupTimeout)),
		Retries:     ref(uint64(export.UnhealthyAfter)),
	}
	if own != "" && first {
		e.lose(s, "health", cmp.Or(s.Health, "accepts a connection"), export.Converted, "Docker asks from inside the container",
			"needs bash, wget or curl in the image of "+own)
	}
	return nil
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

// test is the healthcheck of an instance that listens at a port.
func test(probe export.Probe, port int, request string, anyImage bool) []string {
	script := httpScript
	if probe == export.ProbeConnect {
		script, request = connectScript, "/"
	}
	if anyImage {
		return []string{"CMD", "sh", "-c", anyScript, script, strconv.Itoa(port), request}
	}
	return []string{"CMD", "bash", "-c", script, "probe", strconv.Itoa(port), request}
}

// hostPorts hands out the ports of the host's loopback. A port follows from the
// instance's name, so that it stays when other services come and go.
type hostPorts struct{ taken map[int]bool }

const firstHostPort, hostPortCount = 20000, 10000 // below what systems use for outgoing connections

func (p *hostPorts) take(in export.Instance, l export.Layout) (int, error) {
	if p.taken == nil {
		p.taken = map[int]bool{}
	}
	if port := in.Service.Port; port != 0 && len(in.Service.Instances) == 1 {
		if p.taken[port] {
			return 0, l.Refuse(in.Service, "port", strconv.Itoa(port), "another service is published there", "give it another port")
		}
		p.taken[port] = true
		return port, nil
	}
	h := fnv.New32a()
	h.Write([]byte(in.Label()))
	for i := range hostPortCount {
		port := firstHostPort + (int(h.Sum32()%hostPortCount)+i)%hostPortCount
		if !p.taken[port] {
			p.taken[port] = true
			return port, nil
		}
	}
	return 0, l.Refuse(in.Service, "instances", strconv.Itoa(len(in.Service.Instances)), fmt.Sprintf("there are ports for %d instances on one host", hostPortCount), "split it into several projects")
}
