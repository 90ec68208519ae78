package intake

import (
	"slices"
	"strings"
	"time"

	"github.com/zclconf/go-cty/cty"

	"github.com/tenement/ten/export"
	"github.com/tenement/ten/schema"
)

// readNomad reads a job. Each task becomes a service, with what its group says of
// count, restarts and ports.
func readNomad(d *draft, src Source) error {
	root, err := readHCL(src, nomadVariable)
	if err != nil {
		return err
	}
	if root.get("variable") != nil || root.get("locals") != nil {
		if root, err = readHCL(src, withDefaults(root)); err != nil {
			return err
		}
	}
	jobs := root.get("job").each()
	if len(jobs) == 0 {
		return &Error{at(src, 1), "there is no job in it", "is it a Nomad job? It begins with job \"NAME\" {"}
	}
	for _, job := range jobs {
		n := &nomad{draft: d, job: job}
		n.about()
		for _, group := range job.get("group").each() {
			n.group(group)
		}
		for _, task := range job.get("task").each() { // a task may stand without a group
			n.task(newTable(task.at), task, 1)
		}
	}
	return nil
}

// nomadVariable is what Nomad fills in at run time and ten can too.
func nomadVariable(name string) (cty.Value, bool) {
	switch {
	case strings.HasPrefix(name, "NOMAD_PORT_"), strings.HasPrefix(name, "NOMAD_HOST_PORT_"):
		return cty.StringVal(portMark), true
	case name == "NOMAD_TASK_DIR", name == "NOMAD_ALLOC_DIR", name == "NOMAD_SECRETS_DIR":
		return cty.StringVal(dataMark), true
	case name == "NOMAD_TASK_NAME":
		return cty.StringVal(nameMark), true
	case name == "NOMAD_ALLOC_INDEX", name == "NOMAD_ALLOC_ID", name == "NOMAD_ALLOC_NAME":
		return cty.StringVal(idMark), true
	}
	return cty.NilVal, false
}

// withDefaults also knows the job's own variables by their defaults.
func withDefaults(root *tree) func(name string) (cty.Value, bool) {
	defaults := map[string]cty.Value{}
	for _, v := range root.get("variable").each() {
		if d := v.get("default"); d != nil && d.kind == scalar {
			defaults[v.text] = cty.StringVal(d.text)
		}
	}
	return func(name string) (cty.Value, bool) {
		if name == "var" {
			return cty.ObjectVal(defaults), true
		}
		return nomadVariable(name)
	}
}

// nomad is one job being read.
type nomad struct {
	draft *draft
	job   *tree
}

func (n *nomad) about() {
	for _, key := range n.job.keys {
		v := n.job.fields[key]
		switch {
		case slices.Contains([]string{"group", "task", "name", "id", "update"}, key):
		case key == "type" && v.str() == "service":
		case key == "datacenters", key == "region", key == "node_pool", key == "constraint", key == "affinity", key == "spread":
			n.draft.lose(key, v.brief(), v.at, "a config of ten is of one host", "")
		default:
			n.draft.lose(key, v.brief(), v.at, "ten has no word for it", "")
		}
	}
}

func (n *nomad) group(group *tree) {
	tasks := group.get("task").each()
	for i, task := range tasks {
		s := n.task(group, task, len(tasks))
		if i > 0 {
			continue
		}
		s.readFields(group, "group.", map[string]reading{
			"task": nil, "service": nil, "network": nil, "restart": nil, "count": nil, "update": nil,
			"shutdown_delay": nomadDelay,
		})
	}
}

// task is one program. Alone in its group it is called like the group, which is
// what people address.
func (n *nomad) task(group, task *tree, siblings int) *service {
	name := task.text
	if siblings == 1 && group.text != "" {
		name = group.text
	}
	s := n.draft.add(name, task.at)
	if count := group.get("count"); count != nil {
		s.copies(count.str(), count.at)
	}
	n.ports(s, group.get("network").each())
	n.restart(s, group.get("restart").each())
	s.readFields(task, "task.", map[string]reading{
		"driver":         nomadDriver,
		"config":         nil,
		"service":        nil,
		"restart":        func(s *service, v *tree) { n.restart(s, v.each()) },
		"env":            nomadEnv,
		"resources":      func(s *service, v *tree) { n.resources(s, v.each()) },
		"kill_signal":    func(s *service, v *tree) { s.signal(v.str(), v.at) },
		"kill_timeout":   func(s *service, v *tree) { nomadTime(s, "stop_timeout", 3600, v) },
		"shutdown_delay": nomadDelay,
		"user":           unsaid("ten chooses the user", "")("user"),
	})
	n.command(s, task)
	expressions(s, "task", task)
	for _, service := range slices.Concat(group.get("service").each(), task.get("service").each()) {
		n.checks(s, service)
	}
	if s.get("port") == nil && s.get("health") == nil && group.get("network") == nil {
		s.set("health", schema.HealthNone, s.at, "nothing says that it listens: no network with a port")
	}
	n.update(s, group)
	if task.get("kill_timeout") == nil {
		s.set("stop_timeout", 5, s.at, "what Nomad waits")
	}
	if task.get("kill_signal") == nil {
		s.set("stop_signal", "SIGINT", s.at, "what Nomad sends")
	}
	s.unsetDefault()
	return s
}

func (n *nomad) command(s *service, task *tree) {
	for _, c := range task.get("config").each() {
		command, image := c.get("command"), c.get("image")
		s.readFields(c, "config.", map[string]reading{"command": nil, "args": nil, "image": nil, "ports": nil, "jar_path": nil, "jvm_options": nil})
		switch {
		case task.get("driver").str() == "java" && c.get("jar_path") != nil:
			argv := slices.Concat([]string{"java"}, c.get("jvm_options").words(), []string{"-jar", c.get("jar_path").str()}, c.get("args").words())
			s.run(argv, c.get("jar_path").at, "")
			return
		case command != nil:
			s.run(append([]string{command.str()}, c.get("args").words()...), command.at, "")
			if image != nil {
				s.convert("image", image.str(), image.at, "ten runs no images: the program must be on the host or in the repository", "")
			}
			return
		case image != nil:
			s.gap("command", image.at, "the image "+shown(image.str())+" decides what runs, and ten runs programs of the host or of the repository")
			return
		}
	}
	s.gap("command", s.at, "its config names no command")
}

// expressions tells of what only Nomad can work out. In a command it stays as it
// is written, since the words around it are right.
func expressions(s *service, where string, t *tree) {
	if t.open {
		s.lose(where, t.text, t.at, "Nomad works it out when it runs", "write the value here")
	}
	for _, key := range t.keys {
		expressions(s, where+"."+key, t.fields[key])
	}
	for _, item := range t.items {
		expressions(s, where, item)
	}
}

// nomadDriver: raw_exec has no wall, exec has the host's kernel and its own files.
func nomadDriver(s *service, v *tree) {
	switch v.str() {
	case "raw_exec":
		s.set("isolation", "process", v.at, "")
	case "exec", "exec2", "java", "docker", "podman":
	case "qemu":
		s.lose("driver", v.str(), v.at, "ten boots no images", "isolation = \"vm\"")
	default:
		s.lose("driver", v.str(), v.at, "ten has no level that is like it", "namespace")
	}
}

func nomadEnv(s *service, v *tree) {
	for _, block := range v.each() {
		for _, key := range block.keys {
			if block.fields[key].open {
				continue // told of by expressions
			}
			s.setEnv(key, block.fields[key].brief(), block.fields[key].at, "")
		}
	}
}

// ports takes the first port: a fixed one, or where ten may choose.
func (n *nomad) ports(s *service, networks []*tree) {
	first := true
	for _, network := range networks {
		for _, key := range network.keys {
			v := network.fields[key]
			if key == "mode" && v.str() == "none" {
				s.set("network", "none", v.at, "")
			} else if key != "port" && (key != "mode" || v.str() != "host") {
				s.lose("network."+key, v.brief(), v.at, "ten leaves the network to the host", "")
			}
		}
		for _, p := range network.get("port").each() {
			number := p.get("to")
			if number == nil {
				number = p.get("static")
			}
			port, ok := portNumber(number.str())
			switch {
			case !first:
				s.lose("network.port", p.text, p.at, "ten knows one port of a program", "")
			case ok:
				s.set("port", port, number.at, "")
			}
			first = false
		}
	}
}

func (n *nomad) restart(s *service, blocks []*tree) {
	for _, b := range blocks {
		s.readFields(b, "restart.", map[string]reading{
			"attempts": func(s *service, v *tree) {
				if times, ok := whole(v.str()); ok && times >= 0 && times <= 1_000_000 {
					n.draft.setting(s, "max_restarts", times, v.str(), v.at, "")
				}
			},
			"interval": func(s *service, v *tree) {
				if d, err := time.ParseDuration(v.str()); err == nil && d >= time.Second && d <= 315360000*time.Second {
					n.draft.setting(s, "restart_window", int(d/time.Second), v.str(), v.at, "")
				}
			},
			"delay": func(s *service, v *tree) {
				if d, err := time.ParseDuration(v.str()); err == nil && d >= 0 && d <= 24*time.Hour {
					n.draft.setting(s, "backoff_base_ms", int(d/time.Millisecond), v.str(), v.at, "")
				}
			},
			"mode": unsaid("a service of ten's that failed too often stays failed", "ten retry")("restart.mode"),
		})
	}
}

func (n *nomad) resources(s *service, blocks []*tree) {
	for _, b := range blocks {
		s.readFields(b, "resources.", map[string]reading{
			"memory": func(s *service, v *tree) {
				mb, ok := whole(v.str())
				if !ok {
					mb = 0
				}
				s.megabytes(int64(mb)<<20, v.str(), v.at)
			},
			"cpu":   unsaid("Nomad counts MHz, and ten weighs", "cpu_shares")("resources.cpu"),
			"cores": unsaid("ten weighs processor time and hands out no cores", "cpu_shares")("resources.cores"),
		})
	}
}

// checks takes the path of the first HTTP check.
func (n *nomad) checks(s *service, service *tree) {
	for _, check := range service.get("check").each() {
		if p := check.get("path"); p != nil && s.get("health") == nil {
			s.set("health", p.str(), p.at, "")
		} else if kind := check.get("type").str(); kind != "tcp" {
			s.lose("check", kind, check.at, "ten asks one path by HTTP, or connects", "")
		}
		if v := check.get("interval"); v != nil {
			if d, err := time.ParseDuration(v.str()); err == nil && d >= time.Second && d <= 315360000*time.Second {
				n.draft.setting(s, "health_check_interval", int(d/time.Second), v.str(), v.at, "")
			}
		}
		if v := check.get("timeout"); v != nil && v.str() != export.ProbeTimeout.String() {
			s.lose("check.timeout", v.str(), v.at, "ten's probe waits "+export.ProbeTimeout.String(), "")
		}
	}
}

// nomadDelay: both keep a program going while requests end, after it was taken out.
func nomadDelay(s *service, v *tree) {
	s.convert("shutdown_delay", v.brief(), v.at, "ten waits until requests have ended, and no longer than that", "drain_timeout")
	nomadTime(s, "drain_timeout", 3600, v)
}

func nomadTime(s *service, name string, most int, v *tree) {
	d, err := time.ParseDuration(v.str())
	if err != nil {
		s.lose(name, v.brief(), v.at, "it is no duration", "")
		return
	}
	s.seconds(name, d, most, v.str(), v.at)
}
