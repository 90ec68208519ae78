package kubernetes

import (
	"fmt"
	"hash/fnv"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/tenement/ten/export"
	"github.com/tenement/ten/schema"
)

// way is one way in: a host or a path of requests, and whom they are for.
type way struct {
	name     string // of the HTTPRoute
	field    string // where the config says it
	host     string // "" = every host
	path     string
	service  string
	instance string // "" = all of the service's
}

const domainField = "settings.domain"

// ways are all that the config opens, in the order of their names.
func (e *exporter) ways() []way {
	var ways []way
	written := map[string]bool{}
	host := func(field, host, service, instance string) {
		name := "host-" + host
		if rest, ok := strings.CutPrefix(host, "*."); ok {
			name = "wildcard-" + rest
		}
		if field == domainField && written[host] {
			return // what the config says of a host goes before
		}
		written[host] = true
		ways = append(ways, way{name: name, field: field, host: host, path: "/", service: service, instance: instance})
	}
	r := e.model.Routing
	for _, h := range slices.Sorted(maps.Keys(r.Subdomain)) {
		host("routing.subdomain."+h, h, r.Subdomain[h], "")
	}
	for _, s := range e.model.Services {
		for _, h := range s.Domains {
			host("domains", h, s.Name, "")
		}
		for _, h := range slices.Sorted(maps.Keys(s.InstanceDomains)) {
			host("instance_domains", h, s.Name, s.InstanceDomains[h])
		}
	}
	if _, ok := e.model.Fields[domainField]; ok {
		e.domainWays(host)
	}
	for _, p := range slices.Sorted(maps.Keys(r.Path)) {
		sum := fnv.New32a()
		sum.Write([]byte(p))
		ways = append(ways, way{name: fmt.Sprintf("path-%08x", sum.Sum32()), field: "routing.path." + p, path: p, service: r.Path[p]})
	}
	if r.Default != "" {
		ways = append(ways, way{name: "default", field: "routing.default", path: "/", service: r.Default})
	}
	return ways
}

// domainWays are the hosts that ten gives to every service and instance beneath
// the domain.
func (e *exporter) domainWays(add func(field, host, service, instance string)) {
	for _, s := range e.model.Services {
		sv, host := e.services[s.Name], s.Name+"."+e.model.Settings.Domain
		if sv == nil || !sv.listens || strings.Contains(s.Name, "_") { // no host has such a name
			continue
		}
		add(domainField, host, s.Name, "")
		for _, in := range sv.members {
			add(domainField, in.ID+"."+host, s.Name, in.ID)
		}
	}
}

// What the Gateway API takes as the prefix of a path.
var (
	pathForm   = regexp.MustCompile(`^(?:[-A-Za-z0-9/._~!$&'()*+,;=:@]|%[0-9a-fA-F]{2})+$`)
	pathBroken = regexp.MustCompile(`//|/\.{1,2}(/|$)|%2[fF]`)
)

const maxBackends = 16 // of one rule, and of the Gateway API

// routes are the HTTPRoutes. They hang on a Gateway of the project's name, which
// is the cluster's matter.
func (e *exporter) routes() ([]any, error) {
	var routes []any
	taken := map[string]string{}
	for _, w := range e.ways() {
		s, sv := e.model.Service(w.service), e.services[w.service]
		if s == nil {
			continue
		}
		switch other, twice := taken[w.name]; {
		case twice:
			return nil, e.layout.Refuse(s, w.field, w.host+w.path, "its route would have the name of that for "+other, "keep one of the two")
		case sv == nil || !sv.listens:
			e.losses = append(e.losses, export.Loss{Field: w.field, Value: w.service, Kind: export.Lost, Why: w.service + " listens at no port in the cluster", Instead: "declare an instance that listens at {port}"})
			continue
		case !pathForm.MatchString(w.path) || pathBroken.MatchString(w.path) || len(w.path) > 1024:
			return nil, e.layout.Refuse(s, w.field, w.path, "the Gateway API takes no such path", "encode it, and leave out //, /./ and /../")
		case len(w.host) > 253 || len(w.name) > 253:
			return nil, e.layout.Refuse(s, w.field, w.host, "the name of a route has at most 253 letters", "use a shorter host name")
		}
		taken[w.name] = w.host + w.path
		e.tellWay(w)
		backends := e.backends(w, s, sv)
		if len(backends) > maxBackends {
			return nil, e.layout.Refuse(s, "instances", fmt.Sprint(len(backends)), fmt.Sprintf("a rule of the Gateway API leads to at most %d instances", maxBackends), "declare fewer, or leave the service out of the routing")
		}
		spec := routeSpec{
			ParentRefs: []nameRef{{e.opts.Project}},
			Rules:      []routeRule{{Matches: []routeMatch{{pathMatch{"PathPrefix", text(w.path)}}}, BackendRefs: backends}},
		}
		if w.host != "" {
			spec.Hostnames = []text{text(w.host)}
		}
		routes = append(routes, object{
			APIVersion: "gateway.networking.k8s.io/v1", Kind: "HTTPRoute", Spec: spec,
			Metadata: meta{Name: w.name, Namespace: e.opts.Project, Labels: e.labels("", "")},
		})
	}
	return routes, nil
}

// tellWay says what a way in needs of the cluster; all that follows from the
// domain, at once.
func (e *exporter) tellWay(w way) {
	if w.field == domainField {
		w.name, w.service = "of each service and instance", e.model.Settings.Domain
	}
	l := export.Loss{Field: w.field, Value: w.service, Kind: export.Converted, Why: "what is before a cluster is its own", Instead: "the HTTPRoute " + w.name + " of a Gateway called " + e.opts.Project + ", which has to exist in the namespace"}
	if w.field == "domains" || w.field == "instance_domains" {
		l.Service, l.Value = w.service, w.host
	}
	e.losses = append(e.losses, l)
}

func (e *exporter) backends(w way, s *schema.Service, sv *service) []backendRef {
	var refs []backendRef
	for _, in := range sv.members {
		if w.instance == "" || w.instance == in.ID {
			refs = append(refs, backendRef{Name: nameOf(in), Port: in.Port, Weight: s.Weight})
		}
	}
	return refs
}

// seconds is a whole number of them, within what Kubernetes counts with.
func seconds(d time.Duration) int { return int(min(d/time.Second, 1<<31-1)) }
