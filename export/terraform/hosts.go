package terraform

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/tenement/ten/export"
	"github.com/tenement/ten/export/docker"
	"github.com/tenement/ten/export/fleet"
	"github.com/tenement/ten/export/hcl"
	"github.com/tenement/ten/schema"
)

// The provider of hetzner hosts, and the versions that know its resources.
const (
	CloudSource  = "hetznercloud/hcloud"
	CloudVersion = "~> 1.68"
)

const (
	oneEngine = "the docker provider speaks to one engine"
	noRegions = "a machine that is reached by ssh has no label"
)

func uses() []export.Use {
	const carried, converted = export.Carried, export.Converted
	instead := export.SlumUses(oneEngine, "all containers go to that of DOCKER_HOST, or of the one ssh host",
		export.Use{Field: "slum.host.operator", Kind: carried, As: "hetzner: hcloud resources; ssh: host of the docker provider"},
		export.Use{Field: "slum.host.region", Kind: converted, As: "a label ten-region", Why: noRegions},
		export.Use{Field: "slum.host.address", Kind: converted, As: "host of the docker provider", Why: oneEngine},
		export.Use{Field: "slum.host.user", Kind: converted, As: "host of the docker provider", Why: oneEngine},
		export.Use{Field: "slum.host.port", Kind: converted, As: "host of the docker provider", Why: oneEngine},
		export.Use{Field: "slum.host.location", Kind: carried, As: "hcloud_server.location"},
		export.Use{Field: "slum.host.type", Kind: carried, As: "hcloud_server.server_type"},
		export.Use{Field: "slum.host.image", Kind: carried, As: "hcloud_server.image"},
		export.Use{Field: "slum.host.volume_gb", Kind: converted, As: "hcloud_volume and hcloud_volume_attachment", Why: "Hetzner chooses where it is mounted"},
		export.Use{Field: "slum.host.ssh_keys", Kind: carried, As: "hcloud_ssh_key, and hcloud_server.ssh_keys"},
	)
	return docker.Uses(func(property string) string { return property }, instead...)
}

// judge refuses text that HCL would change.
func judge(text string) (why, nearest string) {
	if hcl.Exact(text) {
		return "", ""
	}
	return hcl.NotExact, hcl.WayOut
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
		lose(h, "volume_gb", export.Converted, "Hetzner mounts a volume beneath /mnt, by its number", "mount it at /var/lib/tenement on the host, and restart ten")
	}
	_, one := f.EngineURL()
	for _, h := range f.Machines {
		lose(h, "region", export.Lost, noRegions, "")
		if one {
			continue
		}
		for _, field := range []string{"operator", "address", "user", "port"} {
			lose(h, field, export.Lost, oneEngine, "run ten install on the host, or ten export pulumi")
		}
	}
	return losses
}

// hostsFile is the hetzner hosts: what they are made of, and what makes them run
// ten.
func hostsFile(f fleet.Fleet) []byte {
	var w hcl.Writer
	w.Comment(header)
	for _, v := range [][2]string{{"ten_url", fleet.AboutURL}, {"ten_sha256", fleet.AboutSum}, {"repository", fleet.AboutRepository}} {
		w.Blank()
		w.Open("variable", v[0])
		w.Set("type", "string")
		w.Word("description", v[1])
		w.Close()
	}
	w.Blank()
	w.Comment("The token is that of HCLOUD_TOKEN.")
	w.Open("provider", "hcloud")
	w.Close()
	w.Blank()
	writeCloudConfig(&w, f)
	for _, k := range f.Keys {
		w.Blank()
		w.Open("resource", "hcloud_ssh_key", k.Name)
		w.Word("name", f.Project+"-"+k.Name)
		w.Word("public_key", k.Line)
		w.Map("labels", map[string]string{fleet.ProjectLabel: f.Project})
		w.Close()
	}
	w.Blank()
	writeFirewall(&w, f)
	for _, h := range f.Servers {
		w.Blank()
		writeServer(&w, f, h)
	}
	return w.Bytes()
}

// writeCloudConfig writes what cloud-init does at a server's first boot. As JSON,
// which is YAML too, no value needs a quoting of its own.
func writeCloudConfig(w *hcl.Writer, f fleet.Fleet) {
	command := quoted(fleet.Command())
	command = append(command, "var.ten_url", "var.ten_sha256", hcl.Quote("--repo"), "var.repository")
	command = append(command, quoted(f.Flags)...)
	w.Open("locals")
	w.OpenObject("cloud_config")
	w.Set("package_update", "true")
	w.Set("packages", "["+strings.Join(quoted(fleet.Packages()), ", ")+"]")
	w.Set("runcmd", "[["+strings.Join(command, ", ")+"]]")
	w.Close()
	w.Set("user_data", `"#cloud-config\n${jsonencode(local.cloud_config)}"`)
	w.Close()
}

func quoted(words []string) []string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = hcl.Quote(w)
	}
	return out
}

func writeFirewall(w *hcl.Writer, f fleet.Fleet) {
	everywhere := []string{"0.0.0.0/0", "::/0"}
	w.Open("resource", "hcloud_firewall", "project")
	w.Word("name", f.Project)
	w.Map("labels", map[string]string{fleet.ProjectLabel: f.Project})
	for _, port := range f.Ports {
		w.Open("rule")
		w.Word("direction", "in")
		w.Word("protocol", "tcp")
		w.Word("port", strconv.Itoa(port))
		w.List("source_ips", everywhere)
		w.Close()
	}
	w.Open("rule")
	w.Word("direction", "in")
	w.Word("protocol", "icmp")
	w.List("source_ips", everywhere)
	w.Close()
	w.Close()
}

// writeServer writes a server and its volume. What boots it can't be changed
// later; a change of it makes no host anew.
func writeServer(w *hcl.Writer, f fleet.Fleet, h *schema.Host) {
	var keys []string
	for _, name := range fleet.KeyNames(h) {
		keys = append(keys, "hcloud_ssh_key."+name+".id")
	}
	w.Open("resource", "hcloud_server", label(h.Name))
	w.Word("name", h.Name)
	w.Word("server_type", h.Type)
	w.Word("image", h.Image)
	w.Word("location", h.Location)
	w.Set("ssh_keys", "["+strings.Join(keys, ", ")+"]")
	w.Set("firewall_ids", "[hcloud_firewall.project.id]")
	w.Set("user_data", "local.user_data")
	w.Map("labels", f.Labels(h))
	w.Open("lifecycle")
	w.Set("ignore_changes", "[ssh_keys, user_data]")
	w.Close()
	w.Close()
	if h.VolumeGB == 0 {
		return
	}
	w.Blank()
	w.Open("resource", "hcloud_volume", label(h.Name))
	w.Word("name", fleet.VolumeName(h))
	w.Number("size", h.VolumeGB)
	w.Word("location", h.Location)
	w.Word("format", "ext4")
	w.Set("delete_protection", "true")
	w.Map("labels", f.Labels(h))
	w.Close()
	w.Blank()
	w.Open("resource", "hcloud_volume_attachment", label(h.Name))
	w.Set("volume_id", "hcloud_volume."+label(h.Name)+".id")
	w.Set("server_id", "hcloud_server."+label(h.Name)+".id")
	w.Set("automount", "true")
	w.Close()
}

// providers are the sources and versions that the files need, by local name.
func providers(f fleet.Fleet) [][3]string {
	all := map[string][2]string{"docker": {ProviderSource, ProviderVersion}}
	if len(f.Servers) > 0 {
		all["hcloud"] = [2]string{CloudSource, CloudVersion}
	}
	var list [][3]string
	for _, name := range slices.Sorted(maps.Keys(all)) {
		list = append(list, [3]string{name, all[name][0], all[name][1]})
	}
	return list
}
