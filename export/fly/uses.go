package fly

import "github.com/tenement/ten/export"

// uses is what becomes of every field.
func uses() []export.Use {
	const carried, converted, lost = export.Carried, export.Converted, export.Lost
	front := append(export.RouterUses("Fly's own proxy is in the place of ten's router", "it does TLS for what fly certs add names"), export.SlumUses("Fly makes its Machines itself, in its own regions", "--region names the place of all of them")...)
	return append(front, []export.Use{
		{Field: "command", Kind: carried, As: "processes, quoted for Fly's splitter"},
		{Field: "args", Kind: carried, As: "processes"},
		{Field: "build", Kind: carried, As: "a stage of the Dockerfile"},
		{Field: "source", Kind: carried, As: "the directory that fly deploy is given"},
		{Field: "env", Kind: carried, As: "env; FLY_* is refused"},
		{Field: "workdir", Kind: converted, As: "WORKDIR of the Dockerfile", Why: "the repository's own Dockerfile decides where the program runs"},
		{Field: "isolation", Kind: converted, As: "a Machine for each instance", Why: "every Machine is a vm; wasm is refused"},
		{Field: "socket", Kind: converted, As: "SOCKET_PATH beside a port", Why: "what listens at a socket alone is refused"},
		{Field: "port", Kind: carried, As: "internal_port"},
		{Field: "health", Kind: converted, As: "http_service.checks, or a tcp check", Why: "to Fly only 2xx is a good answer"},
		{Field: "restart", Kind: converted, As: "restart.policy", Why: "Fly counts restarts only with on-failure"},
		{Field: "depends_on", Kind: lost, Why: "apps start in no order", As: "let the program try again until the other answers"},
		{Field: "idle_timeout", Kind: converted, As: `auto_stop_machines = "stop"`, Why: "Fly's proxy looks every few minutes"},
		{Field: "startup_timeout", Kind: converted, As: "grace_period", Why: "Fly takes at most 60 s"},
		{Field: "request_timeout", Kind: lost, Why: "Fly's proxy has none to set"},
		{Field: "min_healthy", Kind: lost, Why: "one good check is enough to Fly"},
		{Field: "stop_signal", Kind: converted, As: "kill_signal", Why: "Fly knows fewer signals"},
		{Field: "stop_timeout", Kind: converted, As: "kill_timeout", Why: "Fly takes 1 s to 5 min"},
		{Field: "memory_limit_mb", Kind: converted, As: "vm.memory, rounded up", Why: "Machines come in steps"},
		{Field: "cpu_shares", Kind: lost, Why: "a Machine has processors, not a share of them"},
		{Field: "storage_quota_mb", Kind: converted, As: "mounts.initial_size", Why: "a volume has a size in GB"},
		{Field: "storage_persist", Kind: carried, As: "mounts, or the Machine's own disk"},
		{Field: "instances", Kind: carried, As: "an app for each"},
		{Field: "on_demand", Kind: lost, Why: "Fly starts no app that was never deployed", As: "every declared instance is deployed"},
		{Field: "max_instances", Kind: lost, Why: "nobody but ten makes instances later"},
		{Field: "network", Kind: converted, As: "a Machine's own network", Why: "others are found as APP.internal; none is refused"},
		{Field: "listen_fds", Kind: lost, Why: "Fly passes no listening socket; true is refused"},
		{Field: "sleep", Kind: carried, As: `auto_stop_machines = "stop" or "suspend"`},
		{Field: "min_running", Kind: converted, As: `auto_stop_machines = "off" for the first`, Why: "each instance is an app of its own"},
		{Field: "wake_queue", Kind: lost, Why: "Fly's proxy has its own"},
		{Field: "domains", Kind: converted, As: "fly certs add, as a step", Why: "host names are not in fly.toml"},
		{Field: "instance_domains", Kind: converted, As: "fly certs add, as a step", Why: "host names are not in fly.toml"},
		{Field: "weight", Kind: lost, Why: "each instance is an app of its own"},
		{Field: "deploy", Kind: converted, As: "deploy.strategy", Why: "bluegreen and canary go only without a volume and with a check"},
		{Field: "canary_steps", Kind: lost, Why: "Fly's canary takes no share of the requests"},
		{Field: "canary_seconds", Kind: lost, Why: "Fly's canary lasts until its checks pass"},
		{Field: "drain_timeout", Kind: lost, Why: "Fly has its own, before kill_signal"},

		{Field: "settings.data_dir", Kind: converted, As: "mounts.destination", Why: "a relative one becomes /data"},
		{Field: "settings.health_check_interval", Kind: converted, As: "interval of the checks", Why: "Fly takes 2 s to 60 s"},
		{Field: "settings.max_restarts", Kind: converted, As: "restart.retries", Why: "Fly counts restarts only with on-failure, and never forgets them"},
		{Field: "settings.restart_window", Kind: lost, Why: "Fly never forgets a restart"},
		{Field: "settings.backoff_base_ms", Kind: lost, Why: "Fly has its own"},
		{Field: "settings.backoff_max_ms", Kind: lost, Why: "Fly has its own"},
		{Field: "settings.allow_removals", Kind: lost, Why: "fly deploy removes no app"},

		{Field: "routing.default", Kind: lost, Why: "each app has its own name, PROJECT-SERVICE-ID.fly.dev"},
		{Field: "routing.subdomain", Kind: converted, As: "fly certs add, as a step", Why: "host names are not in fly.toml"},
		{Field: "routing.path", Kind: lost, Why: "a path leads to no other app"},
	}...)
}
