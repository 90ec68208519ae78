package main

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/tenement/ten/host/front"
	"github.com/tenement/ten/schema"
)

// TestDecide: flags go before settings, and settings before defaults.
func TestDecide(t *testing.T) {
	t.Parallel()
	tls := map[string]any{"enabled": true, "acme_email": "a@example.com", "https_port": int64(8443), "http_port": int64(8081)}
	for _, c := range []struct {
		name           string
		flags          frontOptions
		settings       schema.Values
		servicePort    int
		http, https    string
		domain, says   string
		optional, acme bool
	}{
		{name: "nothing said", http: ":8080", optional: true, domain: "localhost"},
		{name: "a service has the default port", servicePort: 8080, domain: "localhost", says: "port 8080 is that of service web"},
		{name: "port of the settings", settings: schema.Values{"port": int64(9000), "bind": "::1", "domain": "example.com"}, http: "[::1]:9000", domain: "example.com"},
		{name: "flags win", flags: frontOptions{port: 7000, portGiven: true, bind: "127.0.0.1", domain: "two.example"}, settings: schema.Values{"port": int64(9000), "bind": "::1", "domain": "example.com"}, http: "127.0.0.1:7000", domain: "two.example"},
		{name: "none", flags: frontOptions{portGiven: true}, domain: "localhost"},
		{name: "tls by settings", settings: schema.Values{"domain": "example.com", "tls": tls}, http: ":8081", https: ":8443", domain: "example.com", acme: true},
		{name: "tls by flags", flags: frontOptions{tls: true, email: "b@example.com", domain: "example.com"}, http: ":80", https: ":443", domain: "example.com", acme: true},
		{name: "tls without a domain", flags: frontOptions{tls: true, email: "b@example.com"}, http: ":80", https: ":443", domain: "localhost", says: "no certificate can be had for localhost"},
		{name: "tls without an address", flags: frontOptions{tls: true, domain: "example.com"}, http: ":80", https: ":443", domain: "example.com", says: "without --email"},
	} {
		m := &schema.Model{Settings: schema.NewSettings(c.settings), Services: []*schema.Service{{Name: "web", Port: c.servicePort}}}
		in := c.flags.decide(m, "/data")
		if in.door.HTTP != c.http || in.door.HTTPS != c.https || in.domain != c.domain || in.door.Optional != c.optional || (in.certs.Email != "") != c.acme {
			t.Errorf("%s: %+v", c.name, in)
		}
		if !strings.Contains(in.explain, c.says) || c.says == "" && in.explain != "" {
			t.Errorf("%s: says %q, want %q", c.name, in.explain, c.says)
		}
	}
}

// TestKnown: certificates are only for what is declared.
func TestKnown(t *testing.T) {
	t.Parallel()
	f := &frontDoor{}
	if f.known("web.example.com") {
		t.Error("known before anything is in force")
	}
	m := &schema.Model{
		Routing: schema.Routing{Subdomain: map[string]string{"*.cust.example": "web"}},
		Services: []*schema.Service{{
			Name: "web", Instances: []string{"prod"}, OnDemand: true, Domains: []string{"shop.example"}, InstanceDomains: map[string]string{"b.example": "prod"},
		}},
	}
	f.model.Store(m)
	f.now.Store(&entrance{domain: "example.com"})
	for host, want := range map[string]bool{
		"web.example.com": true, "prod.web.example.com": true, "shop.example": true, "b.example": true, "x.cust.example": true,
		"other.example.com": false, "guess.web.example.com": false, "a.prod.web.example.com": false, "evil.example": false, "example.com.evil": false, "": false,
	} {
		if f.known(host) != want {
			t.Errorf("%q is known: %t", host, !want)
		}
	}
}

// TestSource: a trusted proxy is believed, nobody else.
func TestSource(t *testing.T) {
	t.Parallel()
	f := &frontDoor{}
	f.now.Store(&entrance{door: front.Settings{Trusted: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}})
	for _, c := range []struct{ peer, forwarded, want string }{
		{"203.0.113.9:1", "", "203.0.113.9"},
		{"203.0.113.9:1", "198.51.100.1", "203.0.113.9"},
		{"10.0.0.1:1", "198.51.100.1", "198.51.100.1"},
		{"10.0.0.1:1", "192.0.2.66, 198.51.100.1, 10.0.0.2", "198.51.100.1"},
		{"10.0.0.1:1", "198.51.100.1, junk", "10.0.0.1"},
		{"10.0.0.1:1", "", "10.0.0.1"},
	} {
		r := &http.Request{RemoteAddr: c.peer, Header: http.Header{}}
		if c.forwarded != "" {
			r.Header.Set("X-Forwarded-For", c.forwarded)
		}
		if got := f.source(r); got.String() != c.want {
			t.Errorf("%s for %q: %s, want %s", c.peer, c.forwarded, got, c.want)
		}
	}
}
