package router

import (
	"slices"
	"strings"

	"github.com/tenement/ten/schema"
)

// routes is what a model says of names and paths, made once for each model.
// The names that a service has by itself (web.DOMAIN) are not in it.
type routes struct {
	exact    map[string]place // whole host names
	wild     map[string]place // by what follows the star: "example.com"
	paths    []pathRoute      // longest first
	fallback string           // a service, or ""
}

// place is a service by weight, or one instance of it.
type place struct {
	service  string
	instance string // "" = by weight
}

// pathRoute sends what begins with a path to a service.
type pathRoute struct {
	prefix  string // no slash at its end; "" = all paths
	service string
}

// compile reads the routes out of a model. A key of [routing.subdomain] without
// a dot behind its star stands beneath the domain: "api" is api.DOMAIN. The
// domains of a service take no name that is another's or the daemon's.
func compile(m *schema.Model, domain string) *routes {
	r := &routes{exact: map[string]place{}, wild: map[string]place{}, fallback: m.Routing.Default}
	for key, service := range m.Routing.Subdomain {
		name, wild := strings.CutPrefix(strings.ToLower(key), "*.")
		if !strings.Contains(name, ".") && domain != "" && name != domain {
			name += "." + domain
		}
		if wild {
			r.wild[name] = place{service: service}
		} else {
			r.exact[name] = place{service: service}
		}
	}
	for _, s := range m.Services {
		own := func(name string, p place) {
			name = strings.ToLower(name)
			if owner, taken := m.HostOwner(domain, name); !taken || owner == s.Name {
				r.exact[name] = p
			}
		}
		for _, name := range s.Domains {
			own(name, place{service: s.Name})
		}
		for name, id := range s.InstanceDomains {
			own(name, place{service: s.Name, instance: id})
		}
	}
	for prefix, service := range m.Routing.Path {
		r.paths = append(r.paths, pathRoute{prefix: strings.TrimRight(prefix, "/"), service: service})
	}
	slices.SortFunc(r.paths, func(a, b pathRoute) int {
		if d := len(b.prefix) - len(a.prefix); d != 0 {
			return d
		}
		return strings.Compare(a.prefix, b.prefix)
	})
	return r
}

// wildcard finds the longest wildcard that a name lies beneath.
func (r *routes) wildcard(name string) (place, bool) {
	if len(r.wild) == 0 {
		return place{}, false
	}
	for {
		i := strings.IndexByte(name, '.')
		if i < 0 {
			return place{}, false
		}
		name = name[i+1:]
		if p, ok := r.wild[name]; ok {
			return p, true
		}
	}
}

// byPath finds the service with the longest prefix of a path, which ends where a
// segment does: "/api" has /api, /api/v1 and /api?x, never /apis.
func (r *routes) byPath(path string) (string, bool) {
	if i := strings.IndexByte(path, '?'); i >= 0 {
		path = path[:i]
	}
	for _, p := range r.paths {
		if under(path, p.prefix) {
			return p.service, true
		}
	}
	return "", false
}

// under reports whether a path is a prefix or lies beneath it.
func under(path, prefix string) bool {
	return strings.HasPrefix(path, prefix) && (len(path) == len(prefix) || path[len(prefix)] == '/')
}
