package intake

import (
	"fmt"
	"slices"

	"github.com/tenement/ten/export"
	"github.com/tenement/ten/schema"
)

// settle makes the services agree with each other, where ten asks for it.
func (d *draft) settle() {
	ports := map[int]string{}
	for _, s := range d.services {
		s.settlePort(ports)
		s.settleHealth()
		s.settleNetwork()
		if s.get("instances") == nil {
			s.set("instances", []string{"main"}, s.at, "one instance, called main")
		}
		s.settleDependencies(d)
	}
	d.breakCycles()
	d.settings = slices.DeleteFunc(d.settings, func(f field) bool {
		return slices.ContainsFunc(schema.SettingsDefaults(), func(def schema.Default) bool {
			n, ok := f.value.(int)
			return ok && def.Field == f.name && def.Value == int64(n)
		})
	})
}

// settlePort: a port that is written down belongs to one instance of the host.
func (s *service) settlePort(taken map[int]string) {
	port, _ := s.get("port").(int)
	if port == 0 {
		return
	}
	place := s.place("port")
	instances, _ := s.get("instances").([]string)
	switch owner := taken[port]; {
	case owner != "":
		s.unset("port")
		s.lose("port", fmt.Sprint(port), place, "service "+owner+" has that port of the host", "let the program listen at PORT, or {port} in its command")
	case len(instances) > 1:
		s.unset("port")
		s.lose("port", fmt.Sprint(port), place, "each instance needs a port of its own", "let the program listen at PORT, or {port} in its command")
	default:
		taken[port] = s.name
	}
}

// settleHealth: a path that ten probes must be one.
func (s *service) settleHealth() {
	if path, _ := s.get("health").(string); path != "" && path != schema.HealthNone && path[0] != '/' {
		place := s.place("health")
		s.set("health", "/"+path, place, "")
		s.convert("health", path, place, "ten wants a path that begins with /", "/"+path)
	}
}

// settleNetwork: only a namespace has a network of its own to be without one.
func (s *service) settleNetwork() {
	level, _ := s.get("isolation").(string)
	if s.get("network") == "none" && level != "" && level != "namespace" {
		s.lose("network", "none", s.place("network"), "an instance at isolation "+level+" has no network of its own", "isolation = \"namespace\"")
		s.unset("network")
	}
}

// settleDependencies drops what is no service of this config.
func (s *service) settleDependencies(d *draft) {
	list, _ := s.get("depends_on").([]schema.Dependency)
	var kept []schema.Dependency
	seen := map[string]bool{}
	place := s.place("depends_on")
	for _, dep := range list {
		other := d.named(dep.Service)
		if other == nil || other == s {
			s.lose("depends_on", dep.Service, place, "it is no service of this config", "")
			continue
		}
		dep.Service = other.name
		if !seen[dep.Service] {
			seen[dep.Service] = true
			kept = append(kept, dep)
		}
	}
	if list != nil {
		note := s.noteOf("depends_on")
		s.unset("depends_on")
		if len(kept) > 0 {
			s.set("depends_on", kept, place, note)
		}
	}
}

func (s *service) place(name string) schema.Position {
	for _, f := range s.fields {
		if f.name == name {
			return f.at
		}
	}
	return s.at
}

func (s *service) noteOf(name string) string {
	for _, f := range s.fields {
		if f.name == name {
			return f.note
		}
	}
	return ""
}

// breakCycles drops the dependency that closes a circle, which ten refuses.
func (d *draft) breakCycles() {
	const (
		open = iota + 1
		done
	)
	state := map[string]int{}
	var visit func(s *service)
	visit = func(s *service) {
		state[s.name] = open
		list, _ := s.get("depends_on").([]schema.Dependency)
		kept := slices.DeleteFunc(slices.Clone(list), func(dep schema.Dependency) bool {
			if state[dep.Service] == open {
				s.lose("depends_on", dep.Service, s.place("depends_on"), "it would wait for itself in a circle", "")
				return true
			}
			return false
		})
		for _, dep := range kept {
			if state[dep.Service] == 0 {
				visit(d.byName[dep.Service])
			}
		}
		// What a visit below closed is seen from there; here nothing changes.
		if len(kept) < len(list) {
			place, note := s.place("depends_on"), s.noteOf("depends_on")
			s.unset("depends_on")
			if len(kept) > 0 {
				s.set("depends_on", kept, place, note)
			}
		}
		state[s.name] = done
	}
	for _, s := range d.services {
		if state[s.name] == 0 {
			visit(s)
		}
	}
}

// setting gives a value to the host as a whole, unless services disagree.
func (d *draft) setting(s *service, name string, value int, from string, at schema.Position, note string) {
	for _, f := range d.settings {
		if f.name == name && f.value != value {
			s.loss(export.Lost, name, from, at, fmt.Sprintf("it is one setting of the host, and another service asks for %v", f.value), "")
			return
		} else if f.name == name {
			return
		}
	}
	d.settings = append(d.settings, field{name, value, at, note})
}
