package systemd

import (
	"crypto/sha256"
	"encoding/hex"
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

// instance writes the units of one instance, and its lines in the shared files.
func (e *exporter) instance(in export.Instance) error {
	s := in.Service
	e.telling = in.ID == s.Instances[0]
	name := e.unitName(s.Name, in.ID)
	if err := e.units.Take(name, in); err != nil {
		return err
	}
	if e.telling {
		if err := e.judge(in); err != nil {
			return err
		}
		e.build(in)
	}
	user, err := e.user(in, name)
	if err != nil {
		return err
	}
	u := &unit{}
	e.about(in, name, u)
	if err := e.program(in, u); err != nil {
		return err
	}
	if err := e.probe(in, u); err != nil {
		return err
	}
	e.life(s, u)
	e.limits(s, u)
	e.walls(in, user, u)
	e.data(in, user, u)
	if err := e.activation(in, name, u); err != nil {
		return err
	}
	e.file("system/"+name+".service", u.bytes())
	return nil
}

// build writes the script that makes a service's program where its source lies.
func (e *exporter) build(in export.Instance) {
	s := in.Service
	if s.Build == "" {
		return
	}
	name := "build/" + s.Name + ".sh"
	words := []string{"exec", "/usr/bin/env"}
	for _, entry := range export.BuildEnv(s) {
		words = append(words, shellQuote(entry))
	}
	words = append(words, "sh", "-c", shellQuote(s.Build))
	text := "#!/bin/sh\n# Made by ten export systemd.\ncd " + shellQuote(in.Code) + " || exit 1\n" + strings.Join(words, " ") + "\n"
	e.file(name, []byte(text))
	e.builds = append(e.builds, name)
	e.lose(s, "build", s.Build, export.Converted, "systemd builds nothing", "a step to run after each change: sh "+name)
}

// user makes a user for an instance behind a wall; "" is root.
func (e *exporter) user(in export.Instance, name string) (string, error) {
	if in.Service.Isolation == "process" {
		return "", nil
	}
	const maxUser = 31
	user := strings.ReplaceAll(name, ".", "-")
	if len(user) > maxUser {
		sum := sha256.Sum256([]byte(name))
		user = user[:maxUser-9] + "-" + hex.EncodeToString(sum[:4])
	}
	if err := e.users.Take(user, in); err != nil {
		return "", err
	}
	fmt.Fprintf(&e.sysusers, "u %s - \"%s of %s\" %s\n", user, in.Service.Name+"-"+in.ID, e.opts.Project, in.Data)
	return user, nil
}

// about says what a unit is and what comes before it.
func (e *exporter) about(in export.Instance, name string, u *unit) {
	s := in.Service
	u.set("Unit", "Description", in.Label()+" of "+e.opts.Project)
	u.set("Unit", "PartOf", e.opts.Project+".target")
	u.set("Unit", "Wants", "network-online.target")
	u.set("Unit", "After", "network-online.target")
	for _, d := range s.DependsOn {
		on := e.model.Service(d.Service)
		if on == nil {
			continue
		}
		for _, id := range on.Instances {
			u.set("Unit", "Wants", e.unitName(on.Name, id)+".service")
			u.set("Unit", "After", e.unitName(on.Name, id)+".service")
		}
		switch {
		case len(on.Instances) == 0:
			e.lose(s, "depends_on", d.Service, export.Lost, d.Service+" declares no instance, so there is none to wait for", "")
		case d.Condition == schema.ConditionStarted && on.Health != schema.HealthNone:
			e.lose(s, "depends_on", d.Service, export.Converted, "to systemd it has started when it is healthy", "it is waited for until then")
		}
	}
	n := e.model.Settings.MaxRestarts
	u.set("Unit", "StartLimitIntervalSec", seconds(e.model.Settings.RestartWindow))
	u.set("Unit", "StartLimitBurst", strconv.Itoa(n+1)) // the first start counts too
}

// program says what runs. env starts it: systemd itself takes no program that
// is named by a relative path, and not every variable.
func (e *exporter) program(in export.Instance, u *unit) error {
	words := []string{"/usr/bin/env"}
	u.set("Service", "Type", "exec")
	if isPlain(in.Dir) {
		u.set("Service", "WorkingDirectory", in.Dir)
	} else {
		words = append(words, "-C", in.Dir)
	}
	var odd []string
	for _, name := range slices.Sorted(maps.Keys(in.Env)) {
		if v := in.Env[name]; variable(name, v) {
			u.set("Service", "Environment", word(name+"="+v))
		} else {
			odd = append(odd, name+"="+v)
		}
	}
	if strings.HasPrefix(in.Argv[0], "-") || len(odd) > 0 && strings.HasPrefix(odd[0], "-") {
		words = append(words, "--")
	}
	if strings.Contains(in.Argv[0], "=") {
		return e.layout.Refuse(in.Service, "command", in.Argv[0], "env takes a word with = in it for a variable", "give the program another name")
	}
	words = append(append(words, odd...), in.Argv...)
	u.set("Service", "ExecStart", command(words))
	u.set("Service", "SyslogIdentifier", in.Service.Name+"-"+in.ID)
	return nil
}

// The gates: $1 is the port, $2 the path. A start is over when the program
// answers; TimeoutStartSec ends the waiting.
const (
	connectGate = `until exec 3<>"/dev/tcp/127.0.0.1/$1"; do sleep 0.1; done 2>/dev/null`
	httpGate    = `until exec 3<>"/dev/tcp/127.0.0.1/$1" && printf 'GET %s HTTP/1.0\r\nHost: localhost:%s\r\nUser-Agent: ten-probe\r\nAccept: */*\r\n\r\n' "$2" "$1" >&3` +
		` && read -t 5 -r _ code _ <&3 && [ "$code" -ge 200 ] && [ "$code" -lt 400 ]; do sleep 0.1; done 2>/dev/null`
)

// probe holds a start until the instance is healthy, so that what depends on it
// waits for that.
func (e *exporter) probe(in export.Instance, u *unit) error {
	s := in.Service
	p, request, err := e.layout.ProbeOf(s)
	if err != nil {
		return err
	}
	if p == export.ProbeNone {
		return nil
	}
	if in.Listen == export.ListenSocket || s.ListenFDs {
		e.lose(s, "health", healthWords(s), export.Lost, "nothing on a host asks at a socket", "let it listen at {port}")
		return nil
	}
	gate := []string{"/bin/bash", "-c", connectGate, "probe", strconv.Itoa(in.Port)}
	if p == export.ProbeHTTP {
		gate = []string{"/bin/bash", "-c", httpGate, "probe", strconv.Itoa(in.Port), request}
	}
	u.set("Service", "ExecStartPost", command(gate))
	e.lose(s, "health", healthWords(s), export.Converted, "systemd asks nobody who has started", "a start waits until it is healthy")
	return nil
}

func healthWords(s *schema.Service) string {
	if s.Health == "" {
		return "accepts a connection"
	}
	return s.Health
}

func (e *exporter) life(s *schema.Service, u *unit) {
	restart := string(s.Restart)
	if s.Restart == schema.RestartNever || e.model.Settings.MaxRestarts == 0 {
		restart = "no"
	}
	u.set("Service", "Restart", restart)
	u.set("Service", "RestartSec", seconds(e.model.Settings.BackoffBase))
	u.set("Service", "TimeoutStartSec", seconds(s.StartupTimeout))
	u.set("Service", "KillMode", "mixed")
	u.set("Service", "KillSignal", s.StopSignal)
	u.set("Service", "TimeoutStopSec", seconds(s.StopTimeout))
}

// seconds writes a time. Nothing is 1ms: to systemd 0 is without end.
func seconds(d time.Duration) string {
	if d <= 0 {
		return "1ms"
	}
	if d%time.Second == 0 {
		return strconv.FormatInt(int64(d/time.Second), 10) + "s"
	}
	return strconv.FormatInt(d.Milliseconds(), 10) + "ms"
}

func (e *exporter) limits(s *schema.Service, u *unit) {
	if s.MemoryLimitMB > 0 {
		u.set("Service", "MemoryMax", strconv.Itoa(int(s.MemoryLimitMB))+"M")
		u.set("Service", "MemorySwapMax", "0")
	}
	if s.CPUShares > 0 {
		u.set("Service", "CPUWeight", strconv.Itoa(int(s.CPUShares)))
	}
}

// data is the instance's directory: one that stays, or memory of its own that
// goes with each stop.
func (e *exporter) data(in export.Instance, user string, u *unit) {
	owner, mode := "root", "0755"
	if user != "" {
		owner, mode = user, "0700"
	}
	if e.telling {
		fmt.Fprintf(&e.tmpfiles, "d %s 0755 root root -\n", path.Dir(in.Data))
	}
	fmt.Fprintf(&e.tmpfiles, "d %s %s %s %s -\n", in.Data, mode, owner, owner)
	if !in.Service.StoragePersist {
		u.set("Service", "TemporaryFileSystem", strings.ReplaceAll(in.Data, ":", `\:`)+":mode=1777")
	} else if user != "" {
		u.set("Service", "ReadWritePaths", in.Data)
	}
}
