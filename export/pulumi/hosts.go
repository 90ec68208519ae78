package pulumi

import (
	"strconv"

	"github.com/tenement/ten/export"
	"github.com/tenement/ten/export/docker"
	"github.com/tenement/ten/export/fleet"
	"github.com/tenement/ten/schema"
)

// The versions of the providers that hosts need.
const (
	CloudVersion   = "1.29.0" // hcloud
	CommandVersion = "1.2.1"  // command, for ssh hosts
)

const (
	oneEngine = "the docker provider speaks to one engine"
	noRegions = "a machine that is reached by ssh has no label"
	noNumber  = "Pulumi YAML makes no number of a resource's id, which an attachment wants"
)

func uses() []export.Use {
	const carried, converted = export.Carried, export.Converted
	return docker.Uses(spelling, export.SlumUses(oneEngine, "all containers go to that of DOCKER_HOST; each host runs ten, and all services",
		export.Use{Field: "slum.host.operator", Kind: carried, As: "hetzner: hcloud resources; ssh: command:remote:Command, which installs ten"},
		export.Use{Field: "slum.host.region", Kind: converted, As: "a label ten-region", Why: noRegions},
		export.Use{Field: "slum.host.address", Kind: carried, As: "connection.host"},
		export.Use{Field: "slum.host.user", Kind: carried, As: "connection.user"},
		export.Use{Field: "slum.host.port", Kind: carried, As: "connection.port"},
		export.Use{Field: "slum.host.location", Kind: carried, As: "hcloud:Server, location"},
		export.Use{Field: "slum.host.type", Kind: carried, As: "hcloud:Server, serverType"},
		export.Use{Field: "slum.host.image", Kind: carried, As: "hcloud:Server, image"},
		export.Use{Field: "slum.host.volume_gb", Kind: converted, As: "hcloud:Volume, and a step that attaches it", Why: noNumber},
		export.Use{Field: "slum.host.ssh_keys", Kind: carried, As: "hcloud:SshKey, and sshKeys of hcloud:Server"},
	)...)
}

// hostLosses are what is not said of the hosts as it was written.
func hostLosses(m *schema.Model, f fleet.Fleet) []export.Loss {
	var losses []export.Loss
	lose := func(h *schema.Host, field string, kind export.Kind, why, instead string) {
		key := "slum.host." + h.Name + "." + field
		if value, written := m.Slum.Fields[key]; written {
			losses = append(losses, export.Loss{Field: key, Value: value, Kind: kind, Why: why, Instead: instead})
		}
	}
	for _, h := range f.Servers {
		lose(h, "volume_gb", export.Converted, noNumber, "the step attaches it; mount it at /var/lib/tenement on the host, and restart ten")
	}
	for _, h := range f.Machines {
		lose(h, "region", export.Lost, noRegions, "")
	}
	return losses
}

// setting is a value that whoever applies the project gives it.
type setting struct {
	Type        string `yaml:"type"`
	Description string `yaml:"description"`
	Secret      bool   `yaml:"secret,omitempty"`
}

// settings are the parameters of a bootstrap. No resource has such a name: those
// of containers hold a -, all others begin with a capital.
func settings(f fleet.Fleet) map[string]setting {
	if len(f.Servers)+len(f.Machines) == 0 {
		return nil
	}
	all := map[string]setting{
		"tenUrl":     {Type: "string", Description: fleet.AboutURL},
		"tenSha256":  {Type: "string", Description: fleet.AboutSum},
		"repository": {Type: "string", Description: fleet.AboutRepository},
	}
	if len(f.Machines) > 0 {
		all["sshPrivateKey"] = setting{"string", "The private key that logs in to the ssh hosts", true}
	}
	return all
}

// hostSteps are what a person does: before, to set the parameters, and after.
func hostSteps(f fleet.Fleet) (before, after []string) {
	if len(f.Servers)+len(f.Machines) == 0 {
		return nil, nil
	}
	before = []string{"pulumi config set tenUrl", "pulumi config set tenSha256", "pulumi config set repository"}
	if len(f.Machines) > 0 {
		before = append(before, "pulumi config set --secret sshPrivateKey")
	}
	for _, h := range f.Servers {
		if h.VolumeGB > 0 {
			after = append(after, "hcloud volume attach --server "+h.Name+" --automount "+fleet.VolumeName(h))
		}
	}
	return before, after
}

type server struct {
	Name       text            `yaml:"name"`
	ServerType text            `yaml:"serverType"`
	Image      text            `yaml:"image"`
	Location   text            `yaml:"location"`
	SSHKeys    []string        `yaml:"sshKeys"`
	UserData   join            `yaml:"userData"`
	Labels     map[string]text `yaml:"labels"`
}

type sshKey struct {
	Name      text            `yaml:"name"`
	PublicKey text            `yaml:"publicKey"`
	Labels    map[string]text `yaml:"labels"`
}

type disk struct {
	Name             text            `yaml:"name"`
	Size             int             `yaml:"size"`
	Location         text            `yaml:"location"`
	Format           string          `yaml:"format"`
	DeleteProtection bool            `yaml:"deleteProtection"`
	Labels           map[string]text `yaml:"labels"`
}

type firewall struct {
	Name     text            `yaml:"name"`
	Labels   map[string]text `yaml:"labels"`
	Rules    []rule          `yaml:"rules"`
	ApplyTos []applyTo       `yaml:"applyTos"`
}

type rule struct {
	Direction string   `yaml:"direction"`
	Protocol  string   `yaml:"protocol"`
	Port      string   `yaml:"port,omitempty"`
	SourceIPs []string `yaml:"sourceIps"`
}

type applyTo struct {
	LabelSelector text `yaml:"labelSelector"`
}

type remote struct {
	Connection connection `yaml:"connection"`
	Create     text       `yaml:"create"`
	Stdin      template   `yaml:"stdin"`
}

type connection struct {
	Host       text   `yaml:"host"`
	Port       int    `yaml:"port"`
	User       text   `yaml:"user"`
	PrivateKey string `yaml:"privateKey"`
}

// join is Pulumi's function that puts values together: the text between, and the
// values.
type join struct {
	Join []any `yaml:"fn::join"`
}

type toJSON struct {
	Value cloudConfig `yaml:"fn::toJSON"`
}

// cloudConfig is what cloud-init does at a server's first boot, as JSON, which is
// YAML too.
type cloudConfig struct {
	PackageUpdate bool    `yaml:"package_update"`
	Packages      []text  `yaml:"packages"`
	RunCmd        [][]any `yaml:"runcmd"`
}

func userData(f fleet.Fleet) join {
	var command []any
	add := func(words []string) {
		for _, w := range words {
			command = append(command, text(w))
		}
	}
	add(fleet.Command())
	command = append(command, reference("tenUrl"), reference("tenSha256"), text("--repo"), reference("repository"))
	add(f.Flags)
	config := cloudConfig{PackageUpdate: true, Packages: texts(fleet.Packages()), RunCmd: [][]any{command}}
	return join{[]any{text("\n"), []any{"#cloud-config", toJSON{config}}}}
}

func textMap(in map[string]string) map[string]text {
	out := make(map[string]text, len(in))
	for k, v := range in {
		out[k] = text(v)
	}
	return out
}

// hostResources are the hosts and what they are made of.
func hostResources(f fleet.Fleet) []named {
	var all []named
	add := func(name, kind string, properties any, o *options) {
		all = append(all, named{name, resource{Type: kind, Properties: properties, Options: o}})
	}
	provider := func(name, kind, version string) {
		all = append(all, named{name, resource{Type: "pulumi:providers:" + kind, DefaultProvider: true, Options: &options{Version: version}}})
	}
	project := map[string]text{fleet.ProjectLabel: text(f.Project)}
	if len(f.Servers) > 0 {
		provider("CloudProvider", "hcloud", CloudVersion)
		add("Firewall", "hcloud:Firewall", firewallOf(f, project), nil)
	}
	for _, k := range f.Keys {
		add("SshKey-"+k.Name, "hcloud:SshKey", sshKey{text(f.Project + "-" + k.Name), text(k.Line), project}, nil)
	}
	for _, h := range f.Servers {
		labels := textMap(f.Labels(h))
		s := server{
			Name: text(h.Name), ServerType: text(h.Type), Image: text(h.Image), Location: text(h.Location),
			UserData: userData(f), Labels: labels,
		}
		for _, name := range fleet.KeyNames(h) {
			s.SSHKeys = append(s.SSHKeys, reference("SshKey-"+name+".id"))
		}
		add("Host-"+h.Name, "hcloud:Server", s, &options{IgnoreChanges: []string{"sshKeys", "userData"}})
		if h.VolumeGB > 0 {
			d := disk{text(fleet.VolumeName(h)), h.VolumeGB, text(h.Location), "ext4", true, labels}
			add("HostVolume-"+h.Name, "hcloud:Volume", d, &options{RetainOnDelete: true})
		}
	}
	if len(f.Machines) > 0 {
		provider("CommandProvider", "command", CommandVersion)
	}
	for _, h := range f.Machines {
		add("Host-"+h.Name, "command:remote:Command", remote{
			Connection: connection{text(h.Address), h.Port, text(h.User), reference("sshPrivateKey")},
			Create:     text(f.Remote(h.User)),
			Stdin:      template(reference("tenUrl") + "\n" + reference("tenSha256") + "\n" + reference("repository") + "\n"),
		}, nil)
	}
	return all
}

// firewallOf opens the ports on whatever has the project's label: a list of
// servers would want numbers, and ids are text.
func firewallOf(f fleet.Fleet, project map[string]text) firewall {
	everywhere := []string{"0.0.0.0/0", "::/0"}
	out := firewall{
		Name: text(f.Project), Labels: project,
		ApplyTos: []applyTo{{text(fleet.ProjectLabel + "=" + f.Project)}},
	}
	for _, port := range f.Ports {
		out.Rules = append(out.Rules, rule{"in", "tcp", strconv.Itoa(port), everywhere})
	}
	out.Rules = append(out.Rules, rule{"in", "icmp", "", everywhere})
	return out
}
