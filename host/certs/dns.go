package certs

import (
	"fmt"
	"net"
	"strings"

	"github.com/caddyserver/certmagic"
	"github.com/libdns/acmedns"
	"github.com/libdns/cloudflare"
	"github.com/libdns/gandi"
	"github.com/libdns/hetzner"
	"github.com/libdns/rfc2136"
	"github.com/libdns/route53"
)

// Variable is one that a DNS provider's credentials come in.
type Variable struct {
	Name     string
	Optional bool
	About    string // "the API token, with leave to edit the zone"
}

// Variables gives the variables of a DNS provider, or nil for one that is not
// known here. Secrets don't belong in a repository, so they come from the
// daemon's environment.
func Variables(provider string) []Variable {
	switch provider {
	case "cloudflare":
		return []Variable{{"CF_API_TOKEN", false, "an API token that may edit the zone's DNS"}, {"CF_ZONE_TOKEN", true, "a second token that may read zones, where the first may not"}}
	case "route53":
		return []Variable{{"AWS_ACCESS_KEY_ID", false, "an access key"}, {"AWS_SECRET_ACCESS_KEY", false, "its secret"}, {"AWS_REGION", true, "the region; us-east-1 where it is not set"}, {"AWS_SESSION_TOKEN", true, "of a temporary key"}}
	case "hetzner":
		return []Variable{{"HETZNER_API_TOKEN", false, "a token of the DNS console"}}
	case "gandi":
		return []Variable{{"GANDI_API_TOKEN", false, "a personal access token"}}
	case "acmedns":
		return []Variable{{"ACMEDNS_SERVER_URL", false, "where acme-dns answers"}, {"ACMEDNS_USERNAME", false, "of the account"}, {"ACMEDNS_PASSWORD", false, "of the account"}, {"ACMEDNS_SUBDOMAIN", false, "of the account"}}
	case "rfc2136":
		return []Variable{{"RFC2136_SERVER", false, "the name server that takes updates, with its port: 192.0.2.1:53"}, {"RFC2136_KEY_NAME", false, "the name of the TSIG key"}, {"RFC2136_KEY", false, "the key, in base64"}, {"RFC2136_KEY_ALG", true, "its algorithm; hmac-sha256 where it is not set"}}
	}
	return nil
}

// solver makes what answers DNS-01 challenges through a provider, with the
// credentials of the environment.
func solver(provider string, getenv func(string) string) (*certmagic.DNS01Solver, error) {
	variables := Variables(provider)
	if variables == nil {
		return nil, fmt.Errorf("DNS provider %q is not known", provider)
	}
	var missing []string
	for _, v := range variables {
		if !v.Optional && getenv(v.Name) == "" {
			missing = append(missing, v.Name)
		}
	}
	if len(missing) > 0 {
		return nil, &CredentialError{Provider: provider, Missing: missing}
	}
	made := new(certmagic.DNS01Solver)
	manager := &made.DNSManager
	manager.Logger = silent()
	switch provider {
	case "cloudflare":
		manager.DNSProvider = &cloudflare.Provider{APIToken: getenv("CF_API_TOKEN"), ZoneToken: getenv("CF_ZONE_TOKEN")}
	case "route53":
		manager.DNSProvider = &route53.Provider{
			AccessKeyId: getenv("AWS_ACCESS_KEY_ID"), SecretAccessKey: getenv("AWS_SECRET_ACCESS_KEY"),
			Region: or(getenv("AWS_REGION"), "us-east-1"), SessionToken: getenv("AWS_SESSION_TOKEN"),
		}
	case "hetzner":
		manager.DNSProvider = hetzner.New(getenv("HETZNER_API_TOKEN"))
	case "gandi":
		manager.DNSProvider = &gandi.Provider{BearerToken: getenv("GANDI_API_TOKEN")}
	case "acmedns":
		manager.DNSProvider = &acmedns.Provider{
			Username: getenv("ACMEDNS_USERNAME"), Password: getenv("ACMEDNS_PASSWORD"),
			Subdomain: getenv("ACMEDNS_SUBDOMAIN"), ServerURL: getenv("ACMEDNS_SERVER_URL"),
		}
	case "rfc2136":
		server := getenv("RFC2136_SERVER")
		if _, _, err := net.SplitHostPort(server); err != nil {
			server = net.JoinHostPort(server, "53")
		}
		manager.DNSProvider = &rfc2136.Provider{
			KeyName: getenv("RFC2136_KEY_NAME"), KeyAlg: or(getenv("RFC2136_KEY_ALG"), "hmac-sha256"), Key: getenv("RFC2136_KEY"), Server: server,
		}
		manager.Resolvers = []string{server} // it knows the zone, public resolvers may not
	}
	return made, nil
}

// CredentialError says which variables a DNS provider needs and does not have.
type CredentialError struct {
	Provider string
	Missing  []string
}

func (e *CredentialError) Error() string {
	return fmt.Sprintf("DNS provider %s has no credentials: %s not set", e.Provider, strings.Join(e.Missing, ", "))
}

// Hint says how to go on.
func (e *CredentialError) Hint() string {
	return "set it in the daemon's environment; ten install keeps /etc/tenement/environment for that"
}

func or(value, otherwise string) string {
	if value == "" {
		return otherwise
	}
	return value
}
