package fly

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/shlex"
	"github.com/pelletier/go-toml/v2"
)

// Limits of Fly's, which its own parser does not all hold to.
const (
	maxName        = 63
	maxVolumeName  = 30
	maxKillTimeout = 300 * time.Second
	maxCheckTime   = 60 * time.Second
	minInterval    = 2 * time.Second
)

var (
	appName    = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?$`)
	volumeName = regexp.MustCompile(`^[a-z0-9_]+$`)
	regionName = regexp.MustCompile(`^[a-z]{3}$`)
)

func killSignals() []string {
	return []string{"SIGINT", "SIGTERM", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGKILL", "SIGSTOP"}
}

// Lint gives every fault of a fly.toml, those included that flyctl accepts and
// Fly then refuses or reads in another way. It knows what ten writes; anything
// else is a fault.
func Lint(data []byte) []string {
	var c Config
	d := toml.NewDecoder(bytes.NewReader(data)).DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		if strict, ok := errors.AsType[*toml.StrictMissingError](err); ok {
			return []string{"unknown field:\n" + strict.String()}
		}
		return []string{err.Error()}
	}
	l := &linter{c: c}
	l.top()
	l.service()
	l.checks()
	l.sizes()
	l.mounts()
	l.restarts()
	return l.faults
}

type linter struct {
	c      Config
	faults []string
}

func (l *linter) fault(format string, args ...any) {
	l.faults = append(l.faults, fmt.Sprintf(format, args...))
}

func (l *linter) top() {
	c := l.c
	if len(c.App) > maxName || !appName.MatchString(c.App) {
		l.fault("app %q: want at most %d lower-case letters, digits and -", c.App, maxName)
	}
	if c.PrimaryRegion != "" && !regionName.MatchString(c.PrimaryRegion) {
		l.fault("primary_region %q: want three letters", c.PrimaryRegion)
	}
	if !slices.Contains(killSignals(), c.KillSignal) {
		l.fault("kill_signal %q: want one of %v, written down, since the default is SIGINT", c.KillSignal, killSignals())
	}
	l.duration("kill_timeout", c.KillTimeout, time.Second, maxKillTimeout)
	if b := c.Build; b == nil || (b.Image == "") == (b.Dockerfile == "") {
		l.fault("build: want one of image and dockerfile")
	}
	for _, name := range slices.Sorted(maps.Keys(c.Env)) {
		if strings.HasPrefix(name, "FLY_") {
			l.fault("env %s: names that begin with FLY_ are Fly's own", name)
		}
	}
	if len(c.Processes) == 0 {
		l.fault("processes: none")
	}
	for _, name := range slices.Sorted(maps.Keys(c.Processes)) {
		if words, err := shlex.Split(c.Processes[name]); err != nil || len(words) == 0 {
			l.fault("processes %s: %q does not split into words", name, c.Processes[name])
		}
	}
	l.strategy()
}

func (l *linter) strategy() {
	if l.c.Deploy == nil {
		return
	}
	switch s := l.c.Deploy.Strategy; s {
	case "rolling", "immediate":
	case "canary", "bluegreen":
		if len(l.c.Mounts) > 0 {
			l.fault("deploy.strategy %s does not go with mounts", s)
		}
		if s == "bluegreen" && len(l.c.Checks) == 0 && (l.c.HTTPService == nil || len(l.c.HTTPService.Checks) == 0) {
			l.fault("deploy.strategy bluegreen needs a check")
		}
	default:
		l.fault("deploy.strategy %q: want rolling, immediate, canary or bluegreen", s)
	}
}

func (l *linter) service() {
	h := l.c.HTTPService
	if h == nil {
		return
	}
	l.port("http_service.internal_port", h.InternalPort)
	l.groups("http_service", h.Processes)
	if !slices.Contains([]string{"off", "stop", "suspend"}, h.AutoStopMachines) {
		l.fault("http_service.auto_stop_machines %q: want off, stop or suspend", h.AutoStopMachines)
	}
	if h.MinMachinesRunning < 0 {
		l.fault("http_service.min_machines_running is negative")
	}
	for _, c := range h.Checks {
		l.check("http_service.checks", c)
		if !strings.HasPrefix(c.Path, "/") {
			l.fault("http_service.checks.path %q: want a path that begins with /", c.Path)
		}
	}
}

func (l *linter) checks() {
	for _, name := range slices.Sorted(maps.Keys(l.c.Checks)) {
		c, at := l.c.Checks[name], "checks."+name
		switch {
		case c.Type != "http" && c.Type != "tcp":
			l.fault("%s.type %q: want http or tcp", at, c.Type)
		case c.Type == "http" && !strings.HasPrefix(c.Path, "/"):
			l.fault("%s.path %q: want a path that begins with /", at, c.Path)
		}
		l.port(at+".port", c.Port)
		l.groups(at, c.Processes)
		l.check(at, *c)
	}
}

func (l *linter) check(at string, c Check) {
	l.duration(at+".interval", c.Interval, minInterval, maxCheckTime)
	l.duration(at+".timeout", c.Timeout, time.Second, maxCheckTime)
	l.duration(at+".grace_period", c.GracePeriod, time.Second, maxCheckTime)
}

func (l *linter) sizes() {
	if len(l.c.VM) == 0 {
		l.fault("vm: none, so that everything runs in 256 MB")
	}
	for _, v := range l.c.VM {
		l.groups("vm", v.Processes)
		mb, err := strconv.Atoi(strings.TrimSuffix(v.Memory, "mb"))
		if err != nil || !strings.HasSuffix(v.Memory, "mb") {
			l.fault("vm.memory %q: want a number of mb", v.Memory)
			continue
		}
		if k, ok := kinds()[v.CPUKind]; !ok || !k.holds(v.CPUs, mb) {
			l.fault("vm: no Machine has %d %q processors and %d MB", v.CPUs, v.CPUKind, mb)
		}
	}
}

func (l *linter) mounts() {
	groups := map[string]bool{}
	for _, m := range l.c.Mounts {
		l.groups("mounts", m.Processes)
		if len(m.Source) > maxVolumeName || !volumeName.MatchString(m.Source) {
			l.fault("mounts.source %q: want at most %d lower-case letters, digits and _", m.Source, maxVolumeName)
		}
		if !strings.HasPrefix(m.Destination, "/") || strings.Trim(m.Destination, "/") == "" {
			l.fault("mounts.destination %q: want an absolute path, and not /", m.Destination)
		}
		if gb, err := strconv.Atoi(strings.TrimSuffix(m.InitialSize, "gb")); err != nil || gb < 1 || !strings.HasSuffix(m.InitialSize, "gb") {
			l.fault("mounts.initial_size %q: want at least 1gb", m.InitialSize)
		}
		for _, g := range m.Processes {
			if groups[g] {
				l.fault("mounts: group %s has two", g)
			}
			groups[g] = true
		}
	}
}

func (l *linter) restarts() {
	for _, r := range l.c.Restart {
		l.groups("restart", r.Processes)
		if !slices.Contains([]string{"always", "never", "on-failure"}, r.Policy) {
			l.fault("restart.policy %q: want always, never or on-failure", r.Policy)
		}
		if r.Retries < 0 {
			l.fault("restart.retries is negative")
		}
	}
}

// groups wants the processes written everywhere: without them a section holds
// for the first group alone, for all, or is an error, as the section goes.
func (l *linter) groups(at string, processes []string) {
	if len(processes) == 0 {
		l.fault("%s: processes not written", at)
	}
	for _, p := range processes {
		if _, ok := l.c.Processes[p]; !ok {
			l.fault("%s.processes: there is no group %s", at, p)
		}
	}
}

func (l *linter) port(at string, port int) {
	if port < 1 || port > 65535 {
		l.fault("%s %d: want 1 to 65535", at, port)
	}
}

func (l *linter) duration(at, value string, low, high time.Duration) {
	if d, err := time.ParseDuration(value); err != nil || d < low || d > high {
		l.fault("%s %q: want %s to %s, quoted and with a unit", at, value, low, high)
	}
}
