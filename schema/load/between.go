package load

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/tenement/ten/schema"
)

// between judges what services say of each other.
func (r *run) between(m *schema.Model, services []*declared) error {
	b := &betweener{run: r, model: m, services: services, byName: make(map[string]*declared, len(services))}
	for _, d := range services {
		b.byName[d.name] = d
	}
	for _, step := range []func() error{b.dependencies, b.cycles, b.addresses, b.counts, b.domains, b.routes} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

type betweener struct {
	*run
	model    *schema.Model
	services []*declared
	byName   map[string]*declared
}

// table gives the node of a service's table.
func (b *betweener) table(name string) (*node, error) {
	d := b.byName[name]
	root, err := b.nodes(d.unit)
	if err != nil {
		return nil, err
	}
	return root.find(d.path...), nil
}

// at reports a fault with a field of a service, at its value if it is written.
func (b *betweener) at(service, field, code, message, hint string, related ...schema.Position) error {
	if b.full() {
		b.skip()
		return nil
	}
	t, err := b.table(service)
	if err != nil {
		return err
	}
	where := joinPath(joinPath("service", service), field)
	p := t.atKey(code, where, message)
	if n := t.child(field); n != nil {
		p = n.atValue(code, where, message)
	}
	p.Hint, p.Related = hint, related
	b.report(p)
	return nil
}

// dependencies must be declared.
func (b *betweener) dependencies() error {
	for _, s := range b.model.Services {
		for _, d := range s.DependsOn {
			if b.byName[d.Service] != nil || b.partial {
				continue
			}
			if err := b.undefinedDependency(s.Name, d.Service); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *betweener) undefinedDependency(service, missing string) error {
	if b.full() {
		b.skip()
		return nil
	}
	t, err := b.table(service)
	if err != nil {
		return err
	}
	list := t.child("depends_on")
	for i, item := range list.items {
		name := item
		if item.kind == tableNode {
			name = item.find("service")
		}
		if name.text != missing {
			continue
		}
		where := fmt.Sprintf("%s[%d]", joinPath(joinPath("service", service), "depends_on"), i)
		p := name.atValue("undefined-service", where, fmt.Sprintf("there is no service %q", missing))
		p.Hint = undefinedHint(missing, b.services)
		b.report(p)
	}
	return nil
}

// cycles reports every circle of dependencies once, at its first service by name.
func (b *betweener) cycles() error {
	const (
		unseen = iota
		open
		done
	)
	state := make(map[string]int, len(b.model.Services))
	var path []string
	var visit func(name string) error
	visit = func(name string) error {
		switch state[name] {
		case done:
			return nil
		case open:
			return b.cycle(path[slices.Index(path, name):])
		}
		s := b.model.Service(name)
		if s == nil {
			return nil
		}
		state[name] = open
		path = append(path, name)
		for _, d := range s.DependsOn {
			if err := visit(d.Service); err != nil {
				return err
			}
		}
		path = path[:len(path)-1]
		state[name] = done
		return nil
	}
	for _, s := range b.model.Services {
		if err := visit(s.Name); err != nil {
			return err
		}
	}
	return nil
}

// maxCycleShown keeps a circle of thousands readable.
const maxCycleShown = 12

func (b *betweener) cycle(circle []string) error {
	first := 0
	for i, name := range circle {
		if name < circle[first] {
			first = i
		}
	}
	circle = append(slices.Clone(circle[first:]), circle[:first]...)
	shown := append(slices.Clone(circle), circle[0])
	if len(shown) > maxCycleShown {
		shown = append(append(shown[:maxCycleShown-1:maxCycleShown-1], "..."), circle[0])
	}
	var related []schema.Position
	for _, name := range circle[1:min(len(circle), maxCycleShown)] {
		t, err := b.table(name)
		if err != nil {
			return err
		}
		related = append(related, t.find("depends_on").keyPosition())
	}
	return b.at(circle[0], "depends_on", "cycle", "depends on itself: "+strings.Join(shown, " -> "), "take one of these out", related...)
}

// addresses: a port or socket belongs to one instance of one service.
func (b *betweener) addresses() error {
	ports := make(map[int]string)
	sockets := make(map[string]string)
	for _, s := range b.model.Services {
		if err := b.one(s); err != nil {
			return err
		}
		if s.Port != 0 {
			if err := taken(b, ports, s.Port, s.Name, "port", fmt.Sprintf("port %d", s.Port)); err != nil {
				return err
			}
		}
		if path := strings.ReplaceAll(s.Socket, "{name}", s.Name); path != "" {
			if err := taken(b, sockets, path, s.Name, "socket", "socket "+path); err != nil {
				return err
			}
		}
	}
	return nil
}

// taken reports the second service that wants an address.
func taken[K comparable](b *betweener, owner map[K]string, key K, service, field, what string) error {
	first, ok := owner[key]
	if !ok {
		owner[key] = service
		return nil
	}
	t, err := b.table(first)
	if err != nil {
		return err
	}
	hint := "give each service its own"
	if field == "port" {
		hint = "give each service its own, or leave port out and use PORT"
	}
	return b.at(service, field, "port-conflict", what+" is also wanted by service "+first, hint, t.find(field).keyPosition())
}

// one holds the ids of [instances] to what single holds the inline ones to.
func (b *betweener) one(s *schema.Service) error {
	if !s.Single() || b.byName[s.Name].inline || len(s.Instances) <= 1 {
		return nil
	}
	field := "socket"
	if s.Port != 0 {
		field = "port"
	}
	return b.at(s.Name, field, "port-conflict",
		fmt.Sprintf("a fixed %s serves one instance, and [instances] declares %d", field, len(s.Instances)), singleHint(field))
}

// counts holds the numbers of instances to their limits.
func (b *betweener) counts() error {
	total := 0
	for _, s := range b.model.Services {
		total += len(s.Instances)
		if len(s.Instances) <= s.MaxInstances || s.Single() && s.Fields["max_instances"] == "" {
			continue
		}
		err := b.at(s.Name, "max_instances", "too-many",
			fmt.Sprintf("%d instances are declared, and max_instances is %d", len(s.Instances), s.MaxInstances), "raise max_instances, or declare fewer")
		if err != nil {
			return err
		}
	}
	if total > schema.MaxInstances {
		b.report(whole(rootFile, "too-many", fmt.Sprintf("there are %d instances; a repository may declare %d", total, schema.MaxInstances),
			"split the repository"))
	}
	return nil
}

// routes must lead to services that are declared.
func (b *betweener) routes() error {
	check := func(service string, path ...string) error {
		if service == "" || b.byName[service] != nil || b.partial {
			return nil
		}
		return b.undefinedRoute(service, path)
	}
	r := b.model.Routing
	if err := check(r.Default, "default"); err != nil {
		return err
	}
	for _, host := range slices.Sorted(maps.Keys(r.Subdomain)) {
		if err := check(r.Subdomain[host], "subdomain", host); err != nil {
			return err
		}
	}
	for _, prefix := range slices.Sorted(maps.Keys(r.Path)) {
		if err := check(r.Path[prefix], "path", prefix); err != nil {
			return err
		}
	}
	return nil
}

func (b *betweener) undefinedRoute(service string, path []string) error {
	if b.full() {
		b.skip()
		return nil
	}
	for _, u := range b.all {
		root, err := b.nodes(u)
		if err != nil {
			return err
		}
		n, where := root.child("routing"), "routing"
		for _, step := range path {
			n, where = n.child(step), joinPath(where, step)
		}
		if n == nil {
			continue
		}
		p := n.atValue("undefined-service", where, fmt.Sprintf("there is no service %q", service))
		p.Hint = undefinedHint(service, b.services)
		b.report(p)
		return nil
	}
	return nil
}
