package schema

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// Values is a table as a config wrote it, aliases resolved: field name to
// string, int64, bool, []any or map[string]any.
type Values map[string]any

// Declaration is a service as a config wrote it, judged and found good.
type Declaration struct {
	Name      string
	Origin    Position
	Values    Values
	Instances []string // ids that [instances] declares for it
	Source    string   // its source, "." = the repository's root
	Tree      string   // the id of that source's tree
}

// NewService applies the defaults to a declaration. The values must have passed
// schema/load; one of the wrong type panics.
func NewService(d Declaration) *Service {
	s := &Service{Name: d.Name, Origin: d.Origin, Instances: []string{}}
	for _, def := range ServiceDefaults() {
		s.set(def.Field, def.Value)
	}
	for field, value := range d.Values {
		s.set(field, value)
	}
	s.Source = d.Source
	s.Fields = serviceFields(d.Values)
	s.Fields["source.tree"] = Canonical(d.Tree)
	s.Digest = Digest(s.Fields)
	s.Instances = append(s.Instances, d.Instances...)
	slices.Sort(s.Instances)
	slices.Sort(s.Domains)
	if s.Deploy == DeployCanary && len(s.CanarySteps) == 0 {
		s.CanarySteps = DefaultCanarySteps()
	}
	if _, ok := d.Values["on_demand"]; !ok {
		s.OnDemand = len(s.Instances) == 0
	}
	if _, ok := d.Values["max_instances"]; !ok {
		s.MaxInstances = s.defaultMaxInstances()
	}
	return s
}

// defaultMaxInstances is one where all instances would want the same port or
// socket, and never less than what is declared.
func (s *Service) defaultMaxInstances() int {
	if s.Single() {
		return 1
	}
	return max(DefaultMaxInstances, len(s.Instances))
}

// Single reports whether the service's address is fixed, so that a second
// instance of it could not listen.
func (s *Service) Single() bool {
	perInstance := strings.Contains(s.Socket, "{id}") || strings.Contains(s.Socket, "{instance_dir}")
	return s.Port != 0 || s.Socket != "" && !perInstance
}

// set gives a field its value.
func (s *Service) set(field string, v any) {
	switch field {
	case "command":
		s.Command = v.(string)
	case "args":
		s.Args = stringList(v)
	case "build":
		s.Build = v.(string)
	case "source":
		s.Source = v.(string)
	case "env":
		s.Env = stringMap(v)
	case "workdir":
		s.Workdir = v.(string)
	case "isolation":
		s.Isolation = Isolation(v.(string))
	case "socket":
		s.Socket = v.(string)
	case "port":
		s.Port = int(v.(int64))
	case "health":
		s.Health = v.(string)
	case "depends_on":
		s.DependsOn = dependencies(v)
	case "instances":
		s.Instances = append(s.Instances, stringList(v)...)
	case "on_demand":
		s.OnDemand = v.(bool)
	case "max_instances":
		s.MaxInstances = int(v.(int64))
	default:
		s.setLife(field, v)
	}
}

// setLife gives the fields about an instance's life and limits their value.
func (s *Service) setLife(field string, v any) {
	switch field {
	case "restart":
		s.Restart = Restart(v.(string))
	case "idle_timeout":
		s.IdleTimeout = seconds(v)
	case "startup_timeout":
		s.StartupTimeout = seconds(v)
	case "request_timeout":
		s.RequestTimeout = seconds(v)
	case "min_healthy":
		s.MinHealthy = seconds(v)
	case "stop_signal":
		s.StopSignal = v.(string)
	case "stop_timeout":
		s.StopTimeout = seconds(v)
	case "drain_timeout":
		s.DrainTimeout = seconds(v)
	case "sleep":
		s.Sleep = Sleep(v.(string))
	case "min_running":
		s.MinRunning = int(v.(int64))
	case "wake_queue":
		s.WakeQueue = int(v.(int64))
	case "memory_limit_mb":
		s.MemoryLimitMB = uint32(v.(int64))
	case "cpu_shares":
		s.CPUShares = uint32(v.(int64))
	case "storage_quota_mb":
		s.StorageQuotaMB = uint32(v.(int64))
	case "storage_persist":
		s.StoragePersist = v.(bool)
	default:
		s.setFront(field, v)
	}
}

// setFront gives the fields about how requests reach an instance their value.
func (s *Service) setFront(field string, v any) {
	switch field {
	case "network":
		s.Network = Network(v.(string))
	case "listen_fds":
		s.ListenFDs = v.(bool)
	case "domains":
		s.Domains = stringList(v)
	case "instance_domains":
		s.InstanceDomains = stringMap(v)
	case "weight":
		s.Weight = int(v.(int64))
	case "deploy":
		s.Deploy = Deploy(v.(string))
	case "canary_steps":
		for _, step := range v.([]any) {
			s.CanarySteps = append(s.CanarySteps, int(step.(int64)))
		}
	case "canary_seconds":
		s.CanaryStep = seconds(v)
	default:
		panic("schema: no such field of a service: " + field)
	}
}

// NewSettings applies the defaults to a [settings] table that passed
// schema/load; nil gives the settings of a config without one.
func NewSettings(v Values) Settings {
	var s Settings
	for _, def := range SettingsDefaults() {
		s.set(def.Field, def.Value)
	}
	for field, value := range v {
		s.set(field, value)
	}
	return s
}

func (s *Settings) set(field string, v any) {
	switch field {
	case "data_dir":
		s.DataDir = v.(string)
	case "health_check_interval":
		s.HealthCheckInterval = seconds(v)
	case "max_restarts":
		s.MaxRestarts = int(v.(int64))
	case "restart_window":
		s.RestartWindow = seconds(v)
	case "backoff_base_ms":
		s.BackoffBase = time.Duration(v.(int64)) * time.Millisecond
	case "backoff_max_ms":
		s.BackoffMax = time.Duration(v.(int64)) * time.Millisecond
	case "allow_removals":
		s.AllowRemovals = v.(bool)
	default:
		s.setFront(field, v)
	}
}

// setFront gives the settings of the front door their value.
func (s *Settings) setFront(field string, v any) {
	switch field {
	case "domain":
		s.Domain = v.(string)
	case "bind":
		s.Bind = v.(string)
	case "port":
		s.Port = int(v.(int64))
	case "trusted_proxies":
		s.TrustedProxies = stringList(v)
	case "proxy_protocol":
		s.ProxyProtocol = v.(bool)
	case "max_header_kb":
		s.MaxHeaderKB = int(v.(int64))
	case "max_body_mb":
		s.MaxBodyMB = int(v.(int64))
	case "tls":
		s.TLS = NewTLS(v.(map[string]any))
	default:
		panic("schema: no such setting: " + field)
	}
}

// NewTLS applies the defaults to a [settings.tls] table that passed schema/load;
// nil gives what holds when TLS is switched on without one.
func NewTLS(v Values) TLS {
	var t TLS
	for _, def := range TLSDefaults() {
		t.set(def.Field, def.Value)
	}
	for field, value := range v {
		t.set(field, value)
	}
	return t
}

func (t *TLS) set(field string, v any) {
	switch field {
	case "enabled":
		t.Enabled = v.(bool)
	case "acme_email":
		t.ACMEEmail = v.(string)
	case "domain":
		t.Domain = v.(string)
	case "cache_dir":
		t.CacheDir = v.(string)
	case "staging":
		t.Staging = v.(bool)
	case "https_port":
		t.HTTPSPort = int(v.(int64))
	case "http_port":
		t.HTTPPort = int(v.(int64))
	case "dns_provider":
		t.DNSProvider = v.(string)
	case "acme_ca":
		t.ACMECA = v.(string)
	case "acme_ca_root":
		t.ACMECARoot = v.(string)
	case "certificates":
		t.Certificates = stringMap(v)
	default:
		panic("schema: no such field of settings.tls: " + field)
	}
}

// NewRouting makes the routing of a [routing] table that passed schema/load.
func NewRouting(v Values) Routing {
	var r Routing
	if s, ok := v["default"].(string); ok {
		r.Default = s
	}
	r.Subdomain = stringMap(v["subdomain"])
	r.Path = stringMap(v["path"])
	return r
}

// serviceFields is what the digest stands on: every written field but the
// instances, which are units of their own, with one entry per variable of env.
func serviceFields(v Values) map[string]string {
	fields := make(map[string]string, len(v)+1)
	for name, value := range v {
		switch name {
		case "instances":
		case "env":
			spread(fields, "env.", value)
		default:
			fields[name] = Canonical(value)
		}
	}
	return fields
}

// ModelFields is the Fields of a Model: settings and routing as written.
func ModelFields(settings, routing Values) map[string]string {
	fields := make(map[string]string)
	for name, value := range settings {
		if _, ok := value.(map[string]any); ok {
			spread(fields, "settings."+name+".", value)
			continue
		}
		fields["settings."+name] = Canonical(value)
	}
	for name, value := range routing {
		if _, ok := value.(map[string]any); ok {
			spread(fields, "routing."+name+".", value)
			continue
		}
		fields["routing."+name] = Canonical(value)
	}
	return fields
}

func spread(fields map[string]string, prefix string, table any) {
	for key, value := range table.(map[string]any) {
		fields[prefix+key] = Canonical(value)
	}
}

func seconds(v any) time.Duration { return time.Duration(v.(int64)) * time.Second }

func stringList(v any) []string {
	items := v.([]any)
	list := make([]string, len(items))
	for i, item := range items {
		list[i] = item.(string)
	}
	return list
}

func stringMap(v any) map[string]string {
	table, _ := v.(map[string]any)
	if len(table) == 0 {
		return nil
	}
	m := make(map[string]string, len(table))
	for key, value := range table {
		m[key] = value.(string)
	}
	return m
}

func dependencies(v any) []Dependency {
	items := v.([]any)
	deps := make([]Dependency, len(items))
	for i, item := range items {
		entry := item.(map[string]any)
		deps[i] = Dependency{Service: entry["service"].(string), Condition: ConditionHealthy}
		if c, ok := entry["condition"].(string); ok {
			deps[i].Condition = Condition(c)
		}
	}
	slices.SortFunc(deps, func(a, b Dependency) int { return cmp.Compare(a.Service, b.Service) })
	return deps
}
