package docker

import (
	"slices"

	"github.com/tenement/ten/export"
)

// Uses is what becomes of every field, for a target that writes down a Host.
// name turns a property such as "memory_swap" into the target's spelling; what the
// target does in its own way stands in instead, by field.
func Uses(name func(property string) string, instead ...export.Use) []export.Use {
	all := usual(name)
	for _, own := range instead {
		if i := slices.IndexFunc(all, func(u export.Use) bool { return u.Field == own.Field }); i >= 0 {
			all[i] = own
		} else {
			all = append(all, own) // a test of the table finds a field that nobody knows
		}
	}
	return all
}

func usual(name func(property string) string) []export.Use {
	const (
		carried, converted, lost = export.Carried, export.Converted, export.Lost
		noProxy                  = "Docker routes no requests"
		aProxy                   = "put a proxy before the published ports"
	)
	slum := export.SlumUses("the engine is one host, and makes none", "ten export terraform, or pulumi, makes hosts")
	return slices.Concat(export.RouterUses(noProxy, aProxy), slum, []export.Use{
		{Field: "command", Kind: carried, As: name("command") + ", split into words"},
		{Field: "args", Kind: carried, As: name("command")},
		{Field: "build", Kind: carried, As: "a stage of SERVICE.Dockerfile"},
		{Field: "source", Kind: carried, As: "the context of the image's build"},
		{Field: "env", Kind: carried, As: name("env")},
		{Field: "workdir", Kind: converted, As: name("working_dir"), Why: "the repository's own Dockerfile decides where the program lies"},
		{Field: "isolation", Kind: converted, As: "namespace: " + name("read_only") + ", no capabilities, no-new-privileges; sandbox: " + name("runtime") + " runsc", Why: "everything gets a container's walls; vm and wasm are refused"},
		{Field: "socket", Kind: converted, As: "SOCKET_PATH, in a tmpfs", Why: "a socket in a container is reached from nowhere else"},
		{Field: "port", Kind: carried, As: name("ports") + ", on the host's loopback"},
		{Field: "health", Kind: converted, As: name("healthcheck"), Why: "Docker asks from inside the container, which needs a client in it"},
		{Field: "restart", Kind: converted, As: name("restart"), Why: "Docker counts restarts only with on-failure"},
		{Field: "depends_on", Kind: converted, As: name("depends_on") + " every instance, and " + name("wait") + " there", Why: "what has no health can't be waited for, and nobody waits when a host boots"},
		{Field: "idle_timeout", Kind: lost, Why: "Docker puts nothing to sleep"},
		{Field: "startup_timeout", Kind: carried, As: name("start_period")},
		{Field: "request_timeout", Kind: lost, Why: noProxy, As: "set it in the proxy"},
		{Field: "min_healthy", Kind: lost, Why: "a container is replaced at once"},
		{Field: "stop_signal", Kind: carried, As: name("stop_signal")},
		{Field: "stop_timeout", Kind: carried, As: name("stop_timeout")},
		{Field: "memory_limit_mb", Kind: carried, As: name("memory") + " and " + name("memory_swap")},
		{Field: "cpu_shares", Kind: converted, As: name("cpu_shares"), Why: "Docker counts shares on another scale"},
		{Field: "storage_quota_mb", Kind: lost, Why: "a volume has no size", As: "watch the disk of the host"},
		{Field: "storage_persist", Kind: carried, As: "a volume, or a tmpfs"},
		{Field: "instances", Kind: carried, As: "one container for each"},
		{Field: "on_demand", Kind: lost, Why: "Docker starts nothing when it is asked for", As: "every declared instance runs"},
		{Field: "max_instances", Kind: lost, Why: "nobody but ten makes instances later"},
		{Field: "network", Kind: converted, As: "the project's network", Why: "a container has a network of its own; none is refused"},
		{Field: "listen_fds", Kind: lost, Why: "Docker passes no listening socket; true is refused"},
		{Field: "sleep", Kind: lost, Why: "Docker puts nothing to sleep"},
		{Field: "min_running", Kind: carried, As: "all instances run"},
		{Field: "wake_queue", Kind: lost, Why: noProxy},
		{Field: "domains", Kind: lost, Why: noProxy, As: aProxy},
		{Field: "instance_domains", Kind: lost, Why: noProxy, As: aProxy},
		{Field: "weight", Kind: lost, Why: noProxy, As: aProxy},
		{Field: "deploy", Kind: lost, Why: "a container is replaced at once"},
		{Field: "canary_steps", Kind: lost, Why: "a container is replaced at once"},
		{Field: "canary_seconds", Kind: lost, Why: "a container is replaced at once"},
		{Field: "drain_timeout", Kind: lost, Why: "Docker sends the signal while requests are under way", As: "let the program end what it has begun when the signal comes"},

		{Field: "settings.data_dir", Kind: converted, As: "where volumes are mounted", Why: "a relative one becomes /data"},
		{Field: "settings.health_check_interval", Kind: carried, As: name("interval")},
		{Field: "settings.max_restarts", Kind: converted, As: name("max_retry_count"), Why: "Docker counts restarts only with on-failure, and never forgets them"},
		{Field: "settings.restart_window", Kind: lost, Why: "Docker never forgets a restart"},
		{Field: "settings.backoff_base_ms", Kind: lost, Why: "Docker waits 100 ms at first"},
		{Field: "settings.backoff_max_ms", Kind: lost, Why: "Docker waits a minute at most"},
		{Field: "settings.allow_removals", Kind: lost, Why: "what is not declared is removed", As: "read the plan before you apply it"},

		{Field: "routing.default", Kind: lost, Why: noProxy, As: aProxy},
		{Field: "routing.subdomain", Kind: lost, Why: noProxy, As: aProxy},
		{Field: "routing.path", Kind: lost, Why: noProxy, As: aProxy},
	})
}
