package load_test

import (
	"fmt"
	"reflect"
	"testing"

	"github.com/tenement/ten/schema"
)

// TestSettingsReachTheModel writes every setting of the front door at once, and
// each must be in the model and in what a plan compares.
func TestSettingsReachTheModel(t *testing.T) {
	t.Parallel()
	m := mustLoad(t, map[string]string{"tenement.toml": `
[service.web]
command = "x"

[settings]
domain = "example.com"
bind = "::1"
port = 8081
trusted_proxies = ["10.0.0.0/8", "::1"]
proxy_protocol = true
max_header_kb = 32
max_body_mb = 100

[settings.tls]
enabled = true
acme_email = "ops@example.com"
domain = "www.example.com"
cache_dir = "/var/acme"
staging = true
https_port = 8443
http_port = 8080
dns_provider = "rfc2136"
acme_ca_root = "/etc/ca.pem"
certificates = { "/etc/a.pem" = "/etc/a.key" }
`})
	got := m.Settings
	want := schema.NewSettings(nil)
	want.Domain, want.Bind, want.Port, want.ProxyProtocol = "example.com", "::1", 8081, true
	want.TrustedProxies, want.MaxHeaderKB, want.MaxBodyMB = []string{"10.0.0.0/8", "::1"}, 32, 100
	want.TLS = schema.TLS{
		Enabled: true, ACMEEmail: "ops@example.com", Domain: "www.example.com", CacheDir: "/var/acme", Staging: true, HTTPSPort: 8443,
		HTTPPort: 8080, DNSProvider: "rfc2136", ACMECARoot: "/etc/ca.pem", Certificates: map[string]string{"/etc/a.pem": "/etc/a.key"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if f := m.Fields["settings.tls.https_port"]; f != "8443" {
		t.Errorf("settings.tls.https_port is %q in the fields: %v", f, m.Fields)
	}
	plain := mustLoad(t, map[string]string{"tenement.toml": "[service.web]\ncommand = \"x\"\n"}).Settings
	if plain.Domain != "localhost" || plain.MaxHeaderKB != 64 || fmt.Sprint(plain.TLS) != fmt.Sprint(schema.TLS{}) {
		t.Errorf("without a table: %+v", plain)
	}
}
