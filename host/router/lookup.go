package router

import (
	"strings"

	"github.com/tenement/ten/runtimes"
)

// Kind is what a request is for.
type Kind uint8

// What a request may be for.
const (
	Nowhere  Kind = iota // no such name; nothing is said of what there is
	Refused              // its Host names no host
	Root                 // the daemon's own pages
	Direct               // one instance
	Weighted             // a service, whichever instance
)

// Match is where a request goes.
type Match struct {
	Kind Kind
	ID   runtimes.ID // the service, and where Direct the instance

	service *service
	entry   *entry // where Direct and known
}

// Lookup finds where a request goes by its Host header (or :authority) and its
// path. It keeps no hold of either.
//
// Names that the config gives go first, whole ones before wildcards and longer
// wildcards before shorter ones; but a wildcard never takes a name from a
// service beneath the domain. On the bare domain, on addresses and on localhost
// come paths, the daemon's own pages and the default, in that order; on the last
// two the daemon's own paths go first.
func (t *Table) Lookup(rawHost, path string) Match {
	var scratch hostScratch
	h, err := parseHost(rawHost, &scratch)
	if err != nil {
		return Match{Kind: Refused}
	}
	if p, ok := t.routes.exact[h.name]; ok {
		return t.to(p)
	}
	if h.ip || h.name == "" || h.name == t.opt.Domain || h.name == "localhost" {
		return t.root(h, path)
	}
	if under, ok := strings.CutSuffix(h.name, t.suffix); ok {
		if m, ok := t.beneath(under); ok {
			return m
		}
	}
	if p, ok := t.routes.wildcard(h.name); ok {
		return t.to(p)
	}
	return t.fallback()
}

// beneath finds SERVICE or ID.SERVICE. A service that exists answers for all
// names beneath it: an instance it doesn't have is nowhere, and no wildcard's.
func (t *Table) beneath(name string) (Match, bool) {
	id, svc, direct := strings.Cut(name, ".")
	if !direct {
		id, svc = "", name
	}
	if !validService(svc) {
		return Match{}, false
	}
	s, ok := t.services.get(svc)
	switch {
	case !ok:
		return Match{}, false
	case !direct:
		return weighted(s), true
	case !validID(id):
		return Match{}, true
	}
	return t.instance(s, id), true
}

// root finds what answers on the bare domain.
func (t *Table) root(h host, path string) Match {
	own := false
	for _, prefix := range t.opt.RootPaths {
		own = own || under(pathOnly(path), prefix)
	}
	if own && h.name != t.opt.Domain {
		return Match{Kind: Root}
	}
	if name, ok := t.routes.byPath(path); ok {
		return t.to(place{service: name})
	}
	if !own && t.routes.fallback != "" {
		return t.fallback()
	}
	return Match{Kind: Root}
}

func (t *Table) fallback() Match {
	if t.routes.fallback == "" {
		return Match{}
	}
	return t.to(place{service: t.routes.fallback})
}

// to resolves what the config names.
func (t *Table) to(p place) Match {
	s, ok := t.services.get(p.service)
	if !ok {
		return Match{}
	}
	if p.instance == "" {
		return weighted(s)
	}
	return t.instance(s, p.instance)
}

func weighted(s *service) Match {
	return Match{Kind: Weighted, ID: runtimes.ID{Service: s.decl.Name}, service: s}
}

// instance finds one instance. Where it isn't known a request may bring it into
// being only if the service is on_demand.
func (t *Table) instance(s *service, id string) Match {
	if e, ok := s.entries.get(id); ok {
		return Match{Kind: Direct, ID: e.ID, service: s, entry: e}
	}
	if !s.decl.OnDemand {
		return Match{}
	}
	return Match{Kind: Direct, ID: runtimes.ID{Service: s.decl.Name, Instance: strings.Clone(id)}, service: s}
}

func pathOnly(path string) string {
	if i := strings.IndexByte(path, '?'); i >= 0 {
		return path[:i]
	}
	return path
}
