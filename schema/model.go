// Package schema is the desired state: what a revision of the repository asks
// for. A Model is complete and valid or it does not exist; it is never changed
// after schema/load made it. The package imports only the standard library, so
// that plans, exports and runtimes can speak of services without CUE or TOML.
package schema

import (
	"slices"
	"strings"
	"time"
)

// Limits on what one repository may declare. Beyond them a load is refused.
const (
	MaxFileSize  = 1 << 20 // bytes of one config file
	MaxServices  = 10_000
	MaxInstances = 100_000
)

// Isolation is the level a service asks for, as written in its config.
type Isolation string

// Restart says when an instance that ended is started again.
type Restart string

// The restart policies.
const (
	RestartAlways    Restart = "always"
	RestartOnFailure Restart = "on-failure"
	RestartNever     Restart = "never"
)

// Condition is what a dependency must have reached before its dependent starts.
type Condition string

// The conditions of depends_on.
const (
	ConditionStarted Condition = "started"
	ConditionHealthy Condition = "healthy"
)

// Network is which network an instance has.
type Network string

// The networks.
const (
	NetworkHost Network = "host"
	NetworkNone Network = "none" // a loopback of its own
)

// Sleep is how an idle instance sleeps.
type Sleep string

// The ways to sleep.
const (
	SleepStop   Sleep = "stop"
	SleepFreeze Sleep = "freeze"
)

// Deploy is how the instances of a new revision take over from the old ones.
type Deploy string

// The ways to deploy.
const (
	DeployRolling   Deploy = "rolling"
	DeployBlueGreen Deploy = "blue-green"
	DeployCanary    Deploy = "canary"
)

// HealthNone as a service's health says that it listens nowhere: it counts as
// healthy while it lives. A queue worker, for example.
const HealthNone = "none"

// Dependency is one entry of depends_on.
type Dependency struct {
	Service   string    `json:"service"`
	Condition Condition `json:"condition"`
}

// Settings is the [settings] table with defaults applied.
type Settings struct {
	DataDir             string        `json:"data_dir"` // as written; "" when not written
	HealthCheckInterval time.Duration `json:"health_check_interval"`
	MaxRestarts         int           `json:"max_restarts"`
	RestartWindow       time.Duration `json:"restart_window"`
	BackoffBase         time.Duration `json:"backoff_base"`
	BackoffMax          time.Duration `json:"backoff_max"`
	AllowRemovals       bool          `json:"allow_removals"`

	Domain         string   `json:"domain"`
	Bind           string   `json:"bind,omitempty"`            // "" = every address
	Port           int      `json:"port,omitempty"`            // for plain HTTP; 0 = not written
	TrustedProxies []string `json:"trusted_proxies,omitempty"` // addresses and networks
	ProxyProtocol  bool     `json:"proxy_protocol,omitempty"`
	MaxHeaderKB    int      `json:"max_header_kb"`
	MaxBodyMB      int      `json:"max_body_mb,omitempty"` // 0 = no limit
	TLS            TLS      `json:"tls,omitzero"`
}

// TLS is the [settings.tls] table with defaults applied.
type TLS struct {
	Enabled      bool              `json:"enabled"`
	ACMEEmail    string            `json:"acme_email,omitempty"`
	Domain       string            `json:"domain,omitempty"`    // "" = that of the settings
	CacheDir     string            `json:"cache_dir,omitempty"` // as written; "" = acme in the data directory
	Staging      bool              `json:"staging,omitempty"`
	HTTPSPort    int               `json:"https_port,omitempty"`
	HTTPPort     int               `json:"http_port,omitempty"`
	DNSProvider  string            `json:"dns_provider,omitempty"`
	ACMECA       string            `json:"acme_ca,omitempty"`
	ACMECARoot   string            `json:"acme_ca_root,omitempty"`
	Certificates map[string]string `json:"certificates,omitempty"` // certificate file to key file
}

// Routing is the [routing] table.
type Routing struct {
	Default   string            `json:"default,omitempty"`
	Subdomain map[string]string `json:"subdomain,omitempty"`
	Path      map[string]string `json:"path,omitempty"`
}

// Service is one declared service with defaults applied.
type Service struct {
	Name   string   `json:"name"`
	Origin Position `json:"origin"` // where it is declared

	// Fields is what the user wrote, and nothing else: canonical field name
	// (aliases resolved) to canonical JSON; env has one entry per variable
	// ("env.LOG"). "source.tree" holds the id of the source tree, config files
	// left out, in the form of a git tree id. Instances are not in it.
	Fields map[string]string `json:"fields"`
	// Digest is "v1:" and a hash over Fields.
	Digest string `json:"digest"`

	Command string            `json:"command"` // shell-split when Args is empty, else argv[0] verbatim
	Args    []string          `json:"args,omitempty"`
	Build   string            `json:"build,omitempty"` // shell command line; "" = nothing to build
	Source  string            `json:"source"`          // slash path in the repository, "." = its root
	Env     map[string]string `json:"env,omitempty"`
	Workdir string            `json:"workdir,omitempty"` // relative to the source, or absolute

	Isolation Isolation `json:"isolation"`
	Socket    string    `json:"socket,omitempty"`     // "" = chosen per incarnation
	Port      int       `json:"port,omitempty"`       // 0 = chosen per incarnation
	ListenFDs bool      `json:"listen_fds,omitempty"` // ten listens and passes the socket as file 3
	Network   Network   `json:"network"`
	Health    string    `json:"health,omitempty"` // HTTP path; "" = TCP accept

	Restart        Restart       `json:"restart"`
	IdleTimeout    time.Duration `json:"idle_timeout,omitempty"` // 0 = never sleeps
	Sleep          Sleep         `json:"sleep"`
	MinRunning     int           `json:"min_running,omitempty"` // instances kept awake
	WakeQueue      int           `json:"wake_queue"`            // requests that may wait for one wake
	StartupTimeout time.Duration `json:"startup_timeout"`
	RequestTimeout time.Duration `json:"request_timeout"`
	MinHealthy     time.Duration `json:"min_healthy"` // how long a new instance must stay healthy before it counts
	StopSignal     string        `json:"stop_signal"` // "SIGTERM"
	StopTimeout    time.Duration `json:"stop_timeout"`
	DrainTimeout   time.Duration `json:"drain_timeout"` // how long requests under way may take before a stop

	Domains         []string          `json:"domains,omitempty"`          // sorted
	InstanceDomains map[string]string `json:"instance_domains,omitempty"` // host name to instance id
	Weight          int               `json:"weight"`                     // of each instance, 0 to 100
	Deploy          Deploy            `json:"deploy"`
	CanarySteps     []int             `json:"canary_steps,omitempty"` // percent of the requests, in order; set when Deploy is canary
	CanaryStep      time.Duration     `json:"canary_seconds"`         // how long each step lasts

	MemoryLimitMB  uint32 `json:"memory_limit_mb,omitempty"`
	CPUShares      uint32 `json:"cpu_shares,omitempty"`
	StorageQuotaMB uint32 `json:"storage_quota_mb,omitempty"`
	StoragePersist bool   `json:"storage_persist"`

	DependsOn    []Dependency `json:"depends_on,omitempty"` // sorted by service
	Instances    []string     `json:"instances"`            // declared ids, sorted, no duplicates
	OnDemand     bool         `json:"on_demand"`            // declared instances sleep until woken; undeclared ids may be woken
	MaxInstances int          `json:"max_instances"`        // bound on instances of this service, declared or woken
}

// Model is the validated desired state of one revision. Immutable.
type Model struct {
	Services []*Service `json:"services"` // sorted by Name
	Settings Settings   `json:"settings"`
	Routing  Routing    `json:"routing"`
	// Slum is slum.toml; nil where the repository has none.
	Slum *Slum `json:"slum,omitempty"`
	// Fields is what the user wrote outside of services, canonical as
	// Service.Fields: "settings.max_restarts", "routing.path./api".
	Fields map[string]string `json:"fields,omitempty"`
	// Warnings did not refuse the revision, and are shown with it.
	Warnings []Problem `json:"warnings,omitempty"`
	// ConfigFiles are the paths that configure ten and are no service's source.
	ConfigFiles []string `json:"config_files,omitempty"`
}

// Service finds a service by name, or nil.
func (m *Model) Service(name string) *Service {
	i, ok := slices.BinarySearchFunc(m.Services, name, func(s *Service, n string) int { return strings.Compare(s.Name, n) })
	if !ok {
		return nil
	}
	return m.Services[i]
}

// InstanceCount is how many instances the model declares.
func (m *Model) InstanceCount() int {
	n := 0
	for _, s := range m.Services {
		n += len(s.Instances)
	}
	return n
}

// HostOwner names the service that has a host name by itself: SERVICE.DOMAIN, or
// ID.SERVICE.DOMAIN. "" is the daemon, which has the bare domain.
func (m *Model) HostOwner(domain, host string) (service string, taken bool) {
	if host == domain {
		return "", true
	}
	under, ok := strings.CutSuffix(host, "."+domain)
	if !ok {
		return "", false
	}
	if _, name, deeper := strings.Cut(under, "."); deeper {
		under = name
	}
	return under, m.Service(under) != nil
}
