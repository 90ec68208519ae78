package pulumi

import (
	"slices"
	"strings"
	"testing"

	"github.com/pulumi/pulumi/sdk/v3/go/common/encoding"
	"github.com/pulumi/pulumi/sdk/v3/go/common/workspace"
	"go.yaml.in/yaml/v4"
	"pgregory.net/rapid"

	"github.com/tenement/ten/export"
	"github.com/tenement/ten/export/exporttest"
	"github.com/tenement/ten/export/fleet"
	"github.com/tenement/ten/schema"
)

// hostProject is a project as far as hosts are concerned.
type hostProject struct {
	Config    map[string]setting
	Resources map[string]struct {
		Type       string
		Properties struct {
			Name, Image, Location, Host, Create, Stdin string
			SSHKeys                                    []string `yaml:"sshKeys"`
			Size                                       int
			DeleteProtection                           bool `yaml:"deleteProtection"`
			Rules                                      []struct{ Port, Protocol string }
			UserData                                   struct {
				Join []any `yaml:"fn::join"`
			} `yaml:"userData"`
			ServerTypeName string `yaml:"serverType"`
			Key            string `yaml:"publicKey"`
			Connection     struct {
				Host, User, PrivateKey string
				Port                   int
			}
		}
		Options struct {
			IgnoreChanges []string `yaml:"ignoreChanges"`
			Version       string
		}
	}
}

func loadHosts(t fataler, b export.Bundle) hostProject {
	t.Helper()
	i := slices.IndexFunc(b.Files, func(f export.File) bool { return f.Path == file })
	if _, err := workspace.LoadProjectBytes(b.Files[i].Data, file, encoding.YAML); err != nil {
		t.Fatalf("%v\n%s", err, b.Files[i].Data)
	}
	var p hostProject
	if err := yaml.Unmarshal(b.Files[i].Data, &p); err != nil {
		t.Fatalf("%v\n%s", err, b.Files[i].Data)
	}
	return p
}

func TestHosts(t *testing.T) {
	t.Parallel()
	b, losses, err := export.Run(Target(), exporttest.WithHosts(exporttest.Shop()), exporttest.Options())
	if err != nil {
		t.Fatal(err)
	}
	p := loadHosts(t, b)
	if len(p.Config) != 4 || !p.Config["sshPrivateKey"].Secret || p.Config["repository"].Type != "string" {
		t.Errorf("config %+v", p.Config)
	}
	if got := p.Resources["Provider"].Properties.Host; got != "" {
		t.Errorf("the engine is at %q: that host runs the services by ten", got)
	}
	var ports []string
	for _, r := range p.Resources["Firewall"].Properties.Rules {
		ports = append(ports, r.Protocol+r.Port)
	}
	if !slices.Equal(ports, []string{"tcp22", "tcp80", "tcp443", "tcp8080", "icmp"}) {
		t.Errorf("open are %q", ports)
	}
	metal := p.Resources["Host-metal"]
	if metal.Type != "command:remote:Command" || metal.Properties.Stdin != "${tenUrl}\n${tenSha256}\n${repository}\n" ||
		interpolate(t, metal.Properties.Create) != fleetOf(t).Remote("ops") {
		t.Errorf("metal is %+v", metal)
	}
	app := p.Resources["Host-app-1"]
	if !slices.Equal(app.Options.IgnoreChanges, []string{"sshKeys", "userData"}) || len(app.Properties.SSHKeys) != 1 ||
		p.Resources[strings.TrimSuffix(strings.TrimPrefix(app.Properties.SSHKeys[0], "${"), ".id}")].Type != "hcloud:SshKey" {
		t.Errorf("app-1 is %+v", app)
	}
	if !slices.Contains(b.Steps, "hcloud volume attach --server app-1 --automount app-1-data") || !slices.Contains(b.Steps, "pulumi config set --secret sshPrivateKey") {
		t.Errorf("steps %q", b.Steps)
	}
	compareBoot(t, app.Properties.UserData.Join)
	var told []string
	for _, l := range losses {
		if strings.HasPrefix(l.Field, "slum.") {
			told = append(told, l.Field+" "+string(l.Kind))
		}
	}
	want := []string{"slum.host.app-1.volume_gb converted", "slum.host.metal.region lost", "slum.placement.api.hosts lost", "slum.placement.api.regions lost"}
	if !slices.Equal(told, want) {
		t.Errorf("told %q, want %q", told, want)
	}
}

func fleetOf(t *testing.T) fleet.Fleet {
	t.Helper()
	f, err := fleet.New(exporttest.WithHosts(exporttest.Shop()), exporttest.Options(), "pulumi", spoils)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// compareBoot holds the user data to the rules of cloud-init: its first line, and
// packages and commands as lists of text.
func compareBoot(t *testing.T, parts []any) {
	t.Helper()
	if len(parts) != 2 || parts[0] != "\n" {
		t.Fatalf("user data is joined of %q", parts)
	}
	values := parts[1].([]any)
	config := values[1].(map[string]any)["fn::toJSON"].(map[string]any)
	if values[0] != "#cloud-config" || len(config) != 3 || config["package_update"] != true {
		t.Fatalf("user data %q", values)
	}
	if packages := words(t, config["packages"]); !slices.Contains(packages, "git") || !slices.Contains(packages, "ca-certificates") {
		t.Errorf("packages %q", packages)
	}
	commands := config["runcmd"].([]any)
	want := append(fleet.Command(), "${tenUrl}", "${tenSha256}", "--repo", "${repository}", "--domain", "shop.example")
	if got := words(t, commands[0]); len(commands) != 1 || !slices.Equal(got, want) {
		t.Errorf("runs %q, want %q", got, want)
	}
}

// words are a list's texts, dollars halved in what is no reference.
func words(t *testing.T, list any) []string {
	t.Helper()
	var out []string
	for _, item := range list.([]any) {
		text := item.(string)
		if !strings.HasPrefix(text, "${") {
			text = interpolate(t, text)
		}
		out = append(out, text)
	}
	return out
}

// TestEveryHostComesBack: whatever texts hosts hold, they are read back as they
// were, or refused with a way out.
func TestEveryHostComesBack(t *testing.T) {
	t.Parallel()
	exporttest.EveryHost(t, Target(), func(t *rapid.T, m *schema.Model, b export.Bundle) {
		p := loadHosts(t, b)
		for _, h := range m.Slum.Hosts {
			compareHost(t, h, p)
		}
	})
}

func compareHost(t *rapid.T, h *schema.Host, p hostProject) {
	made := p.Resources["Host-"+h.Name]
	if h.Operator == schema.OperatorSSH {
		c := made.Properties.Connection
		if made.Type != "command:remote:Command" || interpolate(t, c.Host) != h.Address || interpolate(t, c.User) != h.User || c.Port != h.Port {
			t.Fatalf("%s is %+v", h.Name, made)
		}
		return
	}
	got := []string{made.Properties.Name, made.Properties.ServerTypeName, made.Properties.Image, made.Properties.Location}
	for i, want := range []string{h.Name, h.Type, h.Image, h.Location} {
		if interpolate(t, got[i]) != want {
			t.Fatalf("%s has %q, want %q", h.Name, got[i], want)
		}
	}
	if disk := p.Resources["HostVolume-"+h.Name]; disk.Properties.Size != h.VolumeGB || disk.Properties.DeleteProtection != (h.VolumeGB > 0) {
		t.Fatalf("%s has the volume %+v", h.Name, disk)
	}
	for _, name := range fleet.KeyNames(h) {
		line := interpolate(t, p.Resources["SshKey-"+name].Properties.Key)
		if fleet.KeyName(line) != name || !slices.Contains(made.Properties.SSHKeys, "${SshKey-"+name+".id}") {
			t.Fatalf("%s has keys %q, and %s is %q", h.Name, made.Properties.SSHKeys, name, line)
		}
	}
}
