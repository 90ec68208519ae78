package systemd

import "github.com/tenement/ten/export"

// uses is what becomes of every field.
func uses() []export.Use {
	const (
		carried, converted, lost = export.Carried, export.Converted, export.Lost
		noRouter                 = "systemd routes no requests"
		aProxy                   = "put a proxy before the ports"
		atOnce                   = "systemd replaces at once"
	)
	front := append(export.RouterUses(noRouter, aProxy), export.SlumUses("units are for the host that they are put on", "put them on each host that has to have them")...)
	return append(front, []export.Use{
		{Field: "command", Kind: carried, As: "ExecStart, started by env"},
		{Field: "args", Kind: carried, As: "ExecStart"},
		{Field: "build", Kind: converted, As: "build/SERVICE.sh, as a step", Why: "systemd builds nothing"},
		{Field: "source", Kind: carried, As: "/opt/PROJECT/SOURCE"},
		{Field: "env", Kind: carried, As: "Environment, or env for what that does not take"},
		{Field: "workdir", Kind: carried, As: "WorkingDirectory, or env -C"},
		{Field: "isolation", Kind: converted, As: "namespace: User, ProtectSystem, SystemCallFilter and more", Why: "no process namespace before systemd 257; sandbox, wasm and vm are refused"},
		{Field: "socket", Kind: carried, As: "ReadWritePaths of its directory, or a socket unit"},
		{Field: "port", Kind: carried, As: "PORT; a socket's own port before what sleeps"},
		{Field: "health", Kind: converted, As: "ExecStartPost, which a start waits for", Why: "systemd asks nobody who has started"},
		{Field: "restart", Kind: carried, As: "Restart"},
		{Field: "depends_on", Kind: converted, As: "Wants and After every instance", Why: "to systemd started is healthy"},
		{Field: "idle_timeout", Kind: converted, As: "a socket, and systemd-socket-proxyd --exit-idle-time", Why: "systemd counts from the end of the last connection, not request"},
		{Field: "startup_timeout", Kind: carried, As: "TimeoutStartSec"},
		{Field: "request_timeout", Kind: lost, Why: noRouter, As: "set it in the proxy"},
		{Field: "min_healthy", Kind: lost, Why: atOnce},
		{Field: "stop_signal", Kind: carried, As: "KillSignal"},
		{Field: "stop_timeout", Kind: carried, As: "TimeoutStopSec"},
		{Field: "memory_limit_mb", Kind: carried, As: "MemoryMax, and MemorySwapMax=0"},
		{Field: "cpu_shares", Kind: carried, As: "CPUWeight"},
		{Field: "storage_quota_mb", Kind: lost, Why: "systemd counts no directory", As: "watch the disk of the host"},
		{Field: "storage_persist", Kind: carried, As: "a directory by tmpfiles.d, or TemporaryFileSystem"},
		{Field: "instances", Kind: carried, As: "a service for each"},
		{Field: "on_demand", Kind: carried, As: "a socket, for declared instances that listen at a port"},
		{Field: "max_instances", Kind: lost, Why: "nobody but ten makes instances later"},
		{Field: "network", Kind: carried, As: "PrivateNetwork, with a proxy that joins it"},
		{Field: "listen_fds", Kind: carried, As: "a socket unit"},
		{Field: "sleep", Kind: converted, As: "stop", Why: "systemd does not freeze what is idle"},
		{Field: "min_running", Kind: converted, As: "the first instances are always started", Why: "each instance is a unit of its own"},
		{Field: "wake_queue", Kind: carried, As: "Backlog of the socket"},
		{Field: "domains", Kind: lost, Why: noRouter, As: aProxy},
		{Field: "instance_domains", Kind: lost, Why: noRouter, As: aProxy},
		{Field: "weight", Kind: lost, Why: noRouter, As: aProxy},
		{Field: "deploy", Kind: lost, Why: atOnce},
		{Field: "canary_steps", Kind: lost, Why: atOnce},
		{Field: "canary_seconds", Kind: lost, Why: atOnce},
		{Field: "drain_timeout", Kind: lost, Why: "systemd sends the signal while requests are under way", As: "let the program end what it has begun when the signal comes"},

		{Field: "settings.data_dir", Kind: converted, As: "the directory of all data", Why: "a relative one becomes /var/lib/PROJECT"},
		{Field: "settings.health_check_interval", Kind: lost, Why: "systemd asks nobody who has started"},
		{Field: "settings.max_restarts", Kind: carried, As: "StartLimitBurst, the first start counted too"},
		{Field: "settings.restart_window", Kind: carried, As: "StartLimitIntervalSec"},
		{Field: "settings.backoff_base_ms", Kind: carried, As: "RestartSec"},
		{Field: "settings.backoff_max_ms", Kind: lost, Why: "systemd before 254 waits the same time always"},
		{Field: "settings.allow_removals", Kind: lost, Why: "copying units removes none"},

		{Field: "routing.default", Kind: lost, Why: noRouter, As: aProxy},
		{Field: "routing.subdomain", Kind: lost, Why: noRouter, As: aProxy},
		{Field: "routing.path", Kind: lost, Why: noRouter, As: aProxy},
	}...)
}
