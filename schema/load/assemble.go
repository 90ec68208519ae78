package load

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/tenement/ten/schema"
)

// assemble puts the units together: duplicates, source trees, defaults, and the
// rules that hold between services. It returns what can be judged of the model
// even when there were problems; nil when nothing can.
func (r *run) assemble(units []*unit, found *layout) (*schema.Model, error) {
	services := r.unique(units)
	if len(services) > schema.MaxServices {
		r.report(whole(rootFile, "too-many", fmt.Sprintf("there are %d services; a repository may declare %d", len(services), schema.MaxServices),
			"split the repository, or give each host its part with --path"))
		return nil, nil
	}
	ids, err := r.instances(units, services)
	if err != nil {
		return nil, err
	}
	model := &schema.Model{ConfigFiles: found.configFiles()}
	settings, routing, err := r.globals(units)
	if err != nil {
		return nil, err
	}
	model.Settings = schema.NewSettings(settings)
	model.Routing = schema.NewRouting(routing)
	model.Fields = schema.ModelFields(settings, routing)
	left := newOmission(model.ConfigFiles)
	for _, d := range services {
		s, err := r.make(d, ids[d.name], left)
		if err != nil {
			return nil, err
		}
		if s != nil {
			model.Services = append(model.Services, s)
		}
	}
	if err := r.between(model, services); err != nil {
		return nil, err
	}
	for _, p := range r.problems {
		if p.Severity == schema.Warning {
			model.Warnings = append(model.Warnings, p)
		}
	}
	sortProblems(model.Warnings)
	return model, nil
}

// unique gives the declared services by name, and reports second ones.
func (r *run) unique(units []*unit) []*declared {
	first := make(map[string]*declared)
	var list []*declared
	for _, u := range units {
		for _, d := range u.services {
			if other := first[d.name]; other != nil {
				r.reportTwice(d, other)
				continue
			}
			first[d.name] = d
			list = append(list, d)
		}
	}
	slices.SortFunc(list, func(a, b *declared) int { return strings.Compare(a.name, b.name) })
	return list
}

func (r *run) reportTwice(d, first *declared) {
	if r.full() {
		r.skip()
		return
	}
	p := schema.Problem{
		Position: d.at, Severity: schema.Error, Code: "duplicate", Path: joinPath("service", d.name),
		Message: "is declared twice", Related: []schema.Position{first.at},
		Hint: "keep one of the two, or give this one another name",
	}
	if d.table != first.table && d.unit == first.unit {
		p.Message = "is declared twice: [process.X] is another spelling of [service.X]"
	}
	if root, err := r.nodes(d.unit); err == nil {
		p.Excerpt = root.find(d.path...).atKey("", "", "").Excerpt
	}
	r.report(p)
}

// instances gives the ids that [instances] tables declare, by service.
func (r *run) instances(units []*unit, services []*declared) (map[string][]string, error) {
	byName := make(map[string]*declared, len(services))
	for _, d := range services {
		byName[d.name] = d
	}
	all := make(map[string][]string)
	from := make(map[string]*unit)
	for _, u := range units {
		for _, name := range slices.Sorted(maps.Keys(u.instances)) {
			d, other := byName[name], from[name]
			if err := r.checkInstances(u, name, d, other, services); err != nil {
				return nil, err
			}
			if other == nil {
				all[name] = u.instances[name]
				from[name] = u
			}
		}
	}
	return all, nil
}

// checkInstances judges one line of [instances] against the rest.
func (r *run) checkInstances(u *unit, name string, d *declared, other *unit, known []*declared) error {
	undefined := d == nil && !r.partial
	if !undefined && other == nil && (d == nil || !d.inline) {
		return nil
	}
	if r.full() {
		r.skip()
		return nil
	}
	root, err := r.nodes(u)
	if err != nil {
		return err
	}
	where := joinPath("instances", name)
	n := root.child("instances").find(name)
	switch {
	case other != nil:
		p := n.atKey("duplicate", where, "is declared twice")
		first, err := r.nodes(other)
		if err != nil {
			return err
		}
		p.Related = append(p.Related, first.child("instances").find(name).keyPosition())
		p.Hint = "keep one of the two"
		r.report(p)
	case undefined:
		p := n.atKey("undefined-service", where, fmt.Sprintf("there is no service %q", name))
		p.Hint = undefinedHint(name, known)
		r.report(p)
	default:
		p := n.atKey("duplicate", where, "the service lists its instances itself")
		first, err := r.nodes(d.unit)
		if err != nil {
			return err
		}
		p.Related = append(p.Related, first.find(append(slices.Clone(d.path), "instances")...).keyPosition())
		p.Hint = "keep one of the two lists"
		r.report(p)
	}
	return nil
}

func undefinedHint(name string, known []*declared) string {
	names := make([]string, len(known))
	for i, d := range known {
		names[i] = d.name
	}
	if near := nearest(name, names); near != "" {
		return "did you mean " + near + "?"
	}
	return "declare it: [service." + name + "]"
}

// globals merges the [settings] and [routing] of all units, each field once.
func (r *run) globals(units []*unit) (settings, routing schema.Values, err error) {
	settings, routing = schema.Values{}, schema.Values{}
	from := make(map[string]*unit)
	merge := func(into, v schema.Values, u *unit, table string) error {
		for _, name := range slices.Sorted(maps.Keys(v)) {
			if other := from[table+"."+name]; other != nil {
				if err := r.reportGlobalTwice(u, other, table, name); err != nil {
					return err
				}
				continue
			}
			from[table+"."+name] = u
			into[name] = v[name]
		}
		return nil
	}
	for _, u := range units {
		if err := merge(settings, u.settings, u, "settings"); err != nil {
			return nil, nil, err
		}
		if err := merge(routing, u.routing, u, "routing"); err != nil {
			return nil, nil, err
		}
	}
	return settings, routing, nil
}

func (r *run) reportGlobalTwice(u, other *unit, table, name string) error {
	second, err := r.nodes(u)
	if err != nil {
		return err
	}
	first, err := r.nodes(other)
	if err != nil {
		return err
	}
	p := second.find(table, name).atKey("duplicate", joinPath(table, name), "is set twice")
	p.Related = append(p.Related, first.find(table, name).keyPosition())
	p.Hint = "keep one of the two"
	r.report(p)
	return nil
}

// make gives the service of a declaration, the same value as last time when
// nothing that it is made of changed; nil when a field or its source is bad.
func (r *run) make(d *declared, ids []string, left omission) (*schema.Service, error) {
	source := d.source
	if d.wrote && source == "" {
		return nil, nil
	}
	if source == "" {
		source = path.Dir(d.at.File)
	}
	source = path.Clean(source)
	tree, fault, err := r.sourceTree(source, left)
	if err != nil {
		return nil, err
	}
	if fault != nil {
		return nil, r.reportSource(d, fault)
	}
	if d.bad {
		return nil, nil
	}
	state := tree + "\x00" + strings.Join(ids, "\x00")
	if d.made != nil && d.madeOf == state {
		return d.made, nil
	}
	if d.values == nil {
		if err := r.reread(d); err != nil {
			return nil, err
		}
	}
	d.made = schema.NewService(schema.Declaration{
		Name: d.name, Origin: d.at, Values: d.values, Instances: ids, Source: source, Tree: tree,
	})
	d.madeOf = state
	return d.made, nil
}

// reportSource places a fault of a service's source.
func (r *run) reportSource(d *declared, f *sourceFault) error {
	if r.full() {
		r.skip()
		return nil
	}
	root, err := r.nodes(d.unit)
	if err != nil {
		return err
	}
	where := joinPath(joinPath("service", d.name), "source")
	table := root.find(d.path...)
	p := table.atKey(f.code, where, f.message)
	if n := table.child("source"); n != nil {
		p = n.atValue(f.code, where, f.message)
	}
	p.Hint = f.hint
	r.report(p)
	return nil
}

// sortProblems puts problems in the order in which a reader meets them.
func sortProblems(list []schema.Problem) {
	slices.SortStableFunc(list, func(a, b schema.Problem) int {
		if c := strings.Compare(a.File, b.File); c != 0 {
			return c
		}
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		if a.Col != b.Col {
			return a.Col - b.Col
		}
		return strings.Compare(a.Path, b.Path)
	})
}
