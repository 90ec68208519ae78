package schema

// DefaultsVersion grows whenever a value below changes, so that a host can tell
// a change of ten from a change of the repository. Defaults are never part of
// Fields or Digest: a new version of ten with other defaults restarts nothing.
const DefaultsVersion = 3

// DefaultMaxInstances bounds the instances of a service that sets no
// max_instances and declares fewer.
const DefaultMaxInstances = 1000

// DefaultDomain is the domain of a host whose config names none.
const DefaultDomain = "localhost"

// DefaultCanarySteps are the steps of a canary that names none.
func DefaultCanarySteps() []int { return []int{10, 50} }

// Default is the value a field has when it is not written.
type Default struct {
	Field string
	Value any // string, int64 or bool, as a config would write it
}

// ServiceDefaults are the defaults of #Service. Fields that are not here have
// no value when they are not written. on_demand and max_instances depend on
// the declared instances; see Service.
func ServiceDefaults() []Default {
	return []Default{
		{"isolation", "namespace"},
		{"restart", string(RestartOnFailure)},
		{"startup_timeout", int64(10)},
		{"request_timeout", int64(30)},
		{"min_healthy", int64(0)},
		{"stop_signal", "SIGTERM"},
		{"stop_timeout", int64(10)},
		{"storage_persist", true},
		{"network", string(NetworkHost)},
		{"listen_fds", false},
		{"sleep", string(SleepStop)},
		{"min_running", int64(0)},
		{"wake_queue", int64(10_000)},
		{"weight", int64(100)},
		{"deploy", string(DeployRolling)},
		{"canary_seconds", int64(30)},
		{"drain_timeout", int64(10)},
	}
}

// SettingsDefaults are the defaults of #Settings.
func SettingsDefaults() []Default {
	return []Default{
		{"health_check_interval", int64(10)},
		{"max_restarts", int64(3)},
		{"restart_window", int64(300)},
		{"backoff_base_ms", int64(1000)},
		{"backoff_max_ms", int64(60000)},
		{"allow_removals", false},
		{"domain", DefaultDomain},
		{"proxy_protocol", false},
		{"max_header_kb", int64(64)},
		{"max_body_mb", int64(0)},
	}
}

// TLSDefaults are the defaults of #TLS.
func TLSDefaults() []Default {
	return []Default{
		{"enabled", false},
		{"staging", false},
		{"https_port", int64(443)},
		{"http_port", int64(80)},
	}
}
