package main

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/tenement/ten/host/api"
	"github.com/tenement/ten/reconcile"
	"github.com/tenement/ten/runtimes"
)

// TLS says how the host stands with certificates, and what to do next.
func (f *frontDoor) TLS() api.TLS {
	in := f.now.Load()
	if in == nil {
		return api.TLS{Recommendation: "nothing is in force yet"}
	}
	t := api.TLS{Enabled: in.tls.Enabled, Domain: in.tls.Domain, Staging: in.tls.Staging, HTTPSPort: in.tls.HTTPSPort, HTTPPort: addressPort(in.door.HTTP)}
	t.Recommendation = f.recommend(in)
	return t
}

// doorView is the loop's view with what the front door knows.
type doorView struct {
	*reconcile.Loop
	door *frontDoor
}

// Status says how the host stands, its front door too.
func (v doorView) Status(ctx context.Context) (api.Status, error) {
	s, err := v.Loop.Status(ctx)
	if err != nil {
		return s, err
	}
	for _, l := range v.door.door.Listeners() {
		s.Listeners = append(s.Listeners, api.Listener(l))
	}
	list, fault := v.door.certs.Status()
	for _, c := range list {
		s.Certificates = append(s.Certificates, api.Certificate(c))
	}
	if fault != nil {
		s.Certificates = append(s.Certificates, api.Certificate{Source: "settings.tls", Error: fault.Error()})
	}
	return s, nil
}

// recommend says what a person would do about TLS now.
func (f *frontDoor) recommend(in *entrance) string {
	switch {
	case !in.tls.Enabled && in.domain == "localhost":
		return "none is needed for localhost"
	case !in.tls.Enabled:
		return "switch it on: settings.tls.enabled, or put a server with certificates in front: ten caddy"
	case in.explain != "":
		return in.explain
	}
	list, err := f.certs.Status()
	if err != nil {
		return err.Error()
	}
	for _, c := range list {
		if c.Error != "" {
			return fmt.Sprintf("%s has no certificate: %s", c.Name, c.Error)
		}
	}
	if in.tls.Staging {
		return "browsers don't trust staging certificates: take staging out when all works"
	}
	return "all is well"
}

// addressPort is the port of an address, 0 where it has none.
func addressPort(address string) int {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return 0
	}
	n, _ := strconv.Atoi(port)
	return n
}

// Requests are those that the router gave to an instance.
func (f *frontDoor) Requests(id runtimes.ID) api.Requests {
	q := f.router.Requests(id)
	return api.Requests{
		Total: q.Total, AverageMS: float64(q.Average) / float64(time.Millisecond), P99MS: float64(q.P99) / float64(time.Millisecond),
	}
}
