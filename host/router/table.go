package router

import (
	"hash/maphash"
	"slices"
	"strings"

	"github.com/tenement/ten/runtimes"
	"github.com/tenement/ten/schema"
)

// Options are what a table knows beside the model.
type Options struct {
	// Domain is what services are named beneath: web.DOMAIN, prod.web.DOMAIN.
	// "" = that of the settings in force.
	Domain string
	// RootPaths are the paths of the daemon's own pages, "/api": on the bare
	// domain they go before [routing] default.
	RootPaths []string
}

// Table says which request goes where. It is immutable: With gives a new one
// that shares what did not change, so an Update of one instance costs the
// logarithm of how many there are.
type Table struct {
	opt      Options
	follows  bool   // opt.Domain is that of the settings
	suffix   string // "." + Domain
	settings settings
	model    *schema.Model
	routes   *routes
	services trie[*service]
}

// service is a declared service and what is known of its instances.
type service struct {
	decl    *schema.Service
	sleeps  bool // its instances may be asleep, not only down
	entries trie[*entry]
}

func (*service) load() load { return load{} }

// entry is an instance in the table.
type entry struct {
	Endpoint
	backends []*backend // one for each of Serving, in its order
	activity *activity  // of the instance, kept from table to table
	share    int        // the sum over those that take new requests
}

// serves reports whether an incarnation takes new requests.
func (e *entry) serves() bool { return e.share > 0 }

func (e *entry) load() load {
	switch {
	case e.serves():
		return load{serving: int64(e.Weight)}
	case e.Wakes:
		return load{asleep: int64(e.Weight)}
	}
	return load{}
}

// NewTable makes the table that knows no service.
func NewTable(opt Options) *Table {
	t := &Table{opt: opt, follows: opt.Domain == "", model: &schema.Model{}, services: newTrie[*service](maphash.MakeSeed())}
	t.opt.RootPaths = slices.Clone(opt.RootPaths)
	t.adopt(t.model)
	return t
}

// adopt takes a model into a table that nobody has seen yet.
func (t *Table) adopt(m *schema.Model) {
	if t.follows {
		t.opt.Domain = m.Settings.Domain
	}
	t.opt.Domain = strings.TrimSuffix(strings.ToLower(t.opt.Domain), ".")
	if t.opt.Domain == "" {
		t.opt.Domain = schema.DefaultDomain
	}
	t.suffix, t.model, t.routes = "."+t.opt.Domain, m, compile(m, t.opt.Domain)
	t.settings = newSettings(m.Settings)
}

// With gives the table after an update. The receiver stays as it was.
func (t *Table) With(u Update) *Table {
	next := *t
	if u.Model != t.model {
		next.adopt(u.Model)
	}
	if u.Model != t.model || u.Whole {
		next.services = newTrie[*service](t.services.seed)
		for _, decl := range u.Model.Services {
			s := &service{decl: decl, sleeps: decl.OnDemand || decl.IdleTimeout > 0, entries: newTrie[*entry](t.services.seed)}
			if old, ok := t.services.get(decl.Name); ok && !u.Whole {
				s.entries = old.entries
			}
			next.services = next.services.with(decl.Name, s)
		}
	}
	for i := range u.Endpoints {
		next.put(t, u.Endpoints[i])
	}
	return &next
}

// put enters an endpoint into a table that nobody has seen yet. What old knows
// of the instance is carried over.
func (t *Table) put(old *Table, e Endpoint) {
	s, ok := t.services.get(e.ID.Service)
	if !ok {
		return
	}
	changed := *s
	if len(e.Serving) == 0 && !e.Wakes {
		changed.entries = s.entries.without(e.ID.Instance)
	} else {
		changed.entries = s.entries.with(e.ID.Instance, newEntry(e, old.entry(e.ID)))
	}
	t.services = t.services.with(e.ID.Service, &changed)
}

// newEntry joins an endpoint with what is known of its incarnations.
func newEntry(e Endpoint, old *entry) *entry {
	n := &entry{Endpoint: e}
	if old != nil {
		n.activity = old.activity
	} else {
		n.activity = &activity{}
	}
	for _, in := range e.Serving {
		var b *backend
		if old != nil {
			b = old.backend(in.Key)
		}
		if b == nil || b.in.Address != in.Address {
			b = newBackend(in, n.activity)
		}
		n.backends = append(n.backends, b)
		if !in.Draining {
			n.share += in.Share
		}
	}
	return n
}

// backend finds what is known of an incarnation, or nil.
func (e *entry) backend(key runtimes.Key) *backend {
	for _, b := range e.backends {
		if b.in.Key == key {
			return b
		}
	}
	return nil
}

// entry finds an instance, or nil.
func (t *Table) entry(id runtimes.ID) *entry {
	s, ok := t.services.get(id.Service)
	if !ok {
		return nil
	}
	e, _ := s.entries.get(id.Instance)
	return e
}

// backends calls f for every incarnation in the table.
func (t *Table) backends(f func(*backend)) {
	t.services.each(func(_ string, s *service) bool {
		s.entries.each(func(_ string, e *entry) bool {
			for _, b := range e.backends {
				f(b)
			}
			return true
		})
		return true
	})
}
