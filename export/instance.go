package export

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	shellquote "github.com/kballard/go-shellquote"

	"github.com/tenement/ten/schema"
)

// Layout is where a target puts what ten chooses at run time.
type Layout struct {
	Target  string // the target's name, for refusals
	Code    string // where the source of a service lies: "/app"; {name} is filled in
	Data    string // {data_dir} where the config names no absolute one
	Sockets string // the directory of sockets that the config does not fix; {name} and {id} are filled in
	Alone   bool   // each instance has a network of its own
	User    string // who a generated image runs as, "uid:gid"; "" = root
	// Port gives the port of an instance whose service fixes none.
	Port func(s *schema.Service, id string) int
	// Spoils says why the target's tool would not give back a word of a command or
	// a NAME=value, and what to do; why is "" for what it does. nil spoils nothing.
	Spoils func(text string) (why, nearest string)
}

// ContainerPort is the port of a service that fixes none, where each instance
// has a network of its own.
const ContainerPort = 8080

// ContainerLayout is that of targets that run images.
func ContainerLayout(target string) Layout {
	return Layout{
		Target:  target,
		Code:    "/app",
		Data:    "/data",
		Sockets: "/run/ten",
		Alone:   true,
		User:    "10001:10001",
		Port:    func(*schema.Service, string) int { return ContainerPort },
	}
}

// Listen is where a program can be reached.
type Listen string

// A program listens at one of these.
const (
	ListenPort    Listen = "port"
	ListenSocket  Listen = "socket"
	ListenNowhere Listen = "nowhere"
)

// ListenOf tells where a service listens from what it says: nowhere with health
// none unless a port or socket is spoken of, at a socket where only that is.
func ListenOf(s *schema.Service) Listen {
	port := s.Port != 0 || mentions(s, "{port}", "PORT")
	socket := s.Socket != "" || mentions(s, "{socket}", "SOCKET_PATH")
	switch {
	case port:
		return ListenPort
	case socket:
		return ListenSocket
	case s.Health == schema.HealthNone:
		return ListenNowhere
	}
	return ListenPort
}

// mentions reports whether a service speaks of a variable of ten's, or of the
// environment variable that stands for it.
func mentions(s *schema.Service, braces, env string) bool {
	has := func(text string) bool {
		return strings.Contains(text, braces) || strings.Contains(text, "$"+env) || strings.Contains(text, "${"+env)
	}
	return has(s.Command) || slices.ContainsFunc(s.Args, has) || slices.ContainsFunc(slices.Collect(maps.Values(s.Env)), has)
}

// Instance is one instance with everything filled in that ten fills in when it
// starts a program.
type Instance struct {
	Service *schema.Service
	ID      string
	Argv    []string          // at least one word, not empty
	Env     map[string]string // what the user wrote, and PORT or SOCKET_PATH; HOME behind a wall
	Dir     string            // working directory, absolute
	Code    string            // where the service's source lies, absolute
	Data    string            // its own data directory, absolute
	Listen  Listen
	Port    int    // 0 unless Listen is ListenPort
	Socket  string // "" unless Listen is ListenSocket, or the service fixes one
}

// Label is "web:prod", as ten prints an instance.
func (i Instance) Label() string { return i.Service.Name + ":" + i.ID }

// Instances resolves all declared instances, by service and id; there is at least
// one. A service that declares none is a Loss: what nobody declared, nobody but
// ten can start when it is asked for.
func Instances(m *schema.Model, l Layout) ([]Instance, []Loss, error) {
	var (
		all    []Instance
		losses []Loss
	)
	if dir := m.Settings.DataDir; dir != "" && DataDir(m, l) != dir {
		losses = append(losses, Loss{
			Field: "settings.data_dir", Value: dir, Kind: Converted,
			Why: l.Target + " knows no directory that it could count from", Instead: DataDir(m, l),
		})
	}
	for _, s := range m.Services {
		if len(s.Instances) == 0 {
			losses = append(losses, Loss{
				Service: s.Name, Field: "instances", Value: "none declared", Kind: Lost,
				Why:     l.Target + " starts nothing that nobody declared",
				Instead: fmt.Sprintf("declare one: [instances] %s = [\"prod\"]", s.Name),
			})
		}
		if l.Alone && len(s.Instances) > 0 {
			losses = append(losses, loopbacks(s, l)...)
		}
		for _, id := range s.Instances {
			in, err := Resolve(m, s, id, l)
			if err != nil {
				return nil, nil, err
			}
			all = append(all, in)
		}
	}
	if len(all) == 0 {
		return nil, nil, nothing(m, l)
	}
	return all, losses, nil
}

// nothing refuses an export that would be empty.
func nothing(m *schema.Model, l Layout) error {
	if len(m.Services) == 0 {
		return &InvalidError{"config", "", "it declares no service, so there is nothing to export"}
	}
	s := m.Services[0]
	return l.Refuse(s, "instances", "none declared", l.Target+" starts nothing that nobody declared, and no service here declares an instance",
		fmt.Sprintf("declare one: [instances] %s = [\"prod\"]", s.Name))
}

// loopbacks tells of addresses that mean something else where each instance has a
// network of its own.
func loopbacks(s *schema.Service, l Layout) []Loss {
	var losses []Loss
	tell := func(field, text string) {
		for _, host := range []string{"127.0.0.1", "localhost", "[::1]"} {
			if text == host || strings.Contains(text, host+":") {
				losses = append(losses, Loss{
					Service: s.Name, Field: field, Value: text, Kind: Converted,
					Why:     "in " + l.Target + " " + host + " is the instance's own: nobody else reaches it, and it reaches nobody else there",
					Instead: "listen at 0.0.0.0, and call others by their names",
				})
				return
			}
		}
	}
	if words, err := words(s); err == nil {
		for _, w := range words {
			tell("command", w)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.Env)) {
		tell("env."+name, s.Env[name])
	}
	return losses
}

// Resolve fills in one instance. It refuses what no program can be given: a
// command line that does not split, a zero byte, text that is not UTF-8.
func Resolve(m *schema.Model, s *schema.Service, id string, l Layout) (Instance, error) {
	data := DataDir(m, l)
	in := Instance{
		Service: s, ID: id, Listen: ListenOf(s),
		Code: strings.ReplaceAll(l.Code, "{name}", s.Name),
		Data: path.Join(data, s.Name, id),
	}
	number := ""
	if in.Listen == ListenPort {
		if in.Port = s.Port; in.Port == 0 {
			in.Port = l.Port(s, id)
		}
		number = strconv.Itoa(in.Port)
	}
	fill := strings.NewReplacer("{name}", s.Name, "{id}", id, "{data_dir}", data, "{instance_dir}", in.Data)
	switch {
	case s.Socket != "":
		in.Socket = fill.Replace(s.Socket)
	case in.Listen == ListenSocket:
		in.Socket = path.Join(fill.Replace(l.Sockets), s.Name+"-"+id+".sock")
	}
	fill = strings.NewReplacer("{name}", s.Name, "{id}", id, "{data_dir}", data, "{instance_dir}", in.Data,
		"{port}", number, "{socket}", in.Socket)
	words, err := words(s)
	if err != nil {
		return Instance{}, l.Refuse(s, "command", s.Command, err.Error(), "give the words in args")
	}
	for _, w := range words {
		in.Argv = append(in.Argv, fill.Replace(w))
	}
	in.Env = map[string]string{}
	if s.Isolation != "process" {
		in.Env["HOME"] = in.Data
	}
	for name, value := range s.Env {
		in.Env[name] = fill.Replace(value)
	}
	if number != "" {
		in.Env["PORT"] = number
	}
	if in.Socket != "" {
		in.Env["SOCKET_PATH"] = in.Socket
	}
	in.Dir = path.Join(in.Code, path.Join("/", fill.Replace(s.Workdir)))
	if dir := fill.Replace(s.Workdir); path.IsAbs(dir) {
		in.Dir = path.Clean(dir)
	}
	return in, in.check(l)
}

// DataDir is {data_dir}: as the config has it where that is absolute, else the
// layout's.
func DataDir(m *schema.Model, l Layout) string {
	if dir := m.Settings.DataDir; path.IsAbs(dir) && path.Clean(dir) != "/" {
		return path.Clean(dir)
	}
	return l.Data
}

// words splits the command as ten does: by the rules of sh, expanding nothing,
// and not at all where args are given.
func words(s *schema.Service) ([]string, error) {
	if len(s.Args) > 0 {
		return append([]string{s.Command}, s.Args...), nil
	}
	words, err := shellquote.Split(s.Command)
	if err != nil {
		return nil, fmt.Errorf("it does not split into words: %s", strings.ToLower(err.Error()))
	}
	if len(words) == 0 {
		return nil, fmt.Errorf("no word in it")
	}
	return words, nil
}

func (i Instance) check(l Layout) error {
	refuse := func(field, value, text string) error {
		why, nearest := "no program can be given a zero byte or text that is not UTF-8", "write it encoded, and decode it in the program"
		if utf8.ValidString(text) && !strings.ContainsRune(text, 0) {
			if l.Spoils == nil {
				return nil
			}
			if why, nearest = l.Spoils(text); why == "" {
				return nil
			}
		}
		return l.Refuse(i.Service, field, strconv.Quote(value), why, nearest)
	}
	if i.Argv[0] == "" {
		return l.Refuse(i.Service, "command", i.Service.Command, "its first word is empty", "name the program to run")
	}
	for _, w := range i.Argv {
		if err := refuse("command", w, w); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(i.Env)) {
		if err := refuse("env."+name, i.Env[name], name+"="+i.Env[name]); err != nil {
			return err
		}
	}
	for _, f := range [][2]string{{"workdir", i.Dir}, {"socket", i.Socket}} {
		if err := refuse(f[0], f[1], f[1]); err != nil {
			return err
		}
	}
	if i.Port < 0 || i.Port > 65535 {
		return l.Refuse(i.Service, "port", strconv.Itoa(i.Port), "a port is at most 65535", "set port, or declare fewer instances")
	}
	return nil
}

// Refuse makes the error for a service that the target can't hold.
func (l Layout) Refuse(s *schema.Service, field, value, why, nearest string) *RefusedError {
	return &RefusedError{Target: l.Target, Service: s.Name, Field: field, Value: value, At: s.Origin, Why: why, Nearest: nearest}
}
