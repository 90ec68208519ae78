package load

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/tenement/ten/schema"
)

// unit is what one config file declares; all CUE files together are one unit.
// It is remembered from load to load without its values and nodes.
type unit struct {
	path     string
	id       string
	root     *node     // only while the run that read it lasts
	reply    *cueReply // of the unit that the CUE files make
	services []*declared
	settings schema.Values // nil where the unit has no such table
	routing  schema.Values
	// instances are the ids of [instances], by service, in the order written.
	instances map[string][]string
	warnings  []schema.Problem
}

// declared is one service of a unit.
type declared struct {
	name   string
	table  string // "service", "process", or "" for the top level of its file
	at     schema.Position
	path   []string // of its table, from the unit's root
	unit   *unit
	source string // as written; "" = not written, or bad
	wrote  bool   // it names a source
	inline bool   // it lists its instances itself

	// values is set in the run that read the file, and nil where a field is bad.
	values schema.Values
	bad    bool
	// made is the service as assembled last, for the state named by madeOf.
	made   *schema.Service
	madeOf string
}

// readUnit reads a TOML file, or takes what is remembered of it.
func (r *run) readUnit(f ref) (*unit, error) {
	if u, ok := r.loader.units[f.path]; ok && u.id == f.id {
		r.units[f.path] = u
		r.report(u.warnings...)
		return u, nil
	}
	return r.readAnew(f)
}

func (r *run) readAnew(f ref) (*unit, error) {
	u := &unit{path: f.path, id: f.id}
	file, err := r.read(f)
	if err != nil || file == nil {
		return u, err
	}
	before, errors := len(r.problems), r.errors
	root, problems := parseTOML(file)
	r.report(problems...)
	cut := root == nil || slices.ContainsFunc(problems, func(p schema.Problem) bool { return p.Code == "syntax" })
	r.partial = r.partial || cut
	if root == nil {
		return u, nil
	}
	r.checker.cut = cut
	defer func() { r.checker.cut = false }()
	if err := r.check(u, root); err != nil {
		return nil, err
	}
	if r.errors > errors {
		return u, nil // not remembered: the next run must report it again
	}
	u.warnings = slices.Clone(r.problems[before:])
	r.units[f.path] = u
	return u, nil
}

// check judges a unit's tables one after the other.
func (r *run) check(u *unit, root *node) error {
	u.root = root
	c := r.checker
	inServices := path.Dir(u.path) == servicesDir
	if inServices && root.child("service") == nil && root.child("process") == nil {
		c.soleService(u, root)
		return c.err
	}
	for _, key := range root.keys {
		n := root.child(key)
		switch key {
		case "service", "process":
			c.services(u, key, n)
		case "settings", "routing", "instances":
			if inServices {
				p := n.atKey("misplaced", key, "["+key+"] belongs in "+rootFile)
				p.Hint = "move it there"
				c.report(p)
				continue
			}
			c.global(u, key, n)
		default:
			c.unknownTable(n, key)
		}
	}
	return c.err
}

// soleService checks a file whose top level is a service named like the file.
func (c *checker) soleService(u *unit, root *node) {
	name := strings.TrimSuffix(path.Base(u.path), ".toml")
	d := &declared{name: name, unit: u, at: schema.Position{File: u.path, Line: 1, Col: 1}}
	if !schema.ValidServiceName(name) {
		p := whole(u.path, "invalid-name", fmt.Sprintf("the file's name makes a service %q, which is not %s", name, wantsName()), nameHint(name))
		c.report(p)
		return
	}
	root.key = span{0, 0}
	c.declare(d, root)
}

// services checks a table of services.
func (c *checker) services(u *unit, table string, n *node) {
	if n.kind != tableNode {
		p := n.atKey("wrong-type", table, fmt.Sprintf("want tables [%s.NAME], got %s", table, n.kind))
		p.Hint = fmt.Sprintf("write [%s.web]", table)
		c.report(p)
		return
	}
	for _, name := range n.keys {
		c.oneOf(u, table, name, n.child(name))
	}
}

func (c *checker) oneOf(u *unit, table, name string, n *node) {
	where := joinPath(table, name)
	d := &declared{name: name, table: table, path: []string{table, name}, unit: u, at: n.keyPosition()}
	if !schema.ValidServiceName(name) {
		p := n.atKey("invalid-name", where, fmt.Sprintf("%q is not %s", name, wantsName()))
		p.Hint = nameHint(name)
		c.report(p)
		return
	}
	if n.kind != tableNode {
		p := n.atKey("wrong-type", where, fmt.Sprintf("want a table of fields, got %s", n.kind))
		p.Hint = fmt.Sprintf("write [%s.%s] and a line command = \"...\" below it", table, name)
		c.report(p)
		d.bad = true
		u.services = append(u.services, d)
		return
	}
	c.declare(d, n)
}

// declare checks one service's table and remembers what it declares.
func (c *checker) declare(d *declared, n *node) {
	where := joinPath("service", d.name)
	values, ok := c.table(c.service, n, where)
	ok = c.serviceRules(n, where, values) && ok
	d.bad = !ok
	d.values = values
	if source, is := values["source"].(string); is {
		d.source = path.Clean(source)
		values["source"] = d.source // "./web/" is no other source than "web"
	}
	d.wrote = n.child("source") != nil
	_, d.inline = values["instances"]
	d.unit.services = append(d.unit.services, d)
}

// global checks [settings], [routing] or [instances].
func (c *checker) global(u *unit, key string, n *node) {
	if n.kind != tableNode {
		p := n.atKey("wrong-type", key, fmt.Sprintf("want a table, got %s", n.kind))
		p.Hint = "write [" + key + "]"
		c.report(p)
		return
	}
	switch key {
	case "settings":
		u.settings, _ = c.table(c.settings, n, key)
		c.settingsRules(n, u.settings)
	case "routing":
		u.routing, _ = c.table(c.routing, n, key)
	case "instances":
		u.instances = c.instances(n)
	}
}

// instances checks the [instances] table: a list of ids for each service.
func (c *checker) instances(n *node) map[string][]string {
	all := make(map[string][]string, len(n.keys))
	for _, name := range n.keys {
		list := n.child(name)
		where := joinPath("instances", name)
		if !schema.ValidServiceName(name) {
			p := list.atKey("invalid-name", where, fmt.Sprintf("%q is not %s", name, wantsName()))
			p.Hint = nameHint(name)
			c.report(p)
			continue
		}
		if !c.kind(&schema.Field{Name: name, Kind: schema.KindStrings}, list, where) {
			all[name] = nil
			continue
		}
		c.ids(list, where)
		ids := make([]string, len(list.items))
		for i, item := range list.items {
			ids[i] = item.text
			if !schema.ValidInstanceID(item.text) {
				p := item.atValue("invalid-value", fmt.Sprintf("%s[%d]", where, i), fmt.Sprintf("%q is not %s", item.text, wantsID()))
				p.Hint = idHint(item.text)
				c.report(p)
			}
		}
		all[name] = ids
	}
	return all
}

// unknownTable reports a top-level key that is not part of a config.
func (c *checker) unknownTable(n *node, key string) {
	p := n.atKey("unknown-key", key, "there is no such table")
	if c.service.byName[key] != nil {
		p.Message = "a field of a service stands outside of one"
		p.Hint = "put it below a line [service.NAME]"
	} else if near := nearest(key, c.tables); near != "" {
		p.Hint = "did you mean " + near + "?"
	} else {
		p.Hint = "the tables are " + strings.Join(c.tables, ", ")
	}
	c.report(p)
}
