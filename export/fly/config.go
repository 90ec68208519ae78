package fly

// Config is a fly.toml as far as ten writes one. Durations are quoted with their
// unit: a bare number is nanoseconds in one place and seconds in another.
type Config struct {
	App           string            `toml:"app"`
	PrimaryRegion string            `toml:"primary_region,omitempty"`
	KillSignal    string            `toml:"kill_signal,omitempty"` // Fly's default is SIGINT
	KillTimeout   string            `toml:"kill_timeout,omitempty"`
	Build         *Build            `toml:"build,omitempty"`
	Deploy        *Deploy           `toml:"deploy,omitempty"`
	Env           map[string]string `toml:"env,omitempty"`
	Processes     map[string]string `toml:"processes,omitempty"`
	Experimental  *Experimental     `toml:"experimental,omitempty"`
	HTTPService   *HTTPService      `toml:"http_service,omitempty"`
	Checks        map[string]*Check `toml:"checks,omitempty"`
	VM            []VM              `toml:"vm,omitempty"`
	Mounts        []Mount           `toml:"mounts,omitempty"`
	Restart       []Restart         `toml:"restart,omitempty"`
}

// Build says where the image comes from; exactly one of the first two.
type Build struct {
	Image      string `toml:"image,omitempty"`
	Dockerfile string `toml:"dockerfile,omitempty"` // from the directory of fly.toml
	IgnoreFile string `toml:"ignorefile,omitempty"`
}

// Deploy says how a new version takes over.
type Deploy struct {
	Strategy string `toml:"strategy,omitempty"`
}

// Experimental overrides what an image starts.
type Experimental struct {
	Exec []string `toml:"exec,omitempty"`
}

// HTTPService is what Fly's proxy sends an app from ports 80 and 443.
type HTTPService struct {
	InternalPort       int      `toml:"internal_port"`
	ForceHTTPS         bool     `toml:"force_https"`
	AutoStopMachines   string   `toml:"auto_stop_machines"`
	AutoStartMachines  bool     `toml:"auto_start_machines"`
	MinMachinesRunning int      `toml:"min_machines_running"`
	Processes          []string `toml:"processes"`
	Checks             []Check  `toml:"checks,omitempty"`
}

// Check asks whether an app is well. Type and Port belong to those at the top.
type Check struct {
	Type        string   `toml:"type,omitempty"`
	Port        int      `toml:"port,omitempty"`
	Interval    string   `toml:"interval,omitempty"`
	Timeout     string   `toml:"timeout,omitempty"`
	GracePeriod string   `toml:"grace_period,omitempty"`
	Method      string   `toml:"method,omitempty"`
	Path        string   `toml:"path,omitempty"`
	Processes   []string `toml:"processes,omitempty"`
}

// VM is the size of a Machine.
type VM struct {
	CPUKind   string   `toml:"cpu_kind"`
	CPUs      int      `toml:"cpus"`
	Memory    string   `toml:"memory"`
	Processes []string `toml:"processes"`
}

// Mount is a volume. It ties the app to one Machine on one physical host.
type Mount struct {
	Source      string   `toml:"source"`
	Destination string   `toml:"destination"`
	InitialSize string   `toml:"initial_size"`
	Processes   []string `toml:"processes"`
}

// Restart is what Fly does when the program ends.
type Restart struct {
	Policy    string   `toml:"policy"`
	Retries   int      `toml:"retries,omitempty"`
	Processes []string `toml:"processes"`
}
