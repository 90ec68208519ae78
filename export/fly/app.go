package fly

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tenement/ten/export"
	"github.com/tenement/ten/schema"
)

// group is the one process group of an app.
const group = "app"

// app writes one instance as an app. What concerns all instances of a service is
// told of with the first.
func (e *exporter) app(in export.Instance) (Config, error) {
	s := in.Service
	e.telling = in.ID == s.Instances[0]
	name, err := e.appName(in)
	if err != nil {
		return Config{}, err
	}
	c := Config{
		App:           name,
		PrimaryRegion: e.opts.Region,
		KillSignal:    e.killSignal(s),
		KillTimeout:   e.clamp(s, "stop_timeout", s.StopTimeout, time.Second, maxKillTimeout),
		Deploy:        &Deploy{Strategy: "rolling"},
		Env:           in.Env,
		Processes:     map[string]string{group: join(in.Argv)},
	}
	if err := e.environment(in); err != nil {
		return Config{}, err
	}
	e.build(in, &c)
	if err := e.network(in, &c); err != nil {
		return Config{}, err
	}
	if c.VM, err = e.size(s); err != nil {
		return Config{}, err
	}
	e.storage(in, &c)
	c.Restart = e.restart(s)
	e.strategy(s, &c)
	return c, nil
}

// strategy lets the new one be healthy before the old one goes wherever Fly can.
func (e *exporter) strategy(s *schema.Service, c *Config) {
	checked := len(c.Checks) > 0 || c.HTTPService != nil && len(c.HTTPService.Checks) > 0
	switch {
	case len(c.Mounts) > 0 || !checked:
		if _, written := s.Fields["deploy"]; written && s.Deploy != schema.DeployRolling {
			e.lose(s, "deploy", string(s.Deploy), export.Converted, "Fly does that only without a volume and with a check", "rolling: the old one goes before the new one comes")
		}
	case s.Deploy == schema.DeployCanary:
		c.Deploy.Strategy = "canary"
		e.lose(s, "deploy", string(s.Deploy), export.Converted, "Fly's canary takes no share of the requests, only checks", "canary")
	default:
		c.Deploy.Strategy = "bluegreen"
	}
}

func (e *exporter) lose(s *schema.Service, field, value string, kind export.Kind, why, instead string) {
	if e.telling {
		e.losses = append(e.losses, export.Loss{Service: s.Name, Field: field, Value: value, Kind: kind, Why: why, Instead: instead})
	}
}

func (e *exporter) appName(in export.Instance) (string, error) {
	name := strings.ReplaceAll(e.opts.Project+"-"+in.Service.Name+"-"+in.ID, "_", "-")
	if len(name) > maxName {
		return "", e.layout.Refuse(in.Service, "instances", strconv.Quote(in.ID),
			fmt.Sprintf("the app would be called %s, and a name of Fly's has at most %d characters", name, maxName), "a shorter --project, or shorter names")
	}
	return name, e.names.Take(name, in)
}

// environment refuses names that are Fly's own.
func (e *exporter) environment(in export.Instance) error {
	for name := range in.Service.Env {
		if strings.HasPrefix(name, "FLY_") {
			return e.layout.Refuse(in.Service, "env."+name, strconv.Quote(in.Service.Env[name]), "names that begin with FLY_ are Fly's own", "another name")
		}
	}
	if v, ok := in.Service.Env["PRIMARY_REGION"]; ok && v != e.opts.Region {
		e.lose(in.Service, "env.PRIMARY_REGION", v, export.Lost, "Fly sets it to the app's region", "read another variable")
	}
	return nil
}

func (e *exporter) build(in export.Instance, c *Config) {
	image := e.images[in.Service.Name]
	if image.Dockerfile == "" {
		c.Build = &Build{Dockerfile: "../" + generated(in.Service.Name), IgnoreFile: "../" + ignored(in.Service.Name)}
		return
	}
	c.Build = &Build{Dockerfile: path.Join("..", e.opts.Root, image.Dockerfile)}
	if image.Entrypoint {
		c.Experimental = &Experimental{Exec: in.Argv} // processes replace CMD alone
	}
	if in.Service.Workdir != "" {
		e.lose(in.Service, "workdir", in.Service.Workdir, export.Lost, image.Dockerfile+" decides where the program runs", "say it there: WORKDIR")
	}
}

func (e *exporter) killSignal(s *schema.Service) string {
	if slices.Contains(killSignals(), s.StopSignal) {
		return s.StopSignal
	}
	e.lose(s, "stop_signal", s.StopSignal, export.Converted, "Fly does not send it", "SIGTERM")
	return "SIGTERM"
}

// clamp says a duration within Fly's limits.
func (e *exporter) clamp(s *schema.Service, field string, d, low, high time.Duration) string {
	near := min(max(d, low), high)
	if near != d {
		e.lose(s, field, d.String(), export.Converted, fmt.Sprintf("Fly takes %s to %s", low, high), near.String())
	}
	return near.String()
}

// public reports whether requests from outside are meant for a service: it
// answers HTTP, or a route leads to it. Anything else stays on Fly's private
// network.
func (e *exporter) public(s *schema.Service) bool {
	return strings.HasPrefix(s.Health, "/") || e.routed[s.Name] || len(s.Domains)+len(s.InstanceDomains) > 0
}

func (e *exporter) network(in export.Instance, c *Config) error {
	s := in.Service
	probe, request, err := e.layout.ProbeOf(s)
	if err != nil {
		return err
	}
	if in.Listen != export.ListenPort {
		return nil
	}
	if e.public(s) {
		c.HTTPService = &HTTPService{InternalPort: in.Port, AutoStopMachines: "off", AutoStartMachines: true, Processes: []string{group}}
	}
	e.idle(in, c)
	if probe == export.ProbeNone {
		return nil
	}
	check := Check{
		Interval:    e.interval(s),
		Timeout:     export.ProbeTimeout.String(),
		GracePeriod: e.clamp(s, "startup_timeout", s.StartupTimeout, time.Second, maxCheckTime),
	}
	if probe == export.ProbeHTTP {
		check.Method, check.Path = "GET", request
		e.lose(s, "health", s.Health, export.Converted, "to Fly only 2xx is a good answer", "answer 200 there, not a redirect")
		c.HTTPService.Checks = []Check{check}
		return nil
	}
	check.Type, check.Port, check.Processes = "tcp", in.Port, []string{group}
	c.Checks = map[string]*Check{"alive": &check}
	return nil
}

// interval is a setting of the whole host: what is lost of it is told once.
func (e *exporter) interval(s *schema.Service) string {
	d := e.model.Settings.HealthCheckInterval
	near := min(max(d, minInterval), maxCheckTime)
	if near != d && !e.toldInterval {
		e.toldInterval = true
		e.losses = append(e.losses, export.Loss{
			Field: "settings.health_check_interval", Value: d.String(), Kind: export.Converted,
			Why: fmt.Sprintf("Fly takes %s to %s", minInterval, maxCheckTime), Instead: near.String(),
		})
	}
	return near.String()
}

// idle lets Fly's proxy stop an app. Of a service with min_running the first so
// many instances are kept awake.
func (e *exporter) idle(in export.Instance, c *Config) {
	s := in.Service
	switch {
	case s.IdleTimeout == 0:
		return
	case c.HTTPService == nil:
		e.lose(s, "idle_timeout", s.IdleTimeout.String(), export.Lost, "Fly stops only what its proxy sends requests to", "set health to a path, or route to it")
		return
	case slices.Index(s.Instances, in.ID) < s.MinRunning:
	case s.Sleep == schema.SleepFreeze:
		c.HTTPService.AutoStopMachines = "suspend"
	default:
		c.HTTPService.AutoStopMachines = "stop"
	}
	e.lose(s, "idle_timeout", s.IdleTimeout.String(), export.Converted, "Fly's proxy looks every few minutes and takes no time for it", "auto_stop_machines")
	if s.MinRunning > 0 {
		e.lose(s, "min_running", strconv.Itoa(s.MinRunning), export.Converted, "each instance is an app of its own", "the first instances never stop")
	}
}

func (e *exporter) size(s *schema.Service) ([]VM, error) {
	want := int(s.MemoryLimitMB)
	cpuKind, cpus, memory, ok := sizeFor(want)
	if !ok {
		return nil, e.layout.Refuse(s, "memory_limit_mb", strconv.Itoa(want), "the largest Machine has 131072 MB", "a smaller limit, or a host of your own")
	}
	size := fmt.Sprintf("%d MB, %d %s", memory, cpus, cpuKind)
	switch {
	case want == 0:
		e.lose(s, "memory_limit_mb", "no limit", export.Converted, "a Machine has a size", size)
	case want != memory:
		e.lose(s, "memory_limit_mb", strconv.Itoa(want), export.Converted, "Machines come in steps", size)
	}
	return []VM{{CPUKind: cpuKind, CPUs: cpus, Memory: fmt.Sprintf("%dmb", memory), Processes: []string{group}}}, nil
}

func (e *exporter) storage(in export.Instance, c *Config) {
	s := in.Service
	if !s.StoragePersist {
		if s.StorageQuotaMB > 0 {
			e.lose(s, "storage_quota_mb", strconv.Itoa(int(s.StorageQuotaMB)), export.Lost, "without a volume it is the Machine's own disk", "")
		}
		return
	}
	gb := max((int(s.StorageQuotaMB)+1023)/1024, 1)
	if s.StorageQuotaMB > 0 {
		e.lose(s, "storage_quota_mb", strconv.Itoa(int(s.StorageQuotaMB)), export.Converted, "a volume has a size in GB, and nothing warns before it is full", fmt.Sprintf("%d GB", gb))
	}
	name := strings.ReplaceAll(s.Name, "-", "_")
	const suffix = "_data"
	c.Mounts = []Mount{{
		Source:      name[:min(len(name), maxVolumeName-len(suffix))] + suffix,
		Destination: in.Data, InitialSize: fmt.Sprintf("%dgb", gb), Processes: []string{group},
	}}
}

func (e *exporter) restart(s *schema.Service) []Restart {
	n := e.model.Settings.MaxRestarts
	r := Restart{Policy: string(s.Restart), Retries: n, Processes: []string{group}}
	switch {
	case n == 0 || s.Restart == schema.RestartNever:
		r.Policy, r.Retries = "never", 0
	case s.Restart == schema.RestartAlways:
		r.Retries = 0
		if _, written := e.model.Fields["settings.max_restarts"]; written {
			e.lose(s, "restart", "always", export.Converted, "Fly counts restarts only with on-failure", fmt.Sprintf("it is restarted without end, not %d times", n))
		}
	}
	return []Restart{r}
}

// join writes words so that Fly's splitter gives back just these.
func join(words []string) string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = quote(w)
	}
	return strings.Join(out, " ")
}

func quote(w string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./:@%+=,", r)
	}
	if w != "" && !strings.ContainsFunc(w, func(r rune) bool { return !plain(r) }) {
		return w
	}
	return "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
}

// certificates are the commands for the host names that lead to an app.
func (e *exporter) certificates(in export.Instance, app string) []string {
	s := in.Service
	steps := e.routes(in, app)
	for _, host := range s.Domains {
		loss := export.Loss{Service: s.Name, Field: "domains", Value: host}
		steps = append(steps, e.certificate(loss, host, app, len(s.Instances) == 1)...)
	}
	for _, host := range slices.Sorted(maps.Keys(s.InstanceDomains)) {
		if s.InstanceDomains[host] == in.ID {
			e.telling = true
			loss := export.Loss{Service: s.Name, Field: "instance_domains", Value: host}
			steps = append(steps, e.certificate(loss, host, app, true)...)
		}
	}
	return steps
}

func (e *exporter) routes(in export.Instance, app string) []string {
	var steps []string
	for _, host := range slices.Sorted(maps.Keys(e.model.Routing.Subdomain)) {
		if e.model.Routing.Subdomain[host] == in.Service.Name {
			loss := export.Loss{Field: "routing.subdomain." + host, Value: in.Service.Name}
			steps = append(steps, e.certificate(loss, host, app, len(in.Service.Instances) == 1)...)
		}
	}
	return steps
}

// certificate is the command for one host name, where it can lead to one app.
func (e *exporter) certificate(loss export.Loss, host, app string, one bool) []string {
	loss.Kind, loss.Why, loss.Instead = export.Converted, "host names are not in fly.toml", "fly certs add"
	if !one {
		loss.Kind, loss.Instead = export.Lost, "a host name for each: instance_domains"
		loss.Why = "each instance is an app of its own, and a host name leads to one app"
	}
	if e.telling {
		e.losses = append(e.losses, loss)
	}
	if !one {
		return nil
	}
	return []string{"fly certs add " + quote(host) + " --app " + app}
}

// context is what an app is built from, as seen from the output directory.
func context(image export.Image, o export.Options) string {
	return cmp.Or(image.BuildContext(o), ".")
}
