package nomad

import (
	"cmp"
	"strconv"
	"time"

	"github.com/tenement/ten/export"
	"github.com/tenement/ten/schema"
)

// maxKill is how long a client lets a task end unless it is configured otherwise.
const maxKill = 30 * time.Second

// tell says what is lost of a service, once for all its instances; in is the
// first. What is lost whatever its value, uses tells.
func (e *exporter) tell(in export.Instance, image export.Image) {
	s := in.Service
	const converted = export.Converted
	if s.Isolation == "process" {
		e.lose(s, "isolation", "process", converted, "a container has its own files, processes and network", "what it shared with the host it no longer sees")
	}
	if _, written := s.Fields["restart"]; written && s.Restart == schema.RestartOnFailure {
		e.lose(s, "restart", "on-failure", converted, "Nomad starts a service again however it ended", "use never for what ends by itself")
	}
	if s.StoragePersist {
		e.lose(s, "storage_persist", "true", converted, "a node keeps data in host volumes", "host volumes "+e.nameOf(s)+"-ID, which have to exist on a node")
	}
	if s.MemoryLimitMB == 0 {
		e.lose(s, "memory_limit_mb", "not written", converted, "Nomad gives every task a limit", "its default of 300 MB; write memory_limit_mb")
	}
	if s.CPUShares > 0 {
		e.lose(s, "cpu_shares", strconv.Itoa(int(s.CPUShares)), converted, "Nomad shares by MHz, which are asked for of a node beforehand", "resources.cpu of as many MHz")
	}
	if s.StopTimeout > maxKill {
		e.lose(s, "stop_timeout", s.StopTimeout.String(), converted, "a client ends a task after 30 s unless its max_kill_timeout says more", "set max_kill_timeout on the nodes")
	}
	if own := image.Dockerfile; own != "" && s.Workdir != "" && s.Workdir[0] != '/' {
		e.lose(s, "workdir", s.Workdir, export.Lost, own+" decides where the program lies", "say it there: WORKDIR")
	}
	if in.Listen == export.ListenSocket {
		e.lose(s, "socket", in.Socket, converted, "a socket in a container is reached from nowhere else", "let it listen at {port}")
		if s.Health != schema.HealthNone {
			e.lose(s, "health", cmp.Or(s.Health, "accepts a connection"), export.Lost, "Nomad asks at ports alone", "let it listen at {port}")
		}
	}
	j := job{exporter: e, service: s}
	if window := e.model.Settings.RestartWindow; j.interval(j.attempts()) != window {
		e.losses = append(e.losses, export.Loss{
			Field: "settings.restart_window", Value: window.String(), Kind: converted,
			Why: "Nomad wants room in it for all restarts and their delays", Instead: j.interval(j.attempts()).String(),
		})
	}
}

// uses is what becomes of every field.
func uses() []export.Use {
	const (
		carried, converted, lost = export.Carried, export.Converted, export.Lost
		noProxy                  = "Nomad routes no requests"
		aProxy                   = "put a proxy before the services that Nomad knows"
		noSleep                  = "Nomad puts nothing to sleep"
	)
	front := append(export.RouterUses(noProxy, aProxy), placementUses()...)
	return append(front, []export.Use{
		{Field: "command", Kind: carried, As: "config.command; what Nomad would fill in is refused"},
		{Field: "args", Kind: carried, As: "config.args"},
		{Field: "build", Kind: carried, As: "a stage of SERVICE.Dockerfile"},
		{Field: "source", Kind: converted, As: "an image, built and pushed by the steps", Why: "Nomad builds nothing"},
		{Field: "env", Kind: carried, As: "env; ${...} and names with - are refused"},
		{Field: "workdir", Kind: converted, As: "config.work_dir", Why: "the repository's own Dockerfile decides where the program lies"},
		{Field: "isolation", Kind: converted, As: "namespace: readonly_rootfs, cap_drop; sandbox: runtime runsc", Why: "everything gets a container's walls; vm and wasm are refused"},
		{Field: "socket", Kind: converted, As: "SOCKET_PATH, in a tmpfs", Why: "a socket in a container is reached from nowhere else"},
		{Field: "port", Kind: converted, As: "network.port.to", Why: "the node's port is Nomad's to choose"},
		{Field: "health", Kind: carried, As: "service.check"},
		{Field: "restart", Kind: converted, As: "restart; type batch for never", Why: "Nomad starts a service again however it ended"},
		{Field: "depends_on", Kind: lost, Why: "jobs start in no order", As: "a program that misses another ends, and is started again"},
		{Field: "idle_timeout", Kind: lost, Why: noSleep},
		{Field: "startup_timeout", Kind: carried, As: "update.healthy_deadline and check_restart.grace"},
		{Field: "request_timeout", Kind: lost, Why: noProxy, As: "set it in the proxy"},
		{Field: "min_healthy", Kind: carried, As: "update.min_healthy_time"},
		{Field: "stop_signal", Kind: carried, As: "kill_signal"},
		{Field: "stop_timeout", Kind: converted, As: "kill_timeout", Why: "a client has a limit of its own, 30 s at first"},
		{Field: "memory_limit_mb", Kind: carried, As: "resources.memory"},
		{Field: "cpu_shares", Kind: converted, As: "resources.cpu", Why: "Nomad shares by MHz"},
		{Field: "storage_quota_mb", Kind: lost, Why: "a host volume has no size", As: "watch the disks of the nodes"},
		{Field: "storage_persist", Kind: converted, As: "a host volume, or a tmpfs", Why: "the volume has to exist on a node"},
		{Field: "instances", Kind: carried, As: "a group for each"},
		{Field: "on_demand", Kind: lost, Why: noSleep, As: "every declared instance runs"},
		{Field: "max_instances", Kind: lost, Why: "nobody but ten makes instances later"},
		{Field: "network", Kind: converted, As: "a network of its own", Why: "a container has one; none is refused"},
		{Field: "listen_fds", Kind: lost, Why: "nobody passes a listening socket to a task; true is refused"},
		{Field: "sleep", Kind: lost, Why: noSleep},
		{Field: "min_running", Kind: carried, As: "all instances run"},
		{Field: "wake_queue", Kind: lost, Why: noSleep},
		{Field: "domains", Kind: lost, Why: noProxy, As: aProxy},
		{Field: "instance_domains", Kind: lost, Why: noProxy, As: aProxy},
		{Field: "weight", Kind: lost, Why: noProxy, As: aProxy},
		{Field: "deploy", Kind: lost, Why: "a group of one is replaced as a whole", As: "update.canary, which starts the new one first"},
		{Field: "canary_steps", Kind: lost, Why: "a group of one has no steps"},
		{Field: "canary_seconds", Kind: lost, Why: "a group of one has no steps"},
		{Field: "drain_timeout", Kind: lost, Why: "Nomad sends the signal while requests are under way", As: "let the program end what it has begun when the signal comes"},

		{Field: "settings.data_dir", Kind: converted, As: "where volumes are mounted", Why: "a relative one becomes /data"},
		{Field: "settings.health_check_interval", Kind: carried, As: "check.interval"},
		{Field: "settings.max_restarts", Kind: carried, As: "restart.attempts"},
		{Field: "settings.restart_window", Kind: carried, As: "restart.interval"},
		{Field: "settings.backoff_base_ms", Kind: carried, As: "restart.delay"},
		{Field: "settings.backoff_max_ms", Kind: lost, Why: "the delay is always the same"},
		{Field: "settings.allow_removals", Kind: lost, Why: "nomad job run removes no other job"},

		{Field: "routing.default", Kind: lost, Why: noProxy, As: aProxy},
		{Field: "routing.subdomain", Kind: lost, Why: noProxy, As: aProxy},
		{Field: "routing.path", Kind: lost, Why: noProxy, As: aProxy},
	}...)
}
