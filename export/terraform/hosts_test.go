package terraform

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
	"github.com/zclconf/go-cty/cty/function/stdlib"
	"pgregory.net/rapid"

	"github.com/tenement/ten/export"
	"github.com/tenement/ten/export/exporttest"
	"github.com/tenement/ten/export/fleet"
	"github.com/tenement/ten/schema"
)

// word evaluates an attribute that is a text or a number without references.
func word(t interface{ Fatalf(string, ...any) }, b *hclsyntax.Block, name string) string {
	a := b.Body.Attributes[name]
	if a == nil {
		return ""
	}
	v, diags := a.Expr.Value(nil)
	if diags.HasErrors() {
		t.Fatalf("%s: %v", name, diags)
	}
	return strings.Join(flat(v), " ")
}

// references are what an attribute refers to: "hcloud_ssh_key.key-x.id".
func references(b *hclsyntax.Block, name string) []string {
	var list []string
	for _, traversal := range b.Body.Attributes[name].Expr.Variables() {
		var steps []string
		for _, step := range traversal {
			switch s := step.(type) {
			case hcl.TraverseRoot:
				steps = append(steps, s.Name)
			case hcl.TraverseAttr:
				steps = append(steps, s.Name)
			}
		}
		list = append(list, strings.Join(steps, "."))
	}
	return list
}

func TestHosts(t *testing.T) {
	t.Parallel()
	b, losses, err := export.Run(Target(), exporttest.WithHosts(exporttest.Shop()), exporttest.Options())
	if err != nil {
		t.Fatal(err)
	}
	blocks := parse(t, b)
	if got := word(t, blocks["provider.docker"], "host"); got != "ssh://ops@[2001:db8::1]:2222" {
		t.Errorf("the engine is at %q", got)
	}
	app := blocks["resource.hcloud_server.app-1"]
	keys := references(app, "ssh_keys")
	if len(keys) != 1 || blocks["resource."+strings.TrimSuffix(keys[0], ".id")] == nil {
		t.Errorf("keys %q", keys)
	}
	if blocks["resource.hcloud_server._2nd"] == nil || blocks["resource.hcloud_volume._2nd"] != nil || blocks["resource.hcloud_volume_attachment.app-1"] == nil {
		t.Error("2nd is no server, or has a volume; or that of app-1 is not attached")
	}
	var ports []string
	for _, rule := range blocks["resource.hcloud_firewall.project"].Body.Blocks {
		if rule.Type == "rule" {
			ports = append(ports, word(t, rule, "protocol")+word(t, rule, "port"))
		}
	}
	if !slices.Equal(ports, []string{"tcp22", "tcp80", "tcp443", "tcp8080", "icmp"}) {
		t.Errorf("open are %q", ports)
	}
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

// TestCloudConfig evaluates what a server gets at its first boot and holds it to
// the rules of cloud-init for the keys that it has.
func TestCloudConfig(t *testing.T) {
	t.Parallel()
	b, _, err := export.Run(Target(), exporttest.WithHosts(exporttest.Shop()), exporttest.Options())
	if err != nil {
		t.Fatal(err)
	}
	const repo = "https://example.com/it's \"a\" <b> ${c} $d: #\n.git"
	ctx := &hcl.EvalContext{
		Variables: map[string]cty.Value{"var": cty.ObjectVal(map[string]cty.Value{
			"ten_url": cty.StringVal("https://example.com/ten"), "ten_sha256": cty.StringVal("abc"), "repository": cty.StringVal(repo),
		})},
		Functions: map[string]function.Function{"jsonencode": stdlib.JSONEncodeFunc},
	}
	locals := parse(t, b)["locals"].Body.Attributes
	config, diags := locals["cloud_config"].Expr.Value(ctx)
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	ctx.Variables["local"] = cty.ObjectVal(map[string]cty.Value{"cloud_config": config})
	data, diags := locals["user_data"].Expr.Value(ctx)
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	text := data.AsString()
	head, body, _ := strings.Cut(text, "\n")
	if head != "#cloud-config" || len(text) > 32<<10 {
		t.Fatalf("%d bytes that begin with %q", len(text), head)
	}
	var read struct {
		PackageUpdate bool       `json:"package_update"`
		Packages      []string   `json:"packages"`
		RunCmd        [][]string `json:"runcmd"`
	}
	d := json.NewDecoder(strings.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&read); err != nil {
		t.Fatal(err)
	}
	if !read.PackageUpdate || !slices.Contains(read.Packages, "git") || !slices.Contains(read.Packages, "ca-certificates") {
		t.Errorf("read as %+v", read)
	}
	want := append(fleet.Command(), "https://example.com/ten", "abc", "--repo", repo, "--domain", "shop.example")
	if len(read.RunCmd) != 1 || !slices.Equal(read.RunCmd[0], want) {
		t.Errorf("runs %q, want %q", read.RunCmd, want)
	}
}

// TestEveryHostComesBack: whatever texts hosts hold, they are read back as they
// were, or refused with a way out.
func TestEveryHostComesBack(t *testing.T) {
	t.Parallel()
	exporttest.EveryHost(t, Target(), func(t *rapid.T, m *schema.Model, b export.Bundle) {
		blocks := parse(t, b)
		lines := map[string]bool{}
		for _, h := range m.Slum.Hosts {
			if h.Operator == schema.OperatorHetzner {
				compareHost(t, h, blocks)
			}
			for _, line := range h.SSHKeys {
				lines[fleet.KeyName(line)] = true
			}
		}
		for name, block := range blocks {
			key, isKey := strings.CutPrefix(name, "resource.hcloud_ssh_key.")
			if isKey && (!lines[key] || fleet.KeyName(word(t, block, "public_key")) != key) {
				t.Fatalf("%s is %q", name, word(t, block, "public_key"))
			}
			delete(lines, key)
		}
		if len(lines) > 0 {
			t.Fatalf("keys are missing: %v", lines)
		}
	})
}

func compareHost(t *rapid.T, h *schema.Host, blocks map[string]*hclsyntax.Block) {
	server, volume := blocks["resource.hcloud_server."+label(h.Name)], blocks["resource.hcloud_volume."+label(h.Name)]
	if server == nil {
		t.Fatalf("%s is not there", h.Name)
	}
	for name, want := range map[string]string{"name": h.Name, "server_type": h.Type, "image": h.Image, "location": h.Location} {
		if got := word(t, server, name); got != want {
			t.Fatalf("%s of %s is %q, want %q", name, h.Name, got, want)
		}
	}
	if got := references(server, "ssh_keys"); len(got) != len(fleet.KeyNames(h)) {
		t.Fatalf("%s has keys %q", h.Name, got)
	}
	if has := volume != nil; has != (h.VolumeGB > 0) || has && word(t, volume, "size") != strconv.Itoa(h.VolumeGB) {
		t.Fatalf("%s has a volume: %v", h.Name, has)
	}
}
