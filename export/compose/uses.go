package compose

import "github.com/tenement/ten/export"

// uses is what becomes of every field.
func uses() []export.Use {
	const (
		carried, converted, lost = export.Carried, export.Converted, export.Lost
		noProxy                  = "Compose routes no requests"
		aProxy                   = "put a proxy before the published ports"
	)
	return append(export.RouterUses(noProxy, aProxy), []export.Use{
		{Field: "command", Kind: carried, As: "command, split into words"},
		{Field: "args", Kind: carried, As: "command"},
		{Field: "build", Kind: carried, As: "a stage of the Dockerfile"},
		{Field: "source", Kind: carried, As: "build.context"},
		{Field: "env", Kind: carried, As: "environment, with $ doubled"},
		{Field: "workdir", Kind: converted, As: "working_dir", Why: "the repository's own Dockerfile decides where the program lies"},
		{Field: "isolation", Kind: converted, As: "namespace: read_only, cap_drop, no-new-privileges; sandbox: runtime: runsc", Why: "everything gets a container's walls; vm and wasm are refused"},
		{Field: "socket", Kind: converted, As: "SOCKET_PATH, in a tmpfs", Why: "a socket in a container is reached from nowhere else"},
		{Field: "port", Kind: carried, As: "ports, on the host's loopback"},
		{Field: "health", Kind: converted, As: "healthcheck.test", Why: "Docker asks from inside the container, which needs a client in it"},
		{Field: "restart", Kind: converted, As: "restart", Why: "Docker counts restarts only with on-failure"},
		{Field: "depends_on", Kind: converted, As: "depends_on, for every instance", Why: "what has no health can't be waited for"},
		{Field: "idle_timeout", Kind: lost, Why: "Docker puts nothing to sleep"},
		{Field: "startup_timeout", Kind: carried, As: "healthcheck.start_period"},
		{Field: "request_timeout", Kind: lost, Why: noProxy, As: "set it in the proxy"},
		{Field: "min_healthy", Kind: lost, Why: "Compose replaces at once"},
		{Field: "stop_signal", Kind: carried, As: "stop_signal"},
		{Field: "stop_timeout", Kind: carried, As: "stop_grace_period"},
		{Field: "memory_limit_mb", Kind: carried, As: "mem_limit and memswap_limit"},
		{Field: "cpu_shares", Kind: converted, As: "cpu_shares", Why: "Docker counts shares on another scale"},
		{Field: "storage_quota_mb", Kind: lost, Why: "a volume has no size", As: "watch the disk of the host"},
		{Field: "storage_persist", Kind: carried, As: "a volume, or a tmpfs"},
		{Field: "instances", Kind: carried, As: "one service for each"},
		{Field: "on_demand", Kind: lost, Why: "Docker starts nothing when it is asked for", As: "every declared instance runs"},
		{Field: "max_instances", Kind: lost, Why: "nobody but ten makes instances later"},
		{Field: "network", Kind: converted, As: "host: the project's network; none: network_mode none, or a network without a way out", Why: "a container has a network of its own"},
		{Field: "listen_fds", Kind: lost, Why: "Docker passes no listening socket; true is refused"},
		{Field: "sleep", Kind: lost, Why: "Docker puts nothing to sleep"},
		{Field: "min_running", Kind: carried, As: "all instances run"},
		{Field: "wake_queue", Kind: lost, Why: noProxy},
		{Field: "domains", Kind: lost, Why: noProxy, As: aProxy},
		{Field: "instance_domains", Kind: lost, Why: noProxy, As: aProxy},
		{Field: "weight", Kind: lost, Why: noProxy, As: aProxy},
		{Field: "deploy", Kind: lost, Why: "Compose replaces at once"},
		{Field: "canary_steps", Kind: lost, Why: "Compose replaces at once"},
		{Field: "canary_seconds", Kind: lost, Why: "Compose replaces at once"},
		{Field: "drain_timeout", Kind: lost, Why: "Docker sends the signal while requests are under way", As: "let the program end what it has begun when the signal comes"},

		{Field: "settings.data_dir", Kind: converted, As: "where volumes are mounted", Why: "a relative one becomes /data"},
		{Field: "settings.health_check_interval", Kind: carried, As: "healthcheck.interval"},
		{Field: "settings.max_restarts", Kind: converted, As: "restart: on-failure:N", Why: "Docker counts restarts only with on-failure, and never forgets them"},
		{Field: "settings.restart_window", Kind: lost, Why: "Docker never forgets a restart"},
		{Field: "settings.backoff_base_ms", Kind: lost, Why: "Docker waits 100 ms at first"},
		{Field: "settings.backoff_max_ms", Kind: lost, Why: "Docker waits a minute at most"},
		{Field: "settings.allow_removals", Kind: lost, Why: "Compose asks nobody", As: "docker compose up without --remove-orphans removes nothing"},

		{Field: "routing.default", Kind: lost, Why: noProxy, As: aProxy},
		{Field: "routing.subdomain", Kind: lost, Why: noProxy, As: aProxy},
		{Field: "routing.path", Kind: lost, Why: noProxy, As: aProxy},
	}...)
}
