package nomad

import (
	"cmp"
	"path"
	"slices"
	"strconv"
	"time"

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

func (j job) write(members []export.Instance) []byte {
	var w hcl.Writer
	w.Comment(header)
	w.Blank()
	w.Open("job", j.nameOf(j.service))
	w.Word("type", j.kind())
	w.List("datacenters", []string{cmp.Or(j.opts.Region, "*")})
	j.constrain(&w)
	for _, in := range members {
		w.Blank()
		j.group(&w, in)
	}
	w.Close()
	return w.Bytes()
}

// kind is batch for what runs once: Nomad starts a service again however it
// ended.
func (j job) kind() string {
	if j.service.Restart == schema.RestartNever {
		return "batch"
	}
	return "service"
}

func (j job) group(w *hcl.Writer, in export.Instance) {
	w.Open("group", in.ID)
	j.restarts(w)
	if j.kind() == "service" {
		j.update(w)
	}
	if in.Service.StoragePersist {
		w.Open("volume", "data")
		w.Word("type", "host")
		w.Word("source", j.volume(in))
		w.Close()
	}
	if in.Listen == export.ListenPort {
		w.Open("network")
		w.Open("port", portLabel)
		w.Number("to", in.Port)
		w.Close()
		w.Close()
		j.register(w, in)
	}
	j.task(w, in)
	w.Close()
}

// volume is the host volume that keeps an instance's data.
func (j job) volume(in export.Instance) string { return j.nameOf(in.Service) + "-" + in.ID }

// restarts says how often an instance is started again before it counts as
// failed; it is not moved to another node, where its data is not.
func (j job) restarts(w *hcl.Writer) {
	attempts := j.attempts()
	w.Open("restart")
	w.Set("attempts", strconv.Itoa(attempts))
	w.Word("interval", j.interval(attempts).String())
	w.Word("delay", j.model.Settings.BackoffBase.String())
	w.Word("mode", "fail")
	w.Close()
	w.Open("reschedule")
	w.Set("attempts", "0")
	w.Set("unlimited", "false")
	w.Close()
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
func (j job) update(w *hcl.Writer) {
	s := j.service
	deadline := s.StartupTimeout + s.MinHealthy + j.model.Settings.HealthCheckInterval + export.ProbeTimeout
	w.Open("update")
	if !s.StoragePersist {
		w.Number("canary", 1)
		w.Set("auto_promote", "true")
	}
	how := "checks"
	if j.probe == export.ProbeNone {
		how = "task_states"
	}
	w.Word("health_check", how)
	w.Word("min_healthy_time", s.MinHealthy.String())
	w.Word("healthy_deadline", deadline.String())
	w.Word("progress_deadline", (deadline + 5*time.Minute).String())
	w.Close()
}

// register makes an instance known within Nomad, and says how it is asked.
func (j job) register(w *hcl.Writer, in export.Instance) {
	w.Open("service")
	w.Word("name", j.nameOf(in.Service))
	w.Word("provider", "nomad")
	w.Word("port", portLabel)
	w.List("tags", []string{"ten.instance=" + in.ID})
	if j.probe != export.ProbeNone {
		j.watch(w)
	}
	w.Close()
}

// watch asks an instance, and starts it again when it does not answer.
func (j job) watch(w *hcl.Writer) {
	w.Open("check")
	if j.probe == export.ProbeHTTP {
		w.Word("type", "http")
		w.Word("path", j.request)
	} else {
		w.Word("type", "tcp")
	}
	w.Word("interval", max(time.Second, j.model.Settings.HealthCheckInterval).String())
	w.Word("timeout", export.ProbeTimeout.String())
	w.Open("check_restart")
	w.Number("limit", export.UnhealthyAfter)
	w.Word("grace", j.service.StartupTimeout.String())
	w.Close()
	w.Close()
}

func (j job) task(w *hcl.Writer, in export.Instance) {
	s := in.Service
	w.Open("task", "main")
	w.Word("driver", "docker")
	w.Word("kill_signal", s.StopSignal)
	w.Word("kill_timeout", s.StopTimeout.String())
	w.Blank()
	j.config(w, in)
	if len(in.Env) > 0 {
		w.Blank()
		w.Map("env", in.Env) // an attribute: a name may hold a dot
	}
	if s.StoragePersist {
		w.Open("volume_mount")
		w.Word("volume", "data")
		w.Word("destination", in.Data)
		w.Close()
	}
	if s.MemoryLimitMB > 0 || s.CPUShares > 0 {
		w.Open("resources")
		w.Number("cpu", int(s.CPUShares))
		w.Number("memory", int(s.MemoryLimitMB))
		w.Close()
	}
	w.Close()
}

// config is what the docker driver is told.
func (j job) config(w *hcl.Writer, in export.Instance) {
	s := in.Service
	w.Open("config")
	w.Word("image", j.image.Name)
	w.Set("force_pull", strconv.FormatBool(j.opts.Registry != ""))
	if j.image.Entrypoint {
		w.List("entrypoint", in.Argv[:1])
	} else {
		w.Word("command", in.Argv[0])
	}
	w.List("args", in.Argv[1:])
	if j.image.Dockerfile == "" || path.IsAbs(s.Workdir) {
		w.Word("work_dir", in.Dir)
	}
	if in.Listen == export.ListenPort {
		w.List("ports", []string{portLabel})
	}
	w.Set("init", "true")
	if s.Isolation == "sandbox" {
		w.Word("runtime", "runsc")
	}
	if s.Isolation != "process" {
		w.Set("readonly_rootfs", "true")
		w.List("cap_drop", []string{"all"})
		w.List("security_opt", []string{"no-new-privileges=true"})
	}
	for _, dir := range scratch(in) {
		w.Open("mount")
		w.Word("type", "tmpfs")
		w.Word("target", dir)
		w.Open("tmpfs_options")
		w.Number("mode", docker.ScratchMode)
		w.Close()
		w.Close()
	}
	w.Close()
}

// scratch is where an instance may write what nobody keeps, sorted.
func scratch(in export.Instance) []string {
	var dirs []string
	if in.Service.Isolation != "process" {
		dirs = append(dirs, "/tmp")
	}
	if !in.Service.StoragePersist {
		dirs = append(dirs, in.Data)
	}
	if dir := path.Dir(in.Socket); in.Socket != "" && dir != "/" && dir != in.Data {
		dirs = append(dirs, dir)
	}
	slices.Sort(dirs)
	return slices.Compact(dirs)
}
