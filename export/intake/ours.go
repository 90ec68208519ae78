package intake

import (
	"path"
	"regexp"
	"strings"
)

// ours is what a file says that ten export wrote: which instance it is, and what
// ten filled in, so that the way back ends where it began.
type ours struct {
	service, id string
	project     string
	port        string // filled in for {port}; "" where the service fixes it
	data        string // filled in for {instance_dir}
}

// is reports whether ten wrote it.
func (o ours) is() bool { return o.service != "" && o.id != "" }

// ownData reports whether a path is the instance's own directory.
func (o ours) ownData(name string) bool {
	return o.is() && path.IsAbs(name) && strings.HasSuffix(name, path.Join("/", o.service, o.id))
}

// unfilled puts marks back for what ten filled in.
func (o ours) unfilled(text string) string {
	if o.data != "" {
		text = strings.ReplaceAll(text, o.data, dataMark)
	}
	if o.port == "" {
		return text
	}
	return regexp.MustCompile(`\b`+regexp.QuoteMeta(o.port)+`\b`).ReplaceAllString(text, portMark)
}

// ownEnv reports whether ten sets a variable to just that by itself.
func (o ours) ownEnv(name, value string) bool {
	return o.is() && (name == "PORT" || name == "SOCKET_PATH" || name == "HOME" && o.ownData(value))
}

// made is the first line of a unit that ten wrote, and about what it is of.
const made = "# Made by ten export systemd."

var about = regexp.MustCompile(`^(?:Connections to )?([a-z0-9_-]+):([a-z0-9-]+) of ([a-z0-9-]+)$`)

// oursIn finds out whether ten wrote a unit.
func oursIn(src Source, options []option) (o ours, isProxy bool) {
	if !strings.HasPrefix(string(src.Data), made) {
		return ours{}, false
	}
	for _, opt := range options {
		m := about.FindStringSubmatch(opt.value)
		if opt.section == "Unit" && opt.name == "Description" && m != nil {
			o = ours{service: m[1], id: m[2], project: m[3]}
			isProxy = strings.HasPrefix(opt.value, "Connections to ")
		}
	}
	for _, opt := range options {
		name, value, _ := strings.Cut(strings.Trim(opt.value, `"`), "=")
		if opt.section != "Service" || opt.name != "Environment" {
			continue
		}
		if n, ok := portNumber(value); name == "PORT" && ok && n >= 20000 && n < 30000 { // the range ten export chooses from
			o.port = value
		}
		if name == "HOME" && o.ownData(value) {
			o.data = value
		}
	}
	return o, isProxy
}

// oursOf finds out whether ten wrote a Compose service.
func oursOf(t *tree) ours {
	labels := pairs(t.get("labels"))
	o := ours{service: labels["ten.service"], id: labels["ten.instance"]}
	if !o.is() {
		return ours{}
	}
	if p := t.get("ports"); p != nil && len(p.items) > 0 && p.items[0].kind == table {
		if target := p.items[0].get("target").str(); target != p.items[0].get("published").str() {
			o.port = target
		}
	}
	for _, m := range t.get("volumes").each() {
		if target := m.get("target").str(); o.ownData(target) {
			o.data = target
		}
	}
	return o
}

// pairs reads a table of texts, or a list of NAME=VALUE.
func pairs(t *tree) map[string]string {
	all := map[string]string{}
	if t == nil {
		return all
	}
	for _, key := range t.keys {
		all[key] = t.fields[key].str()
	}
	for _, item := range t.items {
		key, value, _ := strings.Cut(item.str(), "=")
		all[key] = value
	}
	return all
}

// merge takes another instance of the same service into account: where the two
// differ by their ids alone, the id is what ten filled in.
func (s *service) merge(other *service, id string) {
	ids, _ := s.get("instances").([]string)
	if len(ids) == 0 {
		return
	}
	general := func(mine, theirs string) string {
		if strings.ReplaceAll(mine, "{id}", id) == theirs {
			return mine
		}
		open := regexp.MustCompile(`\b`+regexp.QuoteMeta(ids[0])+`\b`).ReplaceAllString(mine, "{id}")
		if strings.ReplaceAll(open, "{id}", id) == theirs {
			return open
		}
		s.convert("instances", id, other.at, "ten says for all instances of a service what it says for one", "what "+ids[0]+" says")
		return mine
	}
	for i, f := range s.fields {
		switch mine := f.value.(type) {
		case string:
			if theirs, ok := other.get(f.name).(string); ok {
				s.fields[i].value = general(mine, theirs)
			}
		case []string:
			theirs, _ := other.get(f.name).([]string)
			for j := range mine {
				if f.name == "args" && len(mine) == len(theirs) {
					mine[j] = general(mine[j], theirs[j])
				}
			}
		}
	}
	for i, f := range s.env {
		for _, g := range other.env {
			if f.name == g.name {
				s.env[i].value = general(f.value.(string), g.value.(string))
			}
		}
	}
}
