package schema

// FieldKind is the kind of value a field takes.
type FieldKind string

// The kinds of value. Of these a Go program can tell what is wrong more clearly
// than CUE can; what goes further (ranges, patterns, choices) CUE judges.
const (
	KindString       FieldKind = "a string"
	KindInt          FieldKind = "a whole number"
	KindBool         FieldKind = "true or false"
	KindStrings      FieldKind = "a list of strings"
	KindInts         FieldKind = "a list of whole numbers"
	KindStringMap    FieldKind = "a table of strings"
	KindDependencies FieldKind = "a list of services"
	KindTable        FieldKind = "a table"  // with fields of its own
	KindAny          FieldKind = "anything" // a field that this build refuses whatever its value
)

// Field says of one field of the config what a loader must know to name a
// mistake. tenement.cue is the truth; a test holds these tables to it.
type Field struct {
	Name     string
	Kind     FieldKind
	Required bool
	Alias    string   // the field this is another spelling of, or ""
	Later    bool     // declared, and refused by this build
	Enum     []string // the only values, in the order of the schema
	Wants    string   // what a value must be, where a pattern says so: "a path that begins with /"
	WantsKey string   // the same for the keys of a table
}

// Names in words, for messages about values that don't fit.
const (
	wantsName   = "a name of lower-case letters, digits, - and _, at most 63 long, for example web"
	wantsHost   = "a host name in lower case, for example shop.example.com"
	wantsDomain = "a domain in lower case, for example example.com"
	wantsID     = "an id of lower-case letters, digits and -, at most 63 long, for example prod"
)

// IsolationLevels are the values of isolation, weakest wall first.
func IsolationLevels() []string { return []string{"process", "namespace", "sandbox", "wasm", "vm"} }

// ServiceFields are the fields of #Service, in its order.
func ServiceFields() []Field {
	return []Field{
		{Name: "command", Kind: KindString, Required: true, Wants: `a command, for example "./web --port {port}"`},
		{Name: "args", Kind: KindStrings},
		{Name: "build", Kind: KindString, Wants: `a command, for example "go build -o web ."`},
		{Name: "source", Kind: KindString, Wants: "a path from the root of the repository"},
		{Name: "env", Kind: KindStringMap, WantsKey: "the name of a variable, for example LOG_LEVEL"},
		{Name: "workdir", Kind: KindString, Wants: "a path"},

		{Name: "isolation", Kind: KindString, Enum: IsolationLevels()},
		{Name: "runtime", Kind: KindString, Enum: IsolationLevels(), Alias: "isolation"},
		{Name: "socket", Kind: KindString, Wants: "an absolute path"},
		{Name: "port", Kind: KindInt},
		{Name: "health", Kind: KindString, Wants: "a path that begins with /, for example /health, or \"none\""},

		{Name: "restart", Kind: KindString, Enum: []string{"always", "on-failure", "never"}},
		{Name: "depends_on", Kind: KindDependencies, Wants: wantsName},
		{Name: "idle_timeout", Kind: KindInt},
		{Name: "startup_timeout", Kind: KindInt},
		{Name: "request_timeout", Kind: KindInt},
		{Name: "min_healthy", Kind: KindInt},
		{Name: "stop_signal", Kind: KindString, Enum: stopSignals()},
		{Name: "stop_timeout", Kind: KindInt},

		{Name: "memory_limit_mb", Kind: KindInt},
		{Name: "cpu_shares", Kind: KindInt},
		{Name: "storage_quota_mb", Kind: KindInt},
		{Name: "storage_persist", Kind: KindBool},

		{Name: "instances", Kind: KindStrings, Wants: wantsID},
		{Name: "on_demand", Kind: KindBool},
		{Name: "max_instances", Kind: KindInt},

		{Name: "network", Kind: KindString, Enum: []string{"host", "none"}},
		{Name: "listen_fds", Kind: KindBool},

		{Name: "sleep", Kind: KindString, Enum: []string{"stop", "freeze"}},
		{Name: "min_running", Kind: KindInt},
		{Name: "wake_queue", Kind: KindInt},

		{Name: "domains", Kind: KindStrings, Wants: wantsHost},
		{Name: "instance_domains", Kind: KindStringMap, WantsKey: wantsHost, Wants: wantsID},
		{Name: "weight", Kind: KindInt},
		{Name: "deploy", Kind: KindString, Enum: []string{"rolling", "blue-green", "canary"}},
		{Name: "canary_steps", Kind: KindInts},
		{Name: "canary_seconds", Kind: KindInt},
		{Name: "drain_timeout", Kind: KindInt},

		{Name: "image", Kind: KindAny, Later: true},
		{Name: "mounts", Kind: KindAny, Later: true},
		{Name: "rootfs", Kind: KindAny, Later: true},
		{Name: "kernel", Kind: KindAny, Later: true},
		{Name: "memory_mb", Kind: KindAny, Later: true},
		{Name: "vcpus", Kind: KindAny, Later: true},
		{Name: "vsock_port", Kind: KindAny, Later: true},
		{Name: "caps", Kind: KindAny, Later: true},
		{Name: "secrets", Kind: KindAny, Later: true},
	}
}

func stopSignals() []string {
	return []string{
		"SIGTERM", "SIGINT", "SIGQUIT", "SIGHUP", "SIGUSR1", "SIGUSR2",
		"SIGWINCH", "SIGABRT", "SIGALRM", "SIGKILL",
	}
}

// DependencyFields are the fields of #Dependency, in its order.
func DependencyFields() []Field {
	return []Field{
		{Name: "service", Kind: KindString, Required: true, Wants: wantsName},
		{Name: "condition", Kind: KindString, Enum: []string{string(ConditionStarted), string(ConditionHealthy)}},
	}
}

// SettingsFields are the fields of #Settings, in its order.
func SettingsFields() []Field {
	return []Field{
		{Name: "data_dir", Kind: KindString, Wants: "a path"},
		{Name: "health_check_interval", Kind: KindInt},
		{Name: "max_restarts", Kind: KindInt},
		{Name: "restart_window", Kind: KindInt},
		{Name: "backoff_base_ms", Kind: KindInt},
		{Name: "backoff_max_ms", Kind: KindInt},
		{Name: "allow_removals", Kind: KindBool},
		{Name: "domain", Kind: KindString, Wants: wantsDomain},
		{Name: "bind", Kind: KindString, Wants: "an IP address, for example 127.0.0.1"},
		{Name: "port", Kind: KindInt},
		{Name: "trusted_proxies", Kind: KindStrings, Wants: "an IP address or network, for example 10.0.0.0/8"},
		{Name: "proxy_protocol", Kind: KindBool},
		{Name: "max_header_kb", Kind: KindInt},
		{Name: "max_body_mb", Kind: KindInt},
		{Name: "tls", Kind: KindTable},
	}
}

// TLSFields are the fields of #TLS, in its order.
func TLSFields() []Field {
	return []Field{
		{Name: "enabled", Kind: KindBool},
		{Name: "acme_email", Kind: KindString, Wants: "an e-mail address, for example ops@example.com"},
		{Name: "domain", Kind: KindString, Wants: wantsDomain},
		{Name: "cache_dir", Kind: KindString, Wants: "a path"},
		{Name: "staging", Kind: KindBool},
		{Name: "https_port", Kind: KindInt},
		{Name: "http_port", Kind: KindInt},
		{Name: "dns_provider", Kind: KindString, Enum: DNSProviders()},
		{Name: "acme_ca", Kind: KindString, Wants: "a URL that begins with https://"},
		{Name: "acme_ca_root", Kind: KindString, Wants: "a path"},
		{Name: "certificates", Kind: KindStringMap, WantsKey: "the path of a certificate", Wants: "the path of its key"},
	}
}

// DNSProviders are the values of dns_provider.
func DNSProviders() []string {
	return []string{"cloudflare", "route53", "hetzner", "gandi", "acmedns", "rfc2136"}
}

// RoutingFields are the fields of #Routing, in its order.
func RoutingFields() []Field {
	return []Field{
		{Name: "default", Kind: KindString, Wants: wantsName},
		{Name: "subdomain", Kind: KindStringMap, WantsKey: `a host name in lower case, for example "*.example.com"`, Wants: wantsName},
		{Name: "path", Kind: KindStringMap, WantsKey: "a path that begins with /, for example /api", Wants: wantsName},
	}
}

// ConfigFields are the tables of #Config, in its order. They hold tables, so
// their Kind is not looked at.
func ConfigFields() []Field {
	return []Field{
		{Name: "settings", Kind: KindAny},
		{Name: "service", Kind: KindAny, WantsKey: wantsName},
		{Name: "process", Kind: KindAny, WantsKey: wantsName, Alias: "service"},
		{Name: "routing", Kind: KindAny},
		{Name: "instances", Kind: KindAny, WantsKey: wantsName, Wants: wantsID},
	}
}
