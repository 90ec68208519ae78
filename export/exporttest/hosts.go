package exporttest

import (
	"cmp"
	"errors"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/tenement/ten/export"
	"github.com/tenement/ten/proptest"
	"github.com/tenement/ten/schema"
)

// WithHosts gives a model what a slum.toml says: two servers that are made, a
// machine that is there, and a placement.
func WithHosts(m *schema.Model) *schema.Model {
	m.Slum = schema.NewSlum([]schema.SlumDeclaration{
		{Name: "app-1", Values: schema.Values{
			"operator": "hetzner", "location": "fsn1", "type": "cx23", "image": "debian-13", "volume_gb": int64(20),
			"ssh_keys": []any{`ssh-ed25519 AAAAC3Nz it's "${x}"`, "ssh-ed25519 AAAAC3Nz again"},
		}},
		{Name: "2nd", Values: schema.Values{
			"operator": "hetzner", "region": "west", "location": "hel1", "type": "cx33", "image": "debian-13", "ssh_keys": []any{"ssh-rsa AAAAB3Nz b"},
		}},
		{Name: "metal", Values: schema.Values{"operator": "ssh", "region": "cellar", "address": "2001:db8::1", "user": "ops", "port": int64(2222)}},
	}, []schema.SlumDeclaration{
		{Name: m.Services[0].Name, Values: schema.Values{"hosts": []any{"metal"}, "regions": []any{"west"}}},
	})
	return m
}

// RandomHosts makes hosts with nasty texts in every place that takes text.
func RandomHosts() *rapid.Generator[*schema.Slum] {
	return rapid.Custom(func(t *rapid.T) *schema.Slum {
		text := rapid.OneOf(rapid.StringMatching(`[a-z0-9]{1,8}`), Text())
		names := rapid.SliceOfNDistinct(rapid.StringMatching(`[a-z0-9]([a-z0-9-]{0,4}[a-z0-9])?`), 1, 4, rapid.ID[string]).Draw(t, "hosts")
		slices.Sort(names)
		s := &schema.Slum{Fields: map[string]string{}}
		for _, name := range names {
			h := &schema.Host{Name: name, Region: text.Draw(t, "region"), Operator: rapid.SampledFrom([]schema.Operator{"ssh", "hetzner"}).Draw(t, "operator")}
			if h.Operator == schema.OperatorSSH {
				h.Address, h.User, h.Port = text.Draw(t, "address"), cmp.Or(text.Draw(t, "user"), "root"), rapid.IntRange(1, 65535).Draw(t, "port")
			} else {
				h.Location, h.Type, h.Image = text.Draw(t, "location"), text.Draw(t, "type"), text.Draw(t, "image")
				h.VolumeGB = rapid.SampledFrom([]int{0, 10, 10240}).Draw(t, "volume")
				for _, comment := range rapid.SliceOfN(text, 1, 3).Draw(t, "keys") {
					blob := rapid.SampledFrom([]string{"AAAA", "BBBB"}).Draw(t, "blob")
					h.SSHKeys = append(h.SSHKeys, "ssh-ed25519 "+blob+" "+comment)
				}
			}
			s.Hosts = append(s.Hosts, h)
		}
		return s
	})
}

// EveryHost draws models with hosts and has what a target makes of each compared
// with it. A refusal has to say why, and the way out.
func EveryHost(t *testing.T, target export.Target, compare func(*rapid.T, *schema.Model, export.Bundle)) {
	t.Helper()
	exported := 0
	proptest.Check(t, func(t *rapid.T) {
		m := Model(Service("web"))
		m.Slum = RandomHosts().Draw(t, "slum")
		b, _, err := export.Run(target, m, Options())
		if err != nil {
			if refused, ok := errors.AsType[*export.RefusedError](err); !ok || refused.Why == "" || refused.Nearest == "" {
				t.Fatalf("refused without a way out: %v", err)
			}
			return
		}
		exported++
		compare(t, m, b)
	})
	t.Logf("%d models were taken; the others were refused", exported)
	if !t.Failed() && !testing.Short() && exported == 0 {
		t.Error("every model was refused: nothing was shown")
	}
}
