package intake

import (
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/compose-spec/compose-go/v2/template"

	"github.com/tenement/ten/schema"
)

// readCompose reads a compose.yaml. Its YAML, variables, command lines, ports,
// sizes and durations are read by Compose's own library; only its loader is not
// used, which would read any file that a hostile one names, and whose JSON Schema
// costs every command of ten 8 ms.
func readCompose(d *draft, src Source) error {
	root, err := readYAML(src)
	if err != nil {
		return err
	}
	if root.kind != table {
		return &Error{root.at, "the file is no table of keys", "is it a Compose file? It begins with services:"}
	}
	services := root.get("services")
	if services == nil || services.kind != table {
		return &Error{root.at, "there is no table services in it", "is it a Compose file? It begins with services:"}
	}
	c := &compose{draft: d, src: src, renamed: map[string]string{}}
	if err := c.flat(root, services); err != nil {
		return err
	}
	for _, key := range root.keys {
		switch v := root.fields[key]; {
		case slices.Contains([]string{"services", "name", "version", "volumes"}, key), strings.HasPrefix(key, "x-"), v.kind == null:
		case key == "networks" && len(v.keys) == 1 && v.keys[0] == "default":
		default:
			d.lose(key, v.brief(), v.at, "ten has no word for it", "")
		}
	}
	for _, name := range services.keys {
		if err := c.service(name, services.fields[name]); err != nil {
			return err
		}
	}
	c.settle()
	return nil
}

// compose is one Compose file being read.
type compose struct {
	draft   *draft
	src     Source
	renamed map[string]string // Compose's name of an instance to that of its service
}

const flatten = "flatten it first: docker compose config | ten import compose -"

// flat refuses what only Compose itself can put together, and fills in variables.
func (c *compose) flat(root, services *tree) error {
	if v := root.get("include"); v != nil {
		return &Error{v.at, "it includes other files", flatten}
	}
	for _, name := range services.keys {
		s := services.fields[name]
		if s.kind != table {
			return &Error{s.at, "service " + shown(name) + " is no table of keys", "write image or build beneath it"}
		}
		if v := s.get("extends"); v != nil {
			return &Error{v.at, "service " + shown(name) + " extends another", flatten}
		}
	}
	return nil
}

// container is one Compose service while it is read.
type container struct {
	*compose
	*service
	entrypoint, command []string
	hasEntry, hasCmd    bool
	image               string
	built               *image // of the Dockerfile, where that can be read
	ours                ours
	ports               []port
	listens             bool // something says that it listens
	scratch             bool // ten's own export gave it a data directory that does not last
}

func (c *compose) service(name string, t *tree) error {
	o := oursOf(t)
	given := name
	if o.is() {
		given = o.service
	}
	c.renamed[name] = given
	first := c.draft.named(given)
	if first == nil || !o.is() {
		return c.container(c.draft.add(given, t.at), t, o)
	}
	other := &service{name: first.name, foreign: given, at: t.at}
	if err := c.container(other, t, o); err != nil {
		return err
	}
	first.merge(other, o.id)
	ids, _ := first.get("instances").([]string)
	first.set("instances", append(ids, o.id), first.place("instances"), "")
	return nil
}

func (c *compose) container(into *service, t *tree, o ours) error {
	s := &container{compose: c, service: into, ours: o}
	if o.is() {
		s.set("instances", []string{o.id}, t.get("labels").at, "")
	}
	if err := c.interpolate(s.service, t, ""); err != nil {
		return err
	}
	s.build(t.get("build"))
	s.image = t.get("image").str()
	s.readFields(t, "", s.readings())
	s.run(t)
	s.settle()
	return nil
}

// run decides what the container starts.
func (s *container) run(t *tree) {
	at, note := t.at, ""
	switch {
	case s.hasEntry:
		at = t.get("entrypoint").at
	case s.hasCmd:
		at = t.get("command").at
	}
	argv := slices.Concat(s.entrypoint, s.command)
	for i, w := range argv {
		argv[i] = s.ours.unfilled(w)
	}
	switch {
	case s.built != nil && !s.hasEntry && s.hasCmd:
		argv = slices.Concat(s.built.entrypoint, s.command)
	case s.built != nil && !s.hasEntry:
		s.built.command(s.service)
		return
	case len(argv) == 0 && s.image != "":
		s.gap("command", at, "the image "+shown(s.image)+" decides what runs, and ten runs programs of the host or of the repository")
		return
	case len(argv) == 0:
		s.gap("command", at, "nothing says what runs")
		return
	case s.image != "" && t.get("build") == nil:
		s.convert("image", s.image, t.get("image").at, "ten runs no images: the program must be on the host or in the repository",
			"what the image adds, such as an entrypoint of its own, is not there")
	}
	s.service.run(argv, at, note)
}

// settle draws conclusions from the whole of a container.
func (s *container) settle() {
	if len(s.ports) > 0 {
		s.listens = true
	}
	for i, p := range s.ports {
		switch {
		case i > 0:
			s.lose("ports", p.text, p.at, "ten knows one port of a program", "")
		case s.ours.port == strconv.Itoa(p.target): // ten chose it, and may again
		default:
			s.set("port", p.target, p.at, "")
		}
		if p.published != "" && i == 0 && !s.ours.is() {
			s.convert("ports", p.text, p.at, "requests come through ten's router, not to a port of their own", "route to it: [routing]")
		}
	}
	if !s.listens && s.get("health") == nil {
		s.set("health", schema.HealthNone, s.at, "nothing says that it listens: no ports, no expose, no healthcheck")
	}
	if s.get("restart") == nil {
		s.set("restart", "never", s.at, "Compose restarts what asks for it")
	}
	if s.scratch {
		s.set("storage_persist", false, s.at, "")
	}
	s.unsetDefault()
}

// settle draws conclusions from the whole of a file.
func (c *compose) settle() {
	for _, s := range c.draft.services {
		list, _ := s.get("depends_on").([]schema.Dependency)
		for i := range list {
			if name, ok := c.renamed[list[i].Service]; ok {
				list[i].Service = name
			}
		}
		for _, f := range s.env {
			text, _ := f.value.(string)
			if host := c.hostIn(text, s); host != "" {
				s.lose("env."+f.name, text, f.at, "Compose resolves the host name "+host+", and ten does not", "127.0.0.1 and a fixed port, or a socket in {data_dir}")
			}
		}
	}
}

var hostName = regexp.MustCompile(`(?:^|//|@|,)([a-z0-9][a-z0-9_.-]*)(?::[0-9]+|/|,|$)`)

// hostIn finds the name of another service where a host name stands.
func (c *compose) hostIn(text string, self *service) string {
	for _, m := range hostName.FindAllStringSubmatch(text, -1) {
		if other, ok := c.renamed[m[1]]; ok && other != self.foreign {
			return m[1]
		}
	}
	return ""
}

// interpolate fills in Compose's variables beneath a service. What comes from
// the environment of whoever runs Compose is not known here.
func (c *compose) interpolate(s *service, t *tree, where string) error {
	for _, key := range t.keys {
		if err := c.interpolate(s, t.fields[key], path.Join(where, key)); err != nil {
			return err
		}
	}
	for _, item := range t.items {
		if err := c.interpolate(s, item, where); err != nil {
			return err
		}
	}
	if t.kind != scalar || !strings.Contains(t.text, "$") {
		return nil
	}
	const most, size = 100, 64 << 10 // the library's time grows with the square of both
	if strings.Count(t.text, "$") > most || len(t.text) > size {
		return &Error{t.at, "there are too many variables in one value", "write it shorter, or $$ for a $"}
	}
	unset := func(string) (string, bool) { return "", false }
	text, err := template.SubstituteWithOptions(t.text, unset, template.WithoutLogging)
	known := template.ExtractVariables(map[string]any{"x": t.text}, nil)
	missing := ""
	for name, v := range known {
		if v.DefaultValue == "" && v.PresenceValue == "" && (missing == "" || name < missing) {
			missing = name
		}
	}
	switch {
	case err != nil && missing == "":
		return &Error{t.at, "the variables in " + shown(t.text) + " can't be read", "write $$ for a $"}
	case missing != "":
		s.lose(strings.ReplaceAll(strings.Replace(where, "environment", "env", 1), "/", "."), t.text, t.at, "its variable "+missing+" is set by whoever runs Compose", "write the value here")
	}
	t.text = text
	return nil
}

// build finds the source, and the Dockerfile in it.
func (s *container) build(t *tree) {
	if t == nil {
		return
	}
	context, file := t.str(), "Dockerfile"
	if t.kind == table {
		context = t.get("context").str()
		if f := t.get("dockerfile").str(); f != "" {
			file = f
		}
	}
	if context == "" {
		context = "."
	}
	source, inside := inConfig(s.src, context)
	switch {
	case strings.Contains(context, "://") || strings.HasPrefix(context, "git@"):
		s.lose("build", context, t.at, "the source is in another repository", "a submodule, or a copy in this one")
		return
	case !inside:
		s.lose("build", context, t.at, "it lies outside of the config's directory", "put the config at the root of the repository: -o")
		return
	case !isDir(s.src.Tree, context):
		s.lose("build", context, t.at, "there is no such directory", "")
		return
	}
	if source != "." {
		s.set("source", source, t.at, "")
	}
	s.dockerfile(t, context, file)
	if t.kind == table {
		s.readFields(t, "build.", map[string]reading{"context": nil, "dockerfile": nil, "dockerfile_inline": nil})
	}
}

// dockerfile reads what the image is made of, where it can be.
func (s *container) dockerfile(t *tree, context, file string) {
	name := path.Join(context, file)
	src := Source{Name: path.Join(path.Dir(s.src.Name), name), Dir: s.src.Dir}
	switch inline := t.get("dockerfile_inline"); {
	case inline != nil:
		src.Name, src.Data = s.src.Name, []byte(inline.str())
		if s.ours.is() {
			return // it was made from this service
		}
	case s.src.Tree == nil || !fs.ValidPath(name):
		return
	default:
		data, err := readBeside(s.src.Tree, name)
		if err != nil {
			s.lose("build", name, t.at, "it can't be read: "+err.Error(), "")
			return
		}
		src.Data = data
	}
	built, err := readImage(src, t.get("target").str())
	if err != nil {
		s.lose("build", name, t.at, err.Error(), "")
		return
	}
	s.built = built
	built.apply(s.service)
	s.listens = s.listens || built.listens
}
