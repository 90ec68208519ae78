package plan

import "strings"

// effectTable says what a change of a field costs: the one place that decides
// between restarting and not restarting. Keys are canonical field names; a name
// that ends in a dot covers everything below it. A field that is not here
// restarts, which is safe; a test keeps the table complete.
//
// What a program is started with (its command line, environment, files) forces
// a new incarnation. What only the daemon uses while supervising is live. The
// isolation level replaces: the level that leaves owns the data directory's
// user, so two levels can't hold one instance's data at once.
var effectTable = map[string]Effect{
	"command":     EffectRestart,
	"args":        EffectRestart,
	"env.":        EffectRestart,
	"workdir":     EffectRestart,
	"build":       EffectRestart,
	"source.tree": EffectRestart,
	"socket":      EffectRestart,
	"port":        EffectRestart,

	"isolation": EffectReplace,

	// Walls that a running program can't be moved into or out of, and what it
	// is started from.
	"caps":       EffectRestart,
	"caps.":      EffectRestart,
	"network":    EffectRestart,
	"listen_fds": EffectRestart,
	"mounts":     EffectRestart,
	"secrets":    EffectRestart,
	"secrets.":   EffectRestart,
	"image":      EffectRestart,
	"rootfs":     EffectRestart,
	"kernel":     EffectRestart,
	"memory_mb":  EffectRestart,
	"vcpus":      EffectRestart,
	"vsock_port": EffectRestart,

	"sleep":             EffectLive,
	"min_running":       EffectLive,
	"wake_queue":        EffectLive,
	"domains":           EffectLive,
	"drain_timeout":     EffectLive,
	"instance_domains.": EffectLive,
	"canary_steps":      EffectLive,
	"canary_seconds":    EffectLive,
	"weight":            EffectLive,
	"deploy":            EffectLive,

	"memory_limit_mb":  EffectLive,
	"cpu_shares":       EffectLive,
	"storage_quota_mb": EffectLive,
	"storage_persist":  EffectLive,
	"health":           EffectLive,
	"restart":          EffectLive,
	"idle_timeout":     EffectLive,
	"request_timeout":  EffectLive,
	"startup_timeout":  EffectLive,
	"stop_signal":      EffectLive,
	"stop_timeout":     EffectLive,
	"min_healthy":      EffectLive,
	"max_instances":    EffectLive,
	"on_demand":        EffectLive,
	"depends_on":       EffectLive,

	// Where the source lies says nothing of what is in it: source.tree does.
	// Instances have actions of their own.
	"source":    EffectNone,
	"instances": EffectNone,

	// The data directory is taken when the daemon starts.
	"settings.data_dir": EffectNone,
	"settings.":         EffectReload,
	"routing.":          EffectReload,
}

// EffectOf says what a change of a canonical field costs. The longest entry of
// the table that covers the name counts; an unknown name restarts.
func EffectOf(field string) Effect {
	if e, ok := effectTable[field]; ok {
		return e
	}
	for i := strings.LastIndexByte(field, '.'); i >= 0; i = strings.LastIndexByte(field[:i], '.') {
		if e, ok := effectTable[field[:i+1]]; ok {
			return e
		}
	}
	return EffectRestart
}

// rank orders effects by how much they disturb.
func (e Effect) rank() int {
	switch e {
	case EffectNone:
		return 0
	case EffectLive:
		return 1
	case EffectReload:
		return 2
	case EffectRestart:
		return 3
	}
	return 4
}
