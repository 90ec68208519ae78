package intake

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// option takes over one line. Options that a level of ten holds in its own way
// are told of once.
func (s *systemdUnit) option(o option) {
	switch o.section {
	case "Unit":
		s.unitOption(o)
	case "Service":
		s.serviceOption(o)
	case "Install":
	default:
		if !strings.HasPrefix(o.section, "X-") {
			s.lose(o.section+"."+o.name, o.value, o.at, "ten has no word for it", "")
		}
	}
}

func (s *systemdUnit) unitOption(o option) {
	switch o.name {
	case "Description":
		if !s.ours.is() {
			s.note = o.value
		}
	case "Documentation", "Before", "WantedBy", "PartOf", "DefaultDependencies", "StopWhenUnneeded":
	case "After", "Requires", "Wants", "BindsTo":
		for _, name := range strings.Fields(o.value) {
			prefix, _, _ := strings.Cut(strings.TrimSuffix(name, ".service"), "@")
			switch {
			case strings.HasSuffix(name, ".service"):
				s.after = append(s.after, after{prefix, o})
			case !strings.HasSuffix(name, ".target") && !strings.HasSuffix(name, ".socket") && !strings.HasSuffix(name, ".slice"):
				s.lose(o.name, name, o.at, "ten waits for services", "")
			}
		}
	case "StartLimitBurst":
		s.number(o, func(n int) { s.setting("max_restarts", n-1, 1_000_000, o) }) // the first start counts too
	case "StartLimitIntervalSec", "StartLimitInterval":
		s.span(o, func(d time.Duration) { s.setting("restart_window", int(d/time.Second), 315360000, o) })
	default:
		s.lose(o.name, o.value, o.at, "ten has no word for it", "")
	}
}

// walls are the options by which systemd confines a service. ten's namespace
// level has walls of its own for all of them.
func confines(name string) bool {
	for _, prefix := range []string{"Protect", "Private", "Restrict", "SystemCall", "Capability", "Ambient", "ReadWrite", "ReadOnly", "Inaccessible", "Bind", "NoExec", "Exec", "IPAddress", "Device", "Temporary", "Keyring", "SocketBind"} {
		if strings.HasPrefix(name, prefix) && !strings.HasPrefix(name, "ExecSt") && name != "ExecReload" && name != "ExecCondition" {
			return true
		}
	}
	return slices.Contains([]string{"NoNewPrivileges", "LockPersonality", "MemoryDenyWriteExecute", "RemoveIPC", "UMask", "DynamicUser", "ProcSubset", "SecureBits", "MountFlags", "TasksMax", "MemorySwapMax", "RootDirectory", "RootImage", "MountAPIVFS", "SetLoginEnvironment"}, name)
}

func (s *systemdUnit) serviceOption(o option) {
	if s.ours.is() && s.ownOption(o) {
		return
	}
	switch o.name {
	case "ExecStart":
		if o.value != "" && s.exec.value != "" {
			s.lose("ExecStart", o.value, o.at, "an instance runs one program", "")
			return
		}
		s.exec = o
	case "Environment":
		s.environment(o)
	case "WorkingDirectory":
		s.workdir(o)
	case "Restart":
		s.restart(o)
	case "RestartSec":
		s.span(o, func(d time.Duration) { s.setting("backoff_base_ms", int(d/time.Millisecond), 86400000, o) })
	case "TimeoutStartSec":
		s.span(o, func(d time.Duration) { s.seconds("startup_timeout", d, 315360000, o.value, o.at) })
	case "TimeoutStopSec":
		s.span(o, func(d time.Duration) { s.seconds("stop_timeout", d, 3600, o.value, o.at) })
	case "TimeoutSec":
		s.span(o, func(d time.Duration) {
			s.seconds("startup_timeout", d, 315360000, o.value, o.at)
			s.seconds("stop_timeout", d, 3600, o.value, o.at)
		})
	case "KillSignal":
		s.signal(o.value, o.at)
	case "MemoryMax", "MemoryLimit":
		s.memory(o)
	case "CPUWeight":
		s.number(o, func(n int) {
			if n < 1 || n > 10000 {
				s.lose(o.name, o.value, o.at, "a weight is 1 to 10000", "")
				return
			}
			s.set("cpu_shares", n, o.at, "")
		})
	case "Type", "ExitType", "SyslogIdentifier", "StandardOutput", "StandardError", "StandardInput", "MemoryAccounting", "CPUAccounting", "TasksAccounting", "KillMode":
		if o.name == "Type" && !slices.Contains([]string{"simple", "exec", ""}, o.value) {
			s.lose(o.name, o.value, o.at, "ten counts a program as started when it runs, and asks it whether it is well", "health")
		}
	case "StateDirectory":
		s.convert(o.name, o.value, o.at, "an instance has one directory to keep data in", "{instance_dir}")
	default:
		s.otherOption(o)
	}
}

// ownOption passes over what ten export wrote of its own accord.
func (s *systemdUnit) ownOption(o option) bool {
	switch o.name {
	case "User", "Group":
		return true
	case "ExecStartPost":
		words, err := systemdWords(strings.ReplaceAll(o.value, "%%", "%"))
		if err != nil || len(words) < 5 || words[len(words)-2] == "" {
			return false
		}
		s.listen = true
		if last := words[len(words)-1]; strings.HasPrefix(last, "/") {
			s.set("health", last, o.at, "")
		}
		return true
	case "PrivateNetwork":
		if o.value == "yes" {
			s.set("network", "none", o.at, "")
		}
	case "WorkingDirectory":
		rest, own := strings.CutPrefix(o.value, "/opt/"+s.ours.project)
		if source := strings.TrimPrefix(rest, "/"); own && source != "" && path.Clean(source) == source {
			s.set("source", source, o.at, "")
		}
		return own
	}
	return confines(o.name) && s.ownWall()
}

func (s *systemdUnit) ownWall() bool {
	s.walls = true
	return true
}

func (s *systemdUnit) otherOption(o option) {
	switch {
	case confines(o.name):
		if !s.walls {
			s.convert(o.name, o.value, o.at, "each level of ten has walls of its own; this and the like are not taken over one by one", "isolation = \"namespace\"")
		}
		s.walls = true
	case o.name == "User" || o.name == "Group" || o.name == "SupplementaryGroups":
		s.lose(o.name, o.value, o.at, "ten chooses the user", "")
	case o.name == "EnvironmentFile":
		s.lose(o.name, o.value, o.at, "it is a file of the host", "write its variables into env")
	case strings.HasPrefix(o.name, "Exec"):
		s.lose(o.name, o.value, o.at, "an instance runs one program", "a script that is the command")
	default:
		s.lose(o.name, o.value, o.at, "ten has no word for it", "")
	}
}

func (s *systemdUnit) number(o option, use func(n int)) {
	if n, err := strconv.Atoi(o.value); err == nil {
		use(n)
		return
	}
	s.lose(o.name, o.value, o.at, "it is no number", "")
}

func (s *systemdUnit) span(o option, use func(d time.Duration)) {
	if o.value == "" {
		return
	}
	if d, ok := systemdSpan(o.value); ok {
		use(d)
		return
	}
	s.lose(o.name, o.value, o.at, "ten waits for a bounded time", "")
}

// setting gives a setting of the host its value, within the bounds of ten.
func (s *systemdUnit) setting(name string, value, most int, o option) {
	least := 0
	if name == "restart_window" {
		least = 1
	}
	if value < least || value > most {
		s.lose(o.name, o.value, o.at, fmt.Sprintf("%s is %d to %d", name, least, most), "")
		return
	}
	s.draft.setting(s.service, name, value, o.value, o.at, "")
}

func (s *systemdUnit) restart(o option) {
	switch o.value {
	case "no", "":
		s.set("restart", "never", o.at, "")
	case "always":
		s.set("restart", "always", o.at, "")
	case "on-failure":
		s.set("restart", "on-failure", o.at, "")
	case "on-abnormal", "on-abort", "on-watchdog":
		s.set("restart", "on-failure", o.at, "")
		s.convert("Restart", o.value, o.at, "ten tells failures apart no further", "on-failure")
	default:
		s.lose("Restart", o.value, o.at, "ten restarts always, on failure, or never", "")
	}
}

// memory reads MemoryMax=: bytes, with K, M, G and T to the base 1024.
func (s *systemdUnit) memory(o option) {
	if o.value == "infinity" || o.value == "" {
		return
	}
	units := map[string]int64{"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
	number, factor := o.value, int64(1)
	if f, ok := units[strings.ToUpper(number[len(number)-1:])]; ok {
		number, factor = number[:len(number)-1], f
	}
	n, err := strconv.ParseFloat(number, 64)
	if err != nil || n < 0 || n*float64(factor) > 1<<60 {
		s.lose("MemoryMax", o.value, o.at, "it is no amount of memory", "memory_limit_mb")
		return
	}
	s.megabytes(int64(n*float64(factor)), o.value, o.at)
}

func (s *systemdUnit) workdir(o option) {
	dir := strings.TrimPrefix(s.specifiers(o), "-")
	switch {
	case dir == "":
	case !path.IsAbs(dir):
		s.lose("WorkingDirectory", o.value, o.at, "ten knows no home of a user", "")
	case dir != path.Clean(dir) || misspelt(dir):
		s.lose("WorkingDirectory", o.value, o.at, "it is no plain path", "")
	default:
		s.set("workdir", filled(dir), o.at, "")
	}
}

func (s *systemdUnit) environment(o option) {
	o.value = s.specifiers(o)
	words, err := systemdWords(o.value)
	if err != nil {
		s.lose("Environment", o.value, o.at, err.Error(), "")
		return
	}
	for _, w := range words {
		name, value, ok := strings.Cut(w, "=")
		if !ok {
			s.lose("Environment", w, o.at, "it sets nothing", "")
			continue
		}
		s.env[name] = value
		switch {
		case name == "PORT" && s.ours.is() && value != s.ours.port:
			s.setEnv(name, value, o.at, "")
		case name == "SOCKET_PATH" && s.ours.is():
			s.set("socket", value, o.at, "")
			s.listen = true
		case !s.ours.ownEnv(name, value):
			s.setEnv(name, s.ours.unfilled(value), o.at, "")
		}
	}
}

// command takes over ExecStart=.
func (s *systemdUnit) command() {
	line := s.specifiers(s.exec)
	literal := false // : keeps systemd from filling in variables
	for line != "" && strings.ContainsRune("@-:+!|", rune(line[0])) {
		if line[0] == ':' {
			literal = true
			line = line[1:]
			continue
		}
		s.lose("ExecStart", line[:1], s.exec.at, "ten has no such prefix", "")
		line = line[1:]
	}
	words, err := systemdWords(line)
	switch {
	case s.exec.name == "":
		s.gap("command", s.at, "it has no ExecStart")
		return
	case err != nil:
		s.gap("command", s.exec.at, err.Error())
		return
	}
	var argv []string
	for _, w := range s.withoutEnv(words) {
		if w = s.ours.unfilled(w); literal {
			argv = append(argv, w)
		} else {
			argv = append(argv, s.expand(w)...)
		}
	}
	s.run(argv, s.exec.at, "")
}

// withoutEnv leaves out the env that ten export starts programs with, and gives
// the variables that it sets there.
func (s *systemdUnit) withoutEnv(words []string) []string {
	if !s.ours.is() || len(words) < 2 || words[0] != "/usr/bin/env" {
		return words
	}
	words = words[1:]
	if len(words) > 2 && words[0] == "-C" {
		words = words[2:]
	}
	if len(words) > 1 && words[0] == "--" {
		words = words[1:]
	}
	for len(words) > 1 && strings.Contains(words[0], "=") {
		name, value, _ := strings.Cut(words[0], "=")
		if !s.ours.ownEnv(name, value) {
			s.setEnv(name, s.ours.unfilled(value), s.exec.at, "")
		}
		words = words[1:]
	}
	return words
}

// expand fills in variables as systemd does, which is no shell: ${A} anywhere,
// $A as a word of its own, which is split.
func (s *systemdUnit) expand(word string) []string {
	if name, ok := strings.CutPrefix(word, "$"); ok && isAssignment(name+"=") {
		if name == "PORT" {
			return []string{portMark}
		}
		value, known := s.env[name]
		if !known {
			s.lose("ExecStart", word, s.exec.at, "ten fills in no variables of the environment", "")
		}
		return strings.Fields(value)
	}
	var b strings.Builder
	for i := 0; i < len(word); i++ {
		rest := word[i:]
		end := strings.IndexByte(rest, '}')
		switch {
		case strings.HasPrefix(rest, "$$"):
			b.WriteByte('$')
			i++
		case strings.HasPrefix(rest, "${PORT}"):
			b.WriteString(portMark)
			i += len("${PORT}") - 1
		case strings.HasPrefix(rest, "${") && end > 2 && isAssignment(rest[2:end]+"="):
			value, known := s.env[rest[2:end]]
			if !known {
				s.lose("ExecStart", rest[:end+1], s.exec.at, "ten fills in no variables of the environment", "")
			}
			b.WriteString(value)
			i += end
		default:
			b.WriteByte(word[i])
		}
	}
	return []string{b.String()}
}

// specifiers fills in %i and %n, which ten can, and tells of the others.
func (s *systemdUnit) specifiers(o option) string {
	var b strings.Builder
	for i := 0; i < len(o.value); i++ {
		c := o.value[i]
		if c != '%' || i+1 == len(o.value) {
			b.WriteByte(c)
			continue
		}
		i++
		switch o.value[i] {
		case '%':
			b.WriteByte('%')
		case 'i', 'I':
			b.WriteString(idMark)
		case 'p', 'P':
			b.WriteString(nameMark)
		default:
			s.lose(o.name, "%"+o.value[i:i+1], o.at, "ten has no such specifier", "{name}, {id}, {instance_dir}")
			b.WriteString("%" + o.value[i:i+1])
		}
	}
	return b.String()
}
