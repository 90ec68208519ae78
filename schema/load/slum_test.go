package load_test

import (
	"maps"
	"slices"
	"testing"

	"github.com/tenement/ten/schema"
)

// TestSlumReachesTheModel: what slum.toml says is in the model with its defaults,
// and a change in it changes no service.
func TestSlumReachesTheModel(t *testing.T) {
	t.Parallel()
	files := map[string]string{"tenement.toml": "[service.web]\ncommand = \"x\"\n"}
	plain := mustLoad(t, files)
	if plain.Slum != nil {
		t.Fatalf("without slum.toml: %+v", plain.Slum)
	}
	files["slum.toml"] = `
[host.metal]
operator = "ssh"
address = "203.0.113.7"
[host.app]
operator = "hetzner"
location = "fsn1"
type = "cx23"
image = "debian-13"
volume_gb = 20
ssh_keys = ["ssh-ed25519 AAAA b", "ssh-rsa AAAA a"]
[placement.web]
regions = ["fsn1"]
hosts = ["metal", "app"]
`
	m := mustLoad(t, files)
	if got, want := m.Service("web").Digest, plain.Service("web").Digest; got != want {
		t.Errorf("slum.toml changed the digest of a service whose source is the root: %s, was %s", got, want)
	}
	if !slices.Contains(m.ConfigFiles, "slum.toml") || !maps.Equal(m.Fields, plain.Fields) {
		t.Errorf("config files %q, fields %v", m.ConfigFiles, m.Fields)
	}
	s := m.Slum
	if len(s.Hosts) != 2 || len(s.Placement) != 1 {
		t.Fatalf("read as %+v", s)
	}
	app, metal := s.Hosts[0], s.Hosts[1]
	if app.Name != "app" || app.Operator != schema.OperatorHetzner || app.Region != "fsn1" || app.Type != "cx23" ||
		app.Image != "debian-13" || app.VolumeGB != 20 || len(app.SSHKeys) != 2 || app.Port != 0 || app.Origin.String() != "slum.toml:5:7" {
		t.Errorf("app is %+v", app)
	}
	if metal.Operator != schema.OperatorSSH || metal.Address != "203.0.113.7" || metal.User != "root" || metal.Port != 22 || metal.Region != "" {
		t.Errorf("metal is %+v", metal)
	}
	if p := s.Placement[0]; p.Service != "web" || !slices.Equal(p.Hosts, []string{"app", "metal"}) || !slices.Equal(p.Regions, []string{"fsn1"}) {
		t.Errorf("placement is %+v", p)
	}
	if got := s.Fields["slum.host.app.volume_gb"]; got != "20" || len(s.Fields) != 10 {
		t.Errorf("fields %v", s.Fields)
	}
}
