package install

import (
	"fmt"
	"slices"
	"strings"
)

// CaddyOptions are what a Caddyfile is about.
type CaddyOptions struct {
	Domain   string
	Port     int      // of ten, on this machine
	Provider string   // of the domain's DNS; "" = no wildcard certificates
	Hosts    []string // names beneath the domain that lead to something, and services' own
	Services []string // the services: with a provider each has a wildcard
}

// Variable is where Caddy's plugin of a DNS provider finds its token.
func Variable(provider string) string {
	switch provider {
	case "cloudflare":
		return "CF_API_TOKEN"
	case "route53":
		return "AWS_ACCESS_KEY_ID"
	case "digitalocean":
		return "DO_AUTH_TOKEN"
	case "vultr":
		return "VULTR_API_KEY"
	case "linode":
		return "LINODE_TOKEN"
	case "gandi":
		return "GANDI_API_TOKEN"
	case "namecheap":
		return "NAMECHEAP_API_KEY"
	case "godaddy":
		return "GODADDY_API_KEY"
	}
	return "DNS_API_TOKEN"
}

// Caddyfile is a config for a Caddy that stands in front of ten.
func Caddyfile(o CaddyOptions) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Caddy in front of ten, for %s. Let ten believe what it says of clients:\n#   [settings]\n#   trusted_proxies = [\"127.0.0.1\", \"::1\"]\n\n", o.Domain)
	if o.Provider == "" {
		b.WriteString(withoutProvider)
		names := []string{o.Domain}
		for _, h := range o.Hosts {
			if !slices.Contains(names, h) {
				names = append(names, h)
			}
		}
		block(&b, names, o, false)
		return b.String()
	}
	fmt.Fprintf(&b, withProvider, o.Provider, o.Provider, Variable(o.Provider))
	names := []string{o.Domain, "*." + o.Domain}
	for _, s := range o.Services {
		names = append(names, "*."+s+"."+o.Domain)
	}
	block(&b, names, o, true)
	var own []string
	for _, h := range o.Hosts {
		if h != o.Domain && !strings.HasSuffix(h, "."+o.Domain) {
			own = append(own, h)
		}
	}
	if len(own) > 0 {
		b.WriteString("\n# Names that are not of this domain: each has a certificate of its own.\n")
		block(&b, own, o, false)
	}
	return b.String()
}

const withoutProvider = `# A certificate for *.DOMAIN can only be had by the DNS challenge, which takes a
# DNS provider (--dns-provider). Without one every name is listed, and has its own
# certificate; names that are added later must be added here.
`

const withProvider = `# Wildcard certificates are had by the DNS challenge. Caddy as it is packaged has
# no DNS provider: this needs a Caddy built with github.com/caddy-dns/%s
# (xcaddy build --with github.com/caddy-dns/%s), and %s in its environment.
`

func block(b *strings.Builder, names []string, o CaddyOptions, dns bool) {
	fmt.Fprintf(b, "%s {\n", strings.Join(names, ", "))
	if dns {
		fmt.Fprintf(b, "\ttls {\n\t\tdns %s {env.%s}\n\t}\n", o.Provider, Variable(o.Provider))
	}
	fmt.Fprintf(b, "\tencode zstd gzip\n\treverse_proxy 127.0.0.1:%d {\n\t\tflush_interval -1\n\t}\n\tlog\n}\n", o.Port)
}
