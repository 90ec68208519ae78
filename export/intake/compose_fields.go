package intake

import (
	"bytes"
	"fmt"
	"io/fs"
	"math"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/compose-spec/compose-go/v2/dotenv"
	"github.com/compose-spec/compose-go/v2/format"
	"github.com/compose-spec/compose-go/v2/types"

	"github.com/tenement/ten/export"
	"github.com/tenement/ten/schema"
)

// readings are the keys of a Compose service that are more than a Loss. Those
// with none are read elsewhere, or ten's walls hold what they ask for.
func (s *container) readings() map[string]reading {
	const noNetwork = "ten leaves the network to the host"
	all := map[string]reading{
		"image": nil, "build": nil, "labels": nil, "container_name": nil, "pull_policy": nil, "platform": nil,
		"init": nil, "read_only": nil, "cap_drop": nil, "stdin_open": nil, "tty": nil, "memswap_limit": nil, "attach": nil,
		"entrypoint":        s.readWords(&s.entrypoint, &s.hasEntry),
		"command":           s.readWords(&s.command, &s.hasCmd),
		"environment":       s.readEnvironment,
		"env_file":          s.readEnvFiles,
		"ports":             s.readPorts,
		"expose":            s.readExpose,
		"depends_on":        readDependsOn,
		"healthcheck":       s.readHealth,
		"restart":           s.readRestart,
		"stop_signal":       func(s *service, v *tree) { s.signal(v.str(), v.at) },
		"stop_grace_period": readDuration("stop_timeout", 3600),
		"mem_limit":         readMemory,
		"cpu_shares":        readShares,
		"scale":             s.readScale,
		"deploy":            s.readDeploy,
		"runtime":           readRuntime,
		"security_opt":      readSecurity,
		"volumes":           s.readVolumes,
		"tmpfs":             s.readTmpfs,
		"working_dir":       s.readWorkdir,
		"networks":          s.readNetworks,
		"network_mode":      readNetworkMode,
	}
	for name, why := range map[string]string{
		"privileged": "ten's walls have no door for all of the host", "user": "ten chooses the user", "network_mode": noNetwork,
		"extra_hosts": noNetwork, "dns": noNetwork, "hostname": noNetwork, "links": noNetwork, "profiles": "ten has no profiles: it would always run",
		"cpus": "ten weighs processor time and caps none", "secrets": "ten has no secrets yet", "configs": "ten has no files of its own for a service",
		"logging": "ten keeps what a program prints itself",
	} {
		all[name] = unsaid(why, instead(name))(name)
	}
	return all
}

func instead(name string) string {
	switch name {
	case "cpus":
		return "cpu_shares"
	case "secrets", "configs":
		return "a file on the host, named in env"
	case "logging":
		return "ten logs"
	}
	return ""
}

// readWords reads a command as Compose does: split like a shell would, which
// runs in none.
func (s *container) readWords(into *[]string, there *bool) reading {
	return func(s *service, v *tree) {
		var words types.ShellCommand
		if v.kind == scalar {
			if err := words.DecodeMapstructure(v.text); err != nil {
				s.lose("command", v.text, v.at, "it can't be split into words", "write a list")
				return
			}
		} else {
			words = v.words()
		}
		*into, *there = words, true
	}
}

func (s *container) readEnvironment(_ *service, v *tree) {
	for _, key := range v.keys {
		if value := v.fields[key]; value.kind == null {
			s.lose("env."+key, "", value.at, "its value comes from whoever runs Compose", "write it here")
		} else {
			s.variable(key, value.brief(), value.at, "")
		}
	}
	for _, item := range v.items {
		key, value, ok := strings.Cut(item.str(), "=")
		if !ok {
			s.lose("env."+key, "", item.at, "its value comes from whoever runs Compose", "write it here")
			continue
		}
		s.variable(key, value, item.at, "")
	}
}

// variable passes over what ten's own export filled in.
func (s *container) variable(name, value string, at schema.Position, note string) {
	if !s.ours.ownEnv(name, value) {
		s.setEnv(name, s.ours.unfilled(value), at, note)
	}
}

// readEnvFiles reads the files beside the Compose file; what stands in
// environment goes before them.
func (s *container) readEnvFiles(_ *service, v *tree) {
	for _, item := range v.each() {
		name := item.str()
		if item.kind == table {
			name = item.get("path").str()
		}
		data, err := readBeside(s.src.Tree, name)
		var vars map[string]string
		if err == nil {
			vars, err = envFile(data)
		}
		if err != nil {
			s.lose("env_file", name, item.at, "it can't be read: "+clean(err.Error()), "write its variables into env")
			continue
		}
		for _, key := range slices.Sorted(keysOf(vars)) {
			if _, there := s.envAt[key]; !there {
				s.variable(key, vars[key], item.at, "from "+name)
			}
		}
	}
}

// envFile reads NAME=VALUE lines. What they take from the environment of whoever
// runs Compose is empty; the library would write of that to standard error.
func envFile(data []byte) (map[string]string, error) {
	const most, size = 20, 64 << 10 // A=$A$A doubles with each line
	if n := bytes.Count(data, []byte("$")); n > most || n > 0 && len(data) > size {
		return nil, fmt.Errorf("it has too many variables")
	}
	var own map[string]string
	lookup := func(name string) (string, bool) {
		_, ok := own[name]
		return "", !ok
	}
	own, err := dotenv.ParseWithLookup(bytes.NewReader(data), lookup)
	if err != nil {
		return nil, err
	}
	return dotenv.ParseWithLookup(bytes.NewReader(data), lookup)
}

// port is one port that a container listens on.
type port struct {
	target    int
	published string
	text      string
	at        schema.Position
}

func (s *container) readPorts(_ *service, v *tree) {
	for _, item := range v.each() {
		if item.kind == table {
			if protocol := item.get("protocol").str(); protocol != "" && protocol != "tcp" {
				s.lose("ports", item.brief(), item.at, "ten speaks TCP", "")
				continue
			}
			s.addPort(item.get("target").str(), item.get("published").str(), item)
			continue
		}
		parsed, err := types.ParsePortConfig(item.text)
		if err != nil || len(parsed) == 0 || len(parsed) > 100 {
			s.lose("ports", item.text, item.at, "it can't be read as a port", "port")
			continue
		}
		for _, p := range parsed {
			if p.Protocol != "tcp" {
				s.lose("ports", item.text, item.at, "ten speaks TCP", "")
				continue
			}
			s.addPort(strconv.Itoa(int(p.Target)), p.Published, item)
		}
	}
}

func (s *container) addPort(target, published string, from *tree) {
	n, ok := portNumber(target)
	if !ok {
		s.lose("ports", from.brief(), from.at, "it can't be read as a port", "port")
		return
	}
	s.ports = append(s.ports, port{n, published, from.brief(), from.at})
}

func (s *container) readExpose(_ *service, v *tree) {
	for _, item := range v.each() {
		number, protocol, _ := strings.Cut(item.str(), "/")
		if n, ok := portNumber(number); ok && protocol != "udp" {
			s.listens = true
			if s.get("port") == nil && len(s.ports) == 0 {
				s.set("port", n, item.at, "")
			}
			continue
		}
		s.lose("expose", item.brief(), item.at, "ten knows one TCP port of a program", "")
	}
}

func readDependsOn(s *service, v *tree) {
	var deps []schema.Dependency
	for _, name := range v.keys {
		condition := schema.ConditionStarted
		switch c := v.fields[name].get("condition").str(); c {
		case types.ServiceConditionHealthy:
			condition = schema.ConditionHealthy
		case "", types.ServiceConditionStarted:
		default:
			s.convert("depends_on", name, v.fields[name].at, "ten waits for services that run, not for ones that end ("+shown(c)+")", "started")
		}
		deps = append(deps, schema.Dependency{Service: name, Condition: condition})
	}
	for _, name := range v.words() {
		if v.kind == list {
			deps = append(deps, schema.Dependency{Service: name, Condition: schema.ConditionStarted})
		}
	}
	if len(deps) > 0 {
		s.set("depends_on", deps, v.at, "")
	}
}

func (s *container) readHealth(_ *service, v *tree) {
	test := v.get("test")
	words := test.words()
	if v.get("disable").yes() || len(words) > 0 && words[0] == "NONE" {
		return
	}
	s.listens = true
	s.probe(test, words)
	s.readFields(v, "healthcheck.", map[string]reading{
		"test": nil, "disable": nil,
		"interval":     s.readInterval,
		"start_period": readDuration("startup_timeout", 315360000),
		"timeout": func(s *service, v *tree) {
			if d, ok := duration(v); !ok || d != export.ProbeTimeout {
				s.lose("healthcheck.timeout", v.brief(), v.at, "ten's probe waits "+export.ProbeTimeout.String(), "")
			}
		},
		"retries": func(s *service, v *tree) {
			if v.str() != strconv.Itoa(export.UnhealthyAfter) {
				s.lose("healthcheck.retries", v.brief(), v.at, fmt.Sprintf("an instance is unhealthy after %d failed probes", export.UnhealthyAfter), "")
			}
		},
	})
}

// probe finds out what a health check asks for.
func (s *container) probe(test *tree, words []string) {
	if test == nil {
		return
	}
	if asked, connects, ok := tenProbe(words); ok {
		if !connects {
			s.set("health", asked, test.at, "")
		}
		return
	}
	if asked, ok := healthPath(strings.Join(words, " ")); ok {
		s.set("health", asked, test.at, "was "+shown(strings.Join(words, " ")))
		return
	}
	s.lose("healthcheck.test", strings.Join(words, " "), test.at, "ten asks by HTTP or connects, and runs nothing for it", "it is well when it accepts a connection")
}

func (s *container) readInterval(_ *service, v *tree) {
	d, ok := duration(v)
	seconds := int(math.Ceil(d.Seconds()))
	if !ok || seconds < 1 || seconds > 315360000 {
		s.lose("healthcheck.interval", v.brief(), v.at, "it is no duration", "")
		return
	}
	s.draft.setting(s.service, "health_check_interval", seconds, v.brief(), v.at, "")
}

// readRestart: Compose restarts nothing that does not ask for it.
func (s *container) readRestart(_ *service, v *tree) {
	policy, times, counted := strings.Cut(v.str(), ":")
	switch policy {
	case "always":
		s.set("restart", "always", v.at, "")
	case "unless-stopped":
		s.set("restart", "always", v.at, "was unless-stopped")
	case "no", "none", "false", "":
		s.set("restart", "never", v.at, "")
	case "on-failure":
		s.set("restart", "on-failure", v.at, "")
		if n, err := strconv.Atoi(times); counted && err == nil && n >= 0 && n <= 1_000_000 {
			s.draft.setting(s.service, "max_restarts", n, v.str(), v.at, "")
		}
	default:
		s.lose("restart", v.str(), v.at, "Compose has no such policy", "on-failure")
	}
}

func duration(v *tree) (time.Duration, bool) {
	var d types.Duration
	err := d.DecodeMapstructure(v.str())
	return time.Duration(d), err == nil && v.str() != ""
}

func readDuration(name string, most int) reading {
	return func(s *service, v *tree) {
		if d, ok := duration(v); ok {
			s.seconds(name, d, most, v.str(), v.at)
			return
		}
		s.lose(name, v.brief(), v.at, "it is no duration", "")
	}
}

func readMemory(s *service, v *tree) {
	var bytes types.UnitBytes
	if err := bytes.DecodeMapstructure(v.str()); err != nil {
		s.lose("memory_limit_mb", v.brief(), v.at, "it is no amount of memory", "")
		return
	}
	if bytes > 0 { // 0 is no limit
		s.megabytes(int64(bytes), v.str(), v.at)
	}
}

// readShares turns Docker's shares into the weight that current runtimes make of
// them: ceil(10^((l*l+125*l)/612 - 7/34)) with l their binary logarithm.
func readShares(s *service, v *tree) {
	n, err := strconv.ParseInt(v.str(), 10, 64)
	if err != nil || n < 0 {
		s.lose("cpu_shares", v.brief(), v.at, "it is no number of shares", "")
		return
	}
	if n == 0 {
		return
	}
	l := math.Log2(float64(min(max(n, 2), 262144)))
	weight := int(math.Ceil(math.Pow(10, (l*l+125*l)/612-7.0/34)))
	weight = min(max(weight, 1), 10000)
	s.set("cpu_shares", weight, v.at, fmt.Sprintf("%d of Docker's shares", n))
}

func readRuntime(s *service, v *tree) {
	switch name := v.str(); {
	case strings.HasPrefix(name, "runsc"):
		s.set("isolation", "sandbox", v.at, "")
	case strings.HasPrefix(name, "kata"):
		s.set("isolation", "vm", v.at, "")
	case name != "runc" && name != "crun":
		s.lose("runtime", name, v.at, "ten has no level that is like it", "namespace")
	}
}

func readSecurity(s *service, v *tree) {
	for _, item := range v.each() {
		if !strings.HasPrefix(item.str(), "no-new-privileges") {
			s.lose("security_opt", item.brief(), item.at, "ten's walls have settings of their own", "")
		}
	}
}

func (s *container) readWorkdir(_ *service, v *tree) {
	if !s.ours.is() {
		s.lose("working_dir", v.str(), v.at, "it is a directory of the image", "workdir, beneath the source")
	}
}

func (s *container) readNetworks(_ *service, v *tree) {
	for _, name := range append(slices.Clone(v.keys), v.words()...) {
		if name != "default" {
			s.lose("networks", name, v.at, "ten leaves the network to the host", "")
		}
	}
}

// readNetworkMode: host is what ten does without being told.
func readNetworkMode(s *service, v *tree) {
	switch v.str() {
	case "host":
	case "none":
		s.set("network", "none", v.at, "")
	default:
		s.lose("network_mode", v.str(), v.at, "ten has the network of the host, and none", "")
	}
}

func (s *container) readTmpfs(_ *service, v *tree) {
	for _, item := range v.each() {
		target, _, _ := strings.Cut(item.str(), ":")
		s.mount("tmpfs", "", target, item)
	}
}

func (s *container) readVolumes(_ *service, v *tree) {
	for _, item := range v.each() {
		if item.kind == table {
			s.mount(item.get("type").str(), item.get("source").str(), item.get("target").str(), item)
			continue
		}
		volume, err := format.ParseVolume(item.str())
		if err != nil {
			s.lose("volumes", item.brief(), item.at, "it can't be read as a volume", "")
			continue
		}
		s.mount(volume.Type, volume.Source, volume.Target, item)
	}
}

// mount is one more place in a container. An instance of ten has one directory
// of its own, and /tmp.
func (s *container) mount(kind, source, target string, from *tree) {
	switch {
	case kind == types.VolumeTypeTmpfs && (target == "/tmp" || target == "/dev/shm"):
	case s.ours.ownData(target):
		s.scratch = kind != types.VolumeTypeVolume
	case kind == types.VolumeTypeTmpfs && s.ours.is():
	case kind == types.VolumeTypeBind:
		s.lose("volumes", from.brief(), from.at, "ten mounts nothing of the host", "the program sees the host's files read-only, and its source")
	case kind == types.VolumeTypeVolume:
		s.convert("volumes", from.brief(), from.at, "an instance has one directory to keep data in", "let the program keep what was in "+shown(target)+" in {instance_dir}")
	default:
		s.lose("volumes", from.brief(), from.at, "ten mounts nothing of that kind", "")
	}
}

// isDir reports whether a directory is there, or might be.
func isDir(tree fs.FS, name string) bool {
	if tree == nil || !fs.ValidPath(path.Clean(name)) {
		return true
	}
	info, err := fs.Stat(tree, path.Clean(name))
	return err == nil && info.IsDir()
}
