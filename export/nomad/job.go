package nomad

import (
	"cmp"
	"path"
	"slices"
	"time"

	"github.com/hashicorp/hcl/v2/hclwrite"
	"github.com/zclconf/go-cty/cty"

	"github.com/tenement/ten/export"
	"github.com/tenement/ten/export/docker"
	"github.com/tenement/ten/export/hcl"
	"github.com/tenement/ten/schema"
)

// What Nomad takes of time and count.
const (
	minInterval = 5 * time.Second // of restarts, and the shortest of checks is 1 s
	portLabel   = "main"
)

// job writes one service.
type job struct {
	*exporter
	service *schema.Service
	image   export.Image
	probe   export.Probe
	request string
}

func (j job) write(members []export.Instance) *hclwrite.File {
	f := hclwrite.NewEmptyFile()
	body := f.Body().AppendNewBlock("job", []string{j.nameOf(j.service)}).Body()
	hcl.Word(body, "type", j.kind())
	hcl.List(body, "datacenters", []string{cmp.Or(j.opts.Region, "*")})
	for _, in := range members {
		body.AppendNewline()
		j.group(body.AppendNewBlock("group", []string{in.ID}).Body(), in)
	}
	return f
}

// kind is batch for what runs once: Nomad starts a service again however it
// ended.
func (j job) kind() string {
	if j.service.Restart == schema.RestartNever {
		return "batch"
	}
	return "service"
}

func (j job) group(body *hclwrite.Body, in export.Instance) {
	j.restarts(body)
	if j.kind() == "service" {
		j.update(body)
	}
	if in.Service.StoragePersist {
		volume := body.AppendNewBlock("volume", []string{"data"}).Body()
		hcl.Word(volume, "type", "host")
		hcl.Word(volume, "source", j.volume(in))
	}
	if in.Listen == export.ListenPort {
		port := body.AppendNewBlock("network", nil).Body().AppendNewBlock("port", []string{portLabel}).Body()
		hcl.Number(port, "to", in.Port)
		j.register(body.AppendNewBlock("service", nil).Body(), in)
	}
	j.task(body.AppendNewBlock("task", []string{"main"}).Body(), in)
}

// volume is the host volume that keeps an instance's data.
func (j job) volume(in export.Instance) string { return j.nameOf(in.Service) + "-" + in.ID }

// restarts says how often an instance is started again before it counts as
// failed; it is not moved to another node, where its data is not.
func (j job) restarts(body *hclwrite.Body) {
	attempts := j.attempts()
	r := body.AppendNewBlock("restart", nil).Body()
	r.SetAttributeValue("attempts", cty.NumberIntVal(int64(attempts)))
	hcl.Word(r, "interval", j.interval(attempts).String())
	hcl.Word(r, "delay", j.model.Settings.BackoffBase.String())
	hcl.Word(r, "mode", "fail")
	again := body.AppendNewBlock("reschedule", nil).Body()
	again.SetAttributeValue("attempts", cty.NumberIntVal(0))
	again.SetAttributeValue("unlimited", cty.False)
}

func (j job) attempts() int {
	if j.service.Restart == schema.RestartNever {
		return 0
	}
	return j.model.Settings.MaxRestarts
}

// interval is the window of restarts, with room for the delays as Nomad wants it.
func (j job) interval(attempts int) time.Duration {
	return max(j.model.Settings.RestartWindow, time.Duration(attempts)*j.model.Settings.BackoffBase+time.Second, minInterval)
}

// update replaces an instance by one that is healthy, where both can be there.
func (j job) update(body *hclwrite.Body) {
	s := j.service
	deadline := s.StartupTimeout + s.MinHealthy + j.model.Settings.HealthCheckInterval + export.ProbeTimeout
	u := body.AppendNewBlock("update", nil).Body()
	if !s.StoragePersist {
		hcl.Number(u, "canary", 1)
		u.SetAttributeValue("auto_promote", cty.True)
	}
	how := "checks"
	if j.probe == export.ProbeNone {
		how = "task_states"
	}
	hcl.Word(u, "health_check", how)
	hcl.Word(u, "min_healthy_time", s.MinHealthy.String())
	hcl.Word(u, "healthy_deadline", deadline.String())
	hcl.Word(u, "progress_deadline", (deadline + 5*time.Minute).String())
}

// register makes an instance known within Nomad, and says how it is asked.
func (j job) register(body *hclwrite.Body, in export.Instance) {
	hcl.Word(body, "name", j.nameOf(in.Service))
	hcl.Word(body, "provider", "nomad")
	hcl.Word(body, "port", portLabel)
	hcl.List(body, "tags", []string{"ten.instance=" + in.ID})
	if j.probe == export.ProbeNone {
		return
	}
	c := body.AppendNewBlock("check", nil).Body()
	hcl.Word(c, "type", "tcp")
	if j.probe == export.ProbeHTTP {
		hcl.Word(c, "type", "http")
		hcl.Word(c, "path", j.request)
	}
	hcl.Word(c, "interval", max(time.Second, j.model.Settings.HealthCheckInterval).String())
	hcl.Word(c, "timeout", export.ProbeTimeout.String())
	again := c.AppendNewBlock("check_restart", nil).Body()
	hcl.Number(again, "limit", export.UnhealthyAfter)
	hcl.Word(again, "grace", in.Service.StartupTimeout.String())
}

func (j job) task(body *hclwrite.Body, in export.Instance) {
	s := in.Service
	hcl.Word(body, "driver", "docker")
	hcl.Word(body, "kill_signal", s.StopSignal)
	hcl.Word(body, "kill_timeout", s.StopTimeout.String())
	body.AppendNewline()
	j.config(body.AppendNewBlock("config", nil).Body(), in)
	if len(in.Env) > 0 {
		env := map[string]cty.Value{}
		for name, value := range in.Env {
			env[name] = cty.StringVal(value)
		}
		body.AppendNewline()
		body.SetAttributeValue("env", cty.MapVal(env)) // an attribute: a name may hold a dot
	}
	if s.StoragePersist {
		m := body.AppendNewBlock("volume_mount", nil).Body()
		hcl.Word(m, "volume", "data")
		hcl.Word(m, "destination", in.Data)
	}
	if s.MemoryLimitMB > 0 || s.CPUShares > 0 {
		r := body.AppendNewBlock("resources", nil).Body()
		hcl.Number(r, "cpu", int(s.CPUShares))
		hcl.Number(r, "memory", int(s.MemoryLimitMB))
	}
}

// config is what the docker driver is told.
func (j job) config(body *hclwrite.Body, in export.Instance) {
	s := in.Service
	hcl.Word(body, "image", j.image.Name)
	if j.opts.Registry == "" {
		body.SetAttributeValue("force_pull", cty.False)
	} else {
		body.SetAttributeValue("force_pull", cty.True)
	}
	if j.image.Entrypoint {
		hcl.List(body, "entrypoint", in.Argv[:1])
	} else {
		hcl.Word(body, "command", in.Argv[0])
	}
	hcl.List(body, "args", in.Argv[1:])
	if j.image.Dockerfile == "" || path.IsAbs(s.Workdir) {
		hcl.Word(body, "work_dir", in.Dir)
	}
	if in.Listen == export.ListenPort {
		hcl.List(body, "ports", []string{portLabel})
	}
	body.SetAttributeValue("init", cty.True)
	if s.Isolation == "sandbox" {
		hcl.Word(body, "runtime", "runsc")
	}
	var scratch []string
	if s.Isolation != "process" {
		body.SetAttributeValue("readonly_rootfs", cty.True)
		hcl.List(body, "cap_drop", []string{"all"})
		hcl.List(body, "security_opt", []string{"no-new-privileges=true"})
		scratch = append(scratch, "/tmp")
	}
	if !s.StoragePersist {
		scratch = append(scratch, in.Data)
	}
	if dir := path.Dir(in.Socket); in.Socket != "" && dir != "/" && dir != in.Data {
		scratch = append(scratch, dir)
	}
	slices.Sort(scratch)
	for _, dir := range slices.Compact(scratch) {
		m := body.AppendNewBlock("mount", nil).Body()
		hcl.Word(m, "type", "tmpfs")
		hcl.Word(m, "target", dir)
		hcl.Number(m.AppendNewBlock("tmpfs_options", nil).Body(), "mode", docker.ScratchMode)
	}
}
