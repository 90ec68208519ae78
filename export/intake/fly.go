package intake

import (
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/shlex"

	"github.com/tenement/ten/export"
	"github.com/tenement/ten/schema"
)

const flyFix = "mend the file: fly config validate"

// readFly reads a fly.toml. Each process group becomes a service; without groups
// the app is one. What is the app's, such as env, every service gets.
func readFly(d *draft, src Source) error {
	root, err := readTOML(src, flyFix)
	if err != nil {
		return err
	}
	f := &fly{draft: d, src: src, root: root}
	app := root.get("app").str()
	groups := root.get("processes")
	switch {
	case groups != nil && groups.kind == table && len(groups.keys) > 0:
		for _, name := range groups.keys {
			given := name
			if name == "app" && app != "" {
				given = app
			}
			f.groups = append(f.groups, name)
			f.services = append(f.services, d.add(given, groups.fields[name].at))
		}
	case app == "" && root.get("http_service") == nil && root.get("services") == nil && root.get("build") == nil:
		return &Error{at(src, 1), "it has no app, no processes and no service", "is it a fly.toml?"}
	default:
		if app == "" {
			app = "app"
		}
		f.groups, f.services = []string{"app"}, []*service{d.add(app, root.at)}
	}
	if env := root.get("env"); env != nil && len(env.keys)*len(f.services) > maxNodes {
		return &Error{env.at, "so many processes with so many variables take more than a config may have", "split it"}
	}
	for i := range f.services {
		f.command(i)
		f.shared(f.services[i])
		f.deploy(f.services[i])
	}
	f.unsaid()
	f.sections()
	for _, s := range f.services {
		if s.get("health") == nil && s.get("port") == nil && !f.serves(s) {
			s.set("health", schema.HealthNone, s.at, "no service of the app sends it requests")
		}
		s.unsetDefault()
	}
	return nil
}

// fly is one fly.toml being read.
type fly struct {
	draft    *draft
	src      Source
	root     *tree
	groups   []string
	services []*service
	served   []*service
}

func (f *fly) serves(s *service) bool { return slices.Contains(f.served, s) }

// of gives the services that a section is about. Without processes that is the
// default group, or all of them where the section is one of the app.
func (f *fly) of(section *tree, all bool) []*service {
	names := section.get("processes").words()
	var found []*service
	for i, s := range f.services {
		if slices.Contains(names, f.groups[i]) || len(names) == 0 && (all || i == f.defaultGroup()) {
			found = append(found, s)
		}
	}
	return found
}

// defaultGroup is "app", else the first by name.
func (f *fly) defaultGroup() int {
	if i := slices.Index(f.groups, "app"); i >= 0 {
		return i
	}
	first := 0
	for i, name := range f.groups {
		if name < f.groups[first] {
			first = i
		}
	}
	return first
}

// command is that of the group, else that of the Dockerfile.
func (f *fly) command(i int) {
	s := f.services[i]
	if line := f.root.get("processes", f.groups[i]); line.str() != "" {
		words, err := shlex.Split(line.str())
		if err != nil {
			s.gap("command", line.at, clean(err.Error()))
			return
		}
		s.run(words, line.at, "")
		return
	}
	build := f.root.get("build")
	name := build.get("dockerfile").str()
	if name == "" {
		name = "Dockerfile"
	}
	data, err := readBeside(f.src.Tree, name)
	if image := build.get("image"); image != nil {
		s.gap("command", image.at, "the image "+shown(image.str())+" decides what runs, and ten runs programs of the host or of the repository")
		return
	}
	if err != nil {
		s.gap("command", s.at, "neither processes nor a Dockerfile beside the file says what runs")
		return
	}
	built, err := readImage(Source{Name: path.Join(path.Dir(f.src.Name), name), Data: data, Dir: f.src.Dir}, build.get("build-target").str())
	if err != nil {
		s.gap("command", s.at, err.Error())
		return
	}
	built.apply(s)
	built.command(s)
}

// shared is what the app says for all of its groups.
func (f *fly) shared(s *service) {
	if source, inside := inConfig(f.src, "."); inside && source != "." {
		s.set("source", source, s.at, "where the file lies")
	}
	if env := f.root.get("env"); env != nil {
		for _, name := range env.keys {
			s.setEnv(name, env.fields[name].brief(), env.fields[name].at, "")
		}
	}
	if v := f.root.get("kill_signal"); v != nil {
		s.signal(v.str(), v.at)
	} else {
		s.set("stop_signal", "SIGINT", s.at, "what Fly sends")
	}
	if v := f.root.get("kill_timeout"); v != nil {
		f.seconds(s, "stop_timeout", 300, v)
	} else {
		s.set("stop_timeout", 5, s.at, "what Fly waits")
	}
}

// seconds reads "30s" or a bare number of seconds.
func (f *fly) seconds(s *service, name string, most int, v *tree) {
	d, err := time.ParseDuration(v.str())
	if n, bare := strconv.Atoi(v.str()); bare == nil {
		d, err = time.Duration(min(n, 1<<30))*time.Second, nil
	}
	if err != nil {
		s.lose(name, v.brief(), v.at, "it is no duration", "")
		return
	}
	s.seconds(name, d, most, v.str(), v.at)
}

// unsaid tells of the keys of the app that ten has no word for.
func (f *fly) unsaid() {
	known := []string{"app", "processes", "env", "kill_signal", "kill_timeout", "http_service", "services", "checks", "vm", "mounts", "restart", "build", "deploy"}
	for _, key := range f.root.keys {
		v := f.root.fields[key]
		switch {
		case slices.Contains(known, key):
		case key == "primary_region":
			f.draft.lose(key, v.brief(), v.at, "a config of ten is of one host", "")
		default:
			f.draft.lose(key, v.brief(), v.at, "ten has no word for it", "")
		}
	}
	for _, key := range []string{"args", "builder", "buildpacks", "builtin", "image"} {
		if v := f.root.get("build", key); v != nil {
			f.draft.lose("build."+key, v.brief(), v.at, "ten builds no images", "build")
		}
	}
}

// deploy says how a new revision takes over.
func (f *fly) deploy(s *service) {
	v := f.root.get("deploy")
	if v == nil {
		return
	}
	s.readFields(v, "deploy.", map[string]reading{
		"strategy": func(s *service, v *tree) {
			switch v.str() {
			case "rolling":
			case "canary":
				s.set("deploy", "canary", v.at, "")
			case "bluegreen":
				s.set("deploy", "blue-green", v.at, "")
			default:
				s.lose("deploy.strategy", v.brief(), v.at, "ten has no such way", "rolling")
			}
		},
	})
}

// sections reads the tables that are about groups.
func (f *fly) sections() {
	if v := f.root.get("http_service"); v != nil {
		for _, s := range f.of(v, false) {
			f.serve(s, v, "http_service.")
		}
	}
	for _, v := range f.root.get("services").each() {
		for _, s := range f.of(v, false) {
			if v.get("protocol").str() == "udp" {
				s.lose("services", v.brief(), v.at, "ten speaks TCP", "")
				continue
			}
			f.serve(s, v, "services.")
		}
	}
	if checks := f.root.get("checks"); checks != nil {
		for _, name := range checks.keys {
			for _, s := range f.of(checks.fields[name], false) {
				f.check(s, checks.fields[name], "checks."+name)
			}
		}
	}
	for _, v := range f.root.get("vm").each() {
		for _, s := range f.of(v, true) {
			flyVM(s, v)
		}
	}
	for _, v := range f.root.get("mounts").each() {
		for _, s := range f.of(v, false) {
			s.convert("mounts", v.get("destination").str(), v.at, "an instance has one directory to keep data in", "{instance_dir}")
		}
	}
	for _, v := range f.root.get("restart").each() {
		for _, s := range f.of(v, false) {
			flyRestart(s, v)
		}
	}
}

// serve reads http_service or one of services: where requests go.
func (f *fly) serve(s *service, v *tree, prefix string) {
	f.served = append(f.served, s)
	s.readFields(v, prefix, map[string]reading{
		"processes": nil, "protocol": nil, "auto_start_machines": nil,
		"internal_port": func(s *service, v *tree) {
			if n, ok := portNumber(v.str()); ok && s.get("port") == nil {
				s.set("port", n, v.at, "")
			} else {
				s.lose(prefix+"internal_port", v.brief(), v.at, "ten knows one port of a program", "")
			}
		},
		"auto_stop_machines": func(s *service, v *tree) {
			if mode := v.str(); mode == "stop" || mode == "suspend" || mode == "true" {
				s.set("idle_timeout", 300, v.at, "Fly looks every few minutes whether a Machine is idle")
				if mode == "suspend" {
					s.set("sleep", "freeze", v.at, "")
				}
				s.convert(prefix+"auto_stop_machines", mode, v.at, "Fly says no time for it", "300 seconds without a request")
			}
		},
		"checks":      func(s *service, v *tree) { f.checks(s, v, prefix+"checks") },
		"http_checks": func(s *service, v *tree) { f.checks(s, v, prefix+"http_checks") },
		"tcp_checks":  func(s *service, v *tree) { f.checks(s, v, prefix+"tcp_checks") },
		"force_https": unsaid("ten's router decides on TLS", "")(prefix + "force_https"),
		"ports":       unsaid("requests come through ten's router", "[routing]")(prefix + "ports"),
		"concurrency": unsaid("ten limits no requests", "")(prefix + "concurrency"),
		"min_machines_running": func(s *service, v *tree) {
			n, err := strconv.Atoi(v.str())
			switch {
			case err != nil || n < 0 || n > 100000:
				s.lose(prefix+"min_machines_running", v.brief(), v.at, "it is no number of instances", "")
			case n > 0:
				s.set("min_running", n, v.at, "")
			}
		},
	})
}

func (f *fly) checks(s *service, v *tree, name string) {
	for _, c := range v.each() {
		f.check(s, c, name)
	}
}

func (f *fly) check(s *service, v *tree, name string) {
	if p := v.get("path"); p != nil && s.get("health") == nil {
		s.set("health", p.str(), p.at, "")
	}
	s.readFields(v, name+".", map[string]reading{
		"path": nil, "type": nil, "port": nil, "processes": nil,
		"method": func(s *service, v *tree) {
			if !strings.EqualFold(v.str(), "GET") {
				s.lose(name+".method", v.brief(), v.at, "ten asks by GET", "")
			}
		},
		"grace_period": func(s *service, v *tree) { f.seconds(s, "startup_timeout", 315360000, v) },
		"interval": func(s *service, v *tree) {
			d, err := time.ParseDuration(v.str())
			if n := int((d + time.Second - 1) / time.Second); err == nil && n >= 1 && n <= 315360000 {
				f.draft.setting(s, "health_check_interval", n, v.str(), v.at, "")
				return
			}
			s.lose(name+".interval", v.brief(), v.at, "it is no duration of a second or more", "")
		},
		"timeout": func(s *service, v *tree) {
			if d, err := time.ParseDuration(v.str()); err != nil || d != export.ProbeTimeout {
				s.lose(name+".timeout", v.brief(), v.at, "ten's probe waits "+export.ProbeTimeout.String(), "")
			}
		},
	})
}

// flyVM reads a size: "shared-cpu-1x", with memory as "256mb" or a number of MB.
func flyVM(s *service, v *tree) {
	s.readFields(v, "vm.", map[string]reading{
		"processes": nil,
		"memory": func(s *service, v *tree) {
			text := strings.ToLower(strings.TrimSpace(v.str()))
			factor := 1.0
			for suffix, f := range map[string]float64{"mb": 1, "gb": 1024, "m": 1, "g": 1024, "mib": 1, "gib": 1024} {
				if number, ok := strings.CutSuffix(text, suffix); ok && strings.Trim(number, "0123456789. ") == "" {
					text, factor = strings.TrimSpace(number), f
				}
			}
			n, err := strconv.ParseFloat(text, 64)
			if err != nil || n <= 0 || n*factor > 4294967295 {
				s.lose("vm.memory", v.brief(), v.at, "it is no amount of memory", "")
				return
			}
			s.megabytes(int64(n*factor*(1<<20)), v.str(), v.at)
		},
		"memory_mb": func(s *service, v *tree) {
			n, err := strconv.ParseInt(v.str(), 10, 32)
			if err != nil {
				n = 0
			}
			s.megabytes(n<<20, v.str(), v.at)
		},
		"cpus":     unsaid("ten weighs processor time and caps none", "cpu_shares")("vm.cpus"),
		"cpu_kind": unsaid("ten weighs processor time and caps none", "cpu_shares")("vm.cpu_kind"),
		"size":     unsaid("ten has no sizes", "memory_limit_mb, cpu_shares")("vm.size"),
	})
}

func flyRestart(s *service, v *tree) {
	s.readFields(v, "restart.", map[string]reading{
		"processes": nil,
		"policy": func(s *service, v *tree) {
			switch v.str() {
			case "always", "on-failure", "never":
				s.set("restart", v.str(), v.at, "")
			default:
				s.lose("restart.policy", v.brief(), v.at, "Fly has no such policy", "on-failure")
			}
		},
	})
}
