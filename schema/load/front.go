package load

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/tenement/ten/schema"
)

// front judges how requests are to reach one service.
func (r *ruleSet) front() {
	if network, _ := r.values["network"].(string); network == string(schema.NetworkNone) {
		if level, ok := r.values["isolation"].(string); ok && level != "namespace" {
			r.fault("network", "invalid-value", fmt.Sprintf("an instance at isolation %q has no network of its own", level), `take network out, or set isolation = "namespace"`)
		}
	}
	steps, _ := r.values["canary_steps"].([]any)
	for i, step := range steps {
		if i > 0 && step.(int64) <= steps[i-1].(int64) {
			r.fault("canary_steps", "invalid-value", fmt.Sprintf("step %d is not above the one before it", step), "write the percentages in rising order, for example [10, 50]")
			break
		}
	}
	if deploy, _ := r.values["deploy"].(string); len(steps) > 0 && deploy != string(schema.DeployCanary) {
		r.warn("canary_steps", `has no effect without deploy = "canary"`, `add deploy = "canary"`)
	}
	if idle, _ := r.values["idle_timeout"].(int64); idle == 0 && r.values["sleep"] != nil {
		r.warn("sleep", "has no effect without idle_timeout: the instances never sleep", "add idle_timeout = 300")
	}
}

// fault reports a field whose value has no meaning beside another.
func (r *ruleSet) fault(field, code, message, hint string) {
	p := r.node(field).atValue(code, joinPath(r.where, field), message)
	p.Hint = hint
	r.checker.report(p)
	r.ok = false
}

// warn reports a field that does nothing.
func (r *ruleSet) warn(field, message, hint string) {
	p := r.node(field).atKey("no-effect", joinPath(r.where, field), message)
	p.Hint, p.Severity = hint, schema.Warning
	r.checker.report(p)
}

// domains: a host name leads to one service, and to one instance of it.
func (b *betweener) domains() error {
	owner := make(map[string]string)
	claim := func(s *schema.Service, host, field string) error {
		switch by, taken := b.model.HostOwner(b.model.Settings.Domain, host); {
		case taken && by == "":
			return b.at(s.Name, field, "domain-conflict", fmt.Sprintf("%q is the host's own name", host), fmt.Sprintf("to have %s answer there, set routing.default = %q", s.Name, s.Name))
		case taken && by != s.Name:
			return b.at(s.Name, field, "domain-conflict", fmt.Sprintf("%q is a name of service %s", host, by), "a host name belongs to one service; leave it out")
		}
		first, ok := owner[host]
		if !ok {
			owner[host] = s.Name
			return nil
		}
		return b.at(s.Name, field, "domain-conflict", fmt.Sprintf("%q is also a name of service %s", host, first), "a host name belongs to one service; keep one of the two")
	}
	for _, s := range b.model.Services {
		for _, host := range s.Domains {
			if err := claim(s, host, "domains"); err != nil {
				return err
			}
		}
		for _, host := range slices.Sorted(maps.Keys(s.InstanceDomains)) {
			if err := claim(s, host, "instance_domains"); err != nil {
				return err
			}
			if id := s.InstanceDomains[host]; !s.OnDemand && !slices.Contains(s.Instances, id) {
				if err := b.at(s.Name, "instance_domains", "undefined-instance", fmt.Sprintf("%q leads to instance %q, which is not declared", host, id), "add it to instances, or set on_demand = true"); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// address is an IP address to listen on.
func (r *ruleSet) address(s string) (code, message, hint string) {
	if _, err := netip.ParseAddr(s); err != nil {
		return "invalid-value", fmt.Sprintf("%q is not an IP address", s), `write one, for example "127.0.0.1", or "::" for all`
	}
	return "", "", ""
}

// network is an IP address or a network of them.
func (r *ruleSet) network(s string) (code, message, hint string) {
	_, err := netip.ParseAddr(s)
	if strings.Contains(s, "/") {
		_, err = netip.ParsePrefix(s)
	}
	if err != nil {
		return "invalid-value", fmt.Sprintf("%q is not an IP address or network", s), `write one, for example "10.0.0.0/8"`
	}
	return "", "", ""
}

// tlsRules judges what the fields of [settings.tls] mean together.
func (c *checker) tlsRules(n *node, settings schema.Values) {
	v, ok := settings["tls"].(map[string]any)
	if !ok {
		return
	}
	r := &ruleSet{checker: c, table: n, where: "settings.tls", values: v, ok: true}
	r.text("cache_dir", r.noTilde)
	r.text("acme_ca_root", r.noTilde)
	t := schema.NewTLS(v)
	if t.HTTPPort == t.HTTPSPort {
		field := "http_port"
		if v[field] == nil {
			field = "https_port"
		}
		r.fault(field, "invalid-value", fmt.Sprintf("HTTP and HTTPS can't both have port %d", t.HTTPPort), "give them two ports, for example 80 and 443")
	}
	if t.Staging && t.ACMECA != "" {
		r.fault("staging", "invalid-value", "has no meaning beside acme_ca, which names another authority", "keep one of the two")
	}
	if t.Domain == schema.DefaultDomain {
		r.fault("domain", "invalid-value", "nobody gives certificates for localhost", "write the domain that leads to this host")
	}
	if t.Enabled && t.ACMEEmail == "" && len(t.Certificates) == 0 {
		r.fault("enabled", "missing-key", "needs acme_email, the address that the certificate authority writes to", `add acme_email = "you@example.com", or certificates of your own`)
	}
}
