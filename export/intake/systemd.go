package intake

import (
	"bytes"
	"path"
	"slices"
	"strings"

	"github.com/coreos/go-systemd/v22/unit"

	"github.com/tenement/ten/schema"
)

const systemdFix = "mend the file: systemd-analyze verify"

// option is one line of a unit.
type option struct {
	section, name, value string
	at                   schema.Position
}

// readSystemd reads units: each .service is a service, a .socket says where the
// service of its name listens. A template and its instances are one service.
func readSystemd(d *draft, src []Source) error {
	u := &units{draft: d, renamed: map[string]string{}}
	for _, want := range []string{".service", ".socket"} {
		for _, s := range src {
			name := path.Base(s.Name)
			if name == "stdin" {
				name = "app.service"
			}
			if path.Ext(name) != want {
				continue
			}
			options, err := readUnit(s)
			if err != nil {
				return err
			}
			if want == ".service" {
				u.service(s, name, options)
			} else {
				u.socket(s, name, options)
			}
		}
	}
	for _, s := range src {
		if ext := path.Ext(s.Name); ext != ".service" && ext != ".socket" && s.Name != "stdin" {
			d.lose("unit", s.Name, at(s, 0), "ten has nothing like a "+strings.TrimPrefix(ext, "."), "")
		}
	}
	u.settle()
	return nil
}

// readUnit reads one unit with the library, which keeps no places: they are found
// again, line by line, since options come in the order of the file.
func readUnit(src Source) ([]option, error) {
	parsed, err := unit.DeserializeOptions(bytes.NewReader(src.Data))
	if err != nil {
		return nil, &Error{at(src, 0), clean(err.Error()), systemdFix}
	}
	lines := strings.Split(string(src.Data), "\n")
	next := 0
	var options []option
	for _, o := range parsed {
		for i := next; i < len(lines); i++ {
			name, _, ok := strings.Cut(lines[i], "=")
			if ok && strings.TrimSpace(name) == o.Name {
				next = i + 1
				break
			}
		}
		value := strings.NewReplacer("\\\r\n", " ", "\\\n", " ").Replace(o.Value)
		options = append(options, option{o.Section, o.Name, strings.TrimSpace(value), at(src, next)})
	}
	return options, nil
}

// units are all the files of one import.
type units struct {
	draft    *draft
	services []*systemdUnit
	renamed  map[string]string // the unit that ten wrote for an instance, to its service
}

// systemdUnit is a service while it is read.
type systemdUnit struct {
	*service
	ours   ours
	draft  *draft
	prefix string // "web" of web@prod.service
	env    map[string]string
	exec   option
	after  []after
	walls  bool
	listen bool
}

// after is a unit that another one wants to be there first.
type after struct {
	prefix string
	from   option
}

// service takes over one .service. web@.service and web@prod.service are both
// the service web; the second only names an instance.
func (u *units) service(src Source, file string, options []option) {
	name := strings.TrimSuffix(file, ".service")
	o, isProxy := oursIn(src, options)
	if isProxy {
		return // it stands before an instance that sleeps
	}
	prefix, id, isInstance := strings.Cut(name, "@")
	if o.is() {
		u.renamed[name] = o.service
		prefix, id, isInstance = o.service, o.id, true
	}
	known := u.find(prefix)
	switch {
	case known != nil && o.is():
		other := &systemdUnit{ours: o, draft: &draft{}, service: &service{name: prefix, at: at(src, 1)}, env: map[string]string{}}
		other.read(options)
		known.merge(other.service, id)
		known.instance(id, at(src, 1))
		return
	case known != nil && isInstance:
		known.instance(id, at(src, 1))
		return
	}
	s := &systemdUnit{ours: o, draft: u.draft, service: u.draft.add(prefix, at(src, 1)), prefix: prefix, env: map[string]string{}}
	u.services = append(u.services, s)
	if isInstance {
		s.instance(id, at(src, 1))
	}
	s.read(options)
}

// read takes over the lines of one unit.
func (s *systemdUnit) read(options []option) {
	for _, o := range options {
		s.option(o)
	}
	s.command()
	if s.get("isolation") == nil && !s.walls {
		s.set("isolation", "process", s.at, "the unit asks for no walls")
	}
	s.restartDefault()
	s.unsetDefault()
}

// restartDefault: systemd restarts nothing that does not ask for it.
func (s *systemdUnit) restartDefault() {
	if s.get("restart") == nil {
		s.set("restart", "never", s.at, "systemd restarts what asks for it")
	}
}

func (u *units) find(prefix string) *systemdUnit {
	i := slices.IndexFunc(u.services, func(s *systemdUnit) bool { return s.prefix == prefix })
	if i < 0 {
		return nil
	}
	return u.services[i]
}

// instance adds the id of a template's instance.
func (s *systemdUnit) instance(id string, at schema.Position) {
	legal := strings.Trim(strings.ReplaceAll(notInName.ReplaceAllString(strings.ToLower(id), "-"), "_", "-"), "-")
	ids, _ := s.get("instances").([]string)
	if id == "" || len(legal) > 63 || slices.Contains(ids, legal) {
		return
	}
	if legal == "" {
		s.lose("instances", id, at, "an id has lower-case letters, digits and -", "")
		return
	}
	if legal != id {
		s.convert("instances", id, at, "an id has lower-case letters, digits and -", legal)
	}
	s.set("instances", append(ids, legal), at, "")
}

// socket says where a service listens that systemd opens the socket of.
func (u *units) socket(src Source, file string, options []option) {
	if _, isOurs := oursIn(src, options); isOurs && !u.passes(options) {
		return // it wakes an instance, which ten does itself
	}
	name := strings.TrimSuffix(file, ".socket")
	for _, o := range options {
		if o.section == "Socket" && o.name == "Service" {
			name = strings.TrimSuffix(o.value, ".service")
		}
	}
	prefix, _, _ := strings.Cut(name, "@")
	if known, ok := u.renamed[name]; ok {
		prefix = known
	}
	s := u.find(prefix)
	for _, o := range options {
		switch {
		case s == nil:
			u.draft.lose(o.name, o.value, o.at, "there is no "+prefix+".service among the files", "name it too")
		case o.section != "Socket" || o.name == "Service" || o.value == "" || o.name == "Backlog":
		case o.name == "ListenStream" && s.get("listen_fds") == nil:
			s.listenAt(o)
		case o.name == "ListenStream" && s.ours.is(): // of another instance
		default:
			s.lose(o.name, o.value, o.at, "ten opens a socket its own way", "")
		}
	}
}

// passes reports whether a socket is handed to its service as it is.
func (u *units) passes(options []option) bool {
	return !slices.ContainsFunc(options, func(o option) bool {
		return o.section == "Socket" && o.name == "Service" && strings.HasSuffix(o.value, "-proxy.service")
	})
}

// listenAt reads ListenStream=: ten opens the socket and hands it over too.
func (s *systemdUnit) listenAt(o option) {
	text := filled(s.specifiers(o))
	_, after, _ := cutLast(text, ":")
	port, isPort := portNumber(after)
	switch {
	case isPort && s.ours.port == after:
	case isPort:
		s.set("port", port, o.at, "")
	case path.IsAbs(text) && len(text) <= 100 && path.Clean(text) == text && !misspelt(text) && !strings.Contains(text, "{port}") && !strings.Contains(text, "{socket}"):
		s.set("socket", text, o.at, "")
	default:
		s.lose("ListenStream", o.value, o.at, "ten knows sockets by an absolute path, and TCP ports", "")
		return
	}
	s.listen = true
	s.set("listen_fds", true, o.at, "")
}

func cutLast(text, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(text, sep); i >= 0 {
		return text[:i], text[i+len(sep):], true
	}
	return "", text, false
}

// settle draws conclusions from all units.
func (u *units) settle() {
	for _, s := range u.services {
		var deps []schema.Dependency
		for _, a := range s.after {
			if name, ok := u.renamed[a.prefix]; ok {
				a.prefix = name
			}
			if known := u.find(a.prefix); known != nil && known != s {
				deps = append(deps, schema.Dependency{Service: known.foreign, Condition: schema.ConditionStarted})
			} else if known == nil {
				s.lose(a.from.name, a.prefix+".service", a.from.at, "it is none of the units that were named", "name it too")
			}
		}
		if len(deps) > 0 {
			s.set("depends_on", deps, s.at, "")
		}
		if !s.listen && s.get("health") == nil && !strings.Contains(s.exec.value, "PORT") {
			s.set("health", schema.HealthNone, s.at, "nothing says that it listens: there is no .socket of it")
		}
	}
}
