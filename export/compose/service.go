package compose

import (
	"cmp"
	"fmt"
	"path"
	"strconv"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"

	"github.com/tenement/ten/export"
	"github.com/tenement/ten/export/docker"
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
	c.CPUShares = int64(docker.Shares(s.CPUShares))
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
	switch {
	case s.Network == schema.NetworkNone && in.Listen == export.ListenNowhere:
		c.NetworkMode = "none"
	case s.Network == schema.NetworkNone:
		name := nameOf(s.Name, in.ID)
		c.Networks = map[string]*types.ServiceNetworkConfig{name: nil}
		if first {
			e.lose(s, "network", "none", export.Converted, "Docker publishes nothing of what has no network", "a network of its own without a way out, which your proxy has to join")
		}
	case in.Port != 0:
		c.Ports = []types.ServicePortConfig{{
			Mode: "ingress", HostIP: "127.0.0.1", Target: uint32(in.Port), Published: strconv.Itoa(e.ports[in.Label()]), Protocol: "tcp",
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
		Test:        escapeAll(docker.Test(probe, in.Port, request, own != "")),
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
