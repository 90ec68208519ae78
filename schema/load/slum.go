package load

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tenement/ten/schema"
)

// slum reads slum.toml into the model, where there is one. It is small and judged
// last, since placements name services; nothing of it is remembered but verdicts.
func (r *run) slum(f *ref, model *schema.Model) error {
	if f == nil {
		return nil
	}
	file, err := r.read(*f)
	if err != nil || file == nil {
		return err
	}
	errors := r.errors
	root, problems := parseTOML(file)
	r.report(problems...)
	if root == nil {
		return nil
	}
	cut := slices.ContainsFunc(problems, func(p schema.Problem) bool { return p.Code == "syntax" })
	r.checker.cut = cut
	defer func() { r.checker.cut = false }()
	s := &slumReader{checker: r.checker, root: root, services: r.declaredServices(), partial: r.partial, cut: cut}
	s.read()
	if r.checker.err != nil {
		return r.checker.err
	}
	if model == nil || r.errors > errors {
		return nil
	}
	model.Slum = schema.NewSlum(s.hosts, s.placements)
	return nil
}

// declaredServices are the names of all services, those with faults included.
func (r *run) declaredServices() []*declared {
	var all []*declared
	for _, u := range r.all {
		all = append(all, u.services...)
	}
	return all
}

// slumReader is one reading of slum.toml.
type slumReader struct {
	checker  *checker
	root     *node
	services []*declared
	partial  bool // services that seem to be missing may stand in a file that could not be read
	cut      bool // so may hosts

	hosts      []schema.SlumDeclaration
	placements []schema.SlumDeclaration
}

func (s *slumReader) read() {
	for _, key := range s.root.keys {
		n := s.root.child(key)
		switch key {
		case "host":
			s.tables(n, key, "app-1", `operator = "ssh"`, s.host)
		case "placement":
			s.tables(n, key, "web", `hosts = ["app-1"]`, s.placement)
		default:
			s.unknown(n, key)
		}
	}
}

func (s *slumReader) unknown(n *node, key string) {
	p := n.atKey("unknown-key", key, "there is no such table in "+schema.SlumFile)
	switch near := nearest(key, names(schema.SlumFields())); {
	case near != "":
		p.Hint = "did you mean " + near + "?"
	case slices.Contains(s.checker.tables, key):
		p.Hint = "it belongs in " + rootFile
	case s.checker.host.byName[key] != nil:
		p.Hint = "put it below a line [host.NAME]"
	default:
		p.Hint = "the tables are " + strings.Join(names(schema.SlumFields()), ", ")
	}
	s.checker.report(p)
}

// tables checks that a key holds tables by name, and each of them with one.
func (s *slumReader) tables(n *node, key, example, field string, one func(name string, n *node, where string)) {
	if n.kind != tableNode {
		p := n.atKey("wrong-type", key, fmt.Sprintf("want tables [%s.NAME], got %s", key, n.kind))
		p.Hint = fmt.Sprintf("write [%s.%s]", key, example)
		s.checker.report(p)
		return
	}
	for _, name := range n.keys {
		child, where := n.child(name), joinPath(key, name)
		if child.kind != tableNode {
			p := child.atKey("wrong-type", where, fmt.Sprintf("want a table of fields, got %s", child.kind))
			p.Hint = fmt.Sprintf("write [%s.%s] and a line %s below it", key, name, field)
			s.checker.report(p)
			continue
		}
		one(name, child, where)
	}
}

func (s *slumReader) host(name string, n *node, where string) {
	if !schema.ValidInstanceID(name) {
		p := n.atKey("invalid-name", where, fmt.Sprintf("%q is not %s", name, strings.Replace(wantsID(), "an id", "a name", 1)))
		p.Hint = idHint(name)
		s.checker.report(p)
		return
	}
	values, _ := s.checker.table(s.checker.host, n, where)
	s.hostRules(n, where, values)
	s.hosts = append(s.hosts, schema.SlumDeclaration{Name: name, Origin: n.keyPosition(), Values: values})
}

// operatorFields says which fields have a meaning for which operator, and which of
// them it needs.
func operatorFields(o schema.Operator) (needs, takes []string) {
	if o == schema.OperatorSSH {
		return []string{"address"}, []string{"address", "user", "port"}
	}
	needs = []string{"location", "type", "image", "ssh_keys"}
	return needs, append(needs, "volume_gb")
}

// hostRules judges what the fields of a host mean together.
func (s *slumReader) hostRules(n *node, where string, values schema.Values) {
	operator, ok := values["operator"].(string)
	if !ok {
		return // reported already
	}
	needs, takes := operatorFields(schema.Operator(operator))
	meant := make(map[string]bool) // by a misspelt key
	for _, key := range n.keys {
		if s.checker.host.byName[key] == nil {
			meant[nearest(key, names(s.checker.host.fields))] = true
		}
	}
	for _, f := range schema.HostFields() {
		child, at := n.child(f.Name), joinPath(where, f.Name)
		switch {
		case child == nil && slices.Contains(needs, f.Name) && !meant[f.Name] && !s.cut:
			p := n.atKey("missing-key", at, "is missing: operator "+operator+" needs it")
			p.Hint = fmt.Sprintf("add %s = ...: %s", f.Name, f.Wants)
			s.checker.report(p)
		case child != nil && f.Name != "operator" && f.Name != "region" && !slices.Contains(takes, f.Name):
			p := child.atKey("invalid-value", at, "has no meaning for operator "+operator)
			p.Hint = fmt.Sprintf("take it out: operator %s takes %s", operator, strings.Join(takes, ", "))
			s.checker.report(p)
		case child != nil && f.Name == "ssh_keys" && child.kind == listNode && len(child.items) == 0:
			p := child.atValue("invalid-value", at, "holds no key, so a password would be mailed")
			p.Hint = "add a public key"
			s.checker.report(p)
		}
	}
}

func (s *slumReader) placement(name string, n *node, where string) {
	known := slices.ContainsFunc(s.services, func(d *declared) bool { return d.name == name })
	if !known && !s.partial {
		p := n.atKey("undefined-service", where, fmt.Sprintf("there is no service %q", name))
		p.Hint = undefinedHint(name, s.services)
		s.checker.report(p)
	}
	values, _ := s.checker.table(s.checker.placement, n, where)
	if len(n.keys) == 0 && !s.cut {
		p := n.atKey("missing-key", where, "says neither hosts nor regions")
		p.Hint = `add hosts = ["app-1"], or take the table out: the service then goes to every host`
		s.checker.report(p)
	}
	s.references(n.child("hosts"), joinPath(where, "hosts"), "host", s.hostNames())
	s.references(n.child("regions"), joinPath(where, "regions"), "region", s.regionNames())
	s.placements = append(s.placements, schema.SlumDeclaration{Name: name, Origin: n.keyPosition(), Values: values})
}

// references checks that what a placement names is there, and named once.
func (s *slumReader) references(list *node, where, what string, known []string) {
	if list == nil || list.kind != listNode {
		return
	}
	if len(list.items) == 0 {
		p := list.atValue("invalid-value", where, "names no "+what)
		p.Hint = "name one, or take the field out"
		s.checker.report(p)
	}
	s.checker.ids(list, where)
	for i, item := range list.items {
		if item.kind != stringNode || !schema.ValidInstanceID(item.text) || slices.Contains(known, item.text) || s.cut {
			continue
		}
		p := item.atValue("undefined-"+what, fmt.Sprintf("%s[%d]", where, i), fmt.Sprintf("there is no %s %q", what, item.text))
		switch near := nearest(item.text, known); {
		case near != "":
			p.Hint = "did you mean " + near + "?"
		case what == "host":
			p.Hint = "declare it: [host." + item.text + "]"
		default:
			p.Hint = "give a host that region"
		}
		s.checker.report(p)
	}
}

func (s *slumReader) hostNames() []string {
	if n := s.root.child("host"); n != nil && n.kind == tableNode {
		return n.keys
	}
	return nil
}

// regionNames are those that hosts are in, by region or by location.
func (s *slumReader) regionNames() []string {
	var list []string
	for _, name := range s.hostNames() {
		n := s.root.child("host").child(name)
		region := n.child("region")
		if region == nil {
			region = n.child("location")
		}
		if region != nil && region.kind == stringNode {
			list = append(list, region.text)
		}
	}
	return list
}
