package pulumi

import (
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/pulumi/pulumi/sdk/v3/go/common/encoding"
	"github.com/pulumi/pulumi/sdk/v3/go/common/workspace"
	"go.yaml.in/yaml/v4"
	"pgregory.net/rapid"

	"github.com/tenement/ten/export"
	"github.com/tenement/ten/export/exporttest"
	"github.com/tenement/ten/schema"
)

type fataler interface {
	Helper()
	Fatalf(string, ...any)
}

// load reads the project file of a bundle as Pulumi's own loader does, and the
// resources that it leaves to the YAML host.
func load(t fataler, b export.Bundle) map[string]readResource {
	t.Helper()
	i := slices.IndexFunc(b.Files, func(f export.File) bool { return f.Path == file })
	p, err := workspace.LoadProjectBytes(b.Files[i].Data, file, encoding.YAML)
	if err != nil {
		t.Fatalf("%v\n%s", err, b.Files[i].Data)
	}
	if p.Name != "shop" || p.Runtime.Name() != "yaml" || len(p.AdditionalKeys) != 1 {
		t.Fatalf("loaded as %+v", p)
	}
	// The loader writes what it does not know anew, and loses a value that is one
	// newline on the way; Pulumi's YAML host reads the file itself, as here.
	var raw struct{ Resources map[string]any }
	if err := yaml.Unmarshal(b.Files[i].Data, &raw); err != nil {
		t.Fatalf("%v", err)
	}
	data, err := json.Marshal(raw.Resources)
	if err != nil {
		t.Fatalf("%v", err)
	}
	var read map[string]readResource
	if err := json.Unmarshal(data, &read); err != nil {
		t.Fatalf("%v", err)
	}
	return read
}

type readResource struct {
	Type       string
	Properties struct {
		Name, WorkingDir, StopSignal, Image string
		Command, Entrypoints, Envs          []string
		StopTimeout, Memory, CPUShares      int
		Volumes                             []struct{ VolumeName, ContainerPath string }
		Mounts                              []struct{ Type, Target string }
		Build                               struct{ Context, Dockerfile string }
		Healthcheck                         struct{ Tests []string }
	}
	Options struct {
		DependsOn      []string
		RetainOnDelete bool
	}
}

// interpolate is what Pulumi does with a text: $$ is $, and ${ begins a
// reference, of which a value of the config has none.
func interpolate(t fataler, s string) string {
	t.Helper()
	var b strings.Builder
	for len(s) > 0 {
		switch {
		case strings.HasPrefix(s, "$$"):
			b.WriteByte('$')
			s = s[2:]
		case strings.HasPrefix(s, "${"):
			t.Fatalf("a reference in a value: %q", s)
		default:
			b.WriteByte(s[0])
			s = s[1:]
		}
	}
	return b.String()
}

func TestEveryValueComesBack(t *testing.T) {
	t.Parallel()
	exporttest.Property[map[string]readResource]{
		Target: Target(), Layout: export.ContainerLayout("pulumi"),
		Read: func(t *rapid.T, b export.Bundle) map[string]readResource { return load(t, b) },
		Compare: func(t *rapid.T, _ *schema.Model, in export.Instance, made map[string]readResource) {
			compare(t, in, made)
		},
	}.Check(t)
}

func compare(t fataler, in export.Instance, made map[string]readResource) {
	t.Helper()
	s, key := in.Service, in.Service.Name+"-"+in.ID
	r, ok := made[key]
	if !ok || r.Type != "docker:Container" {
		t.Fatalf("%s is a %q", key, r.Type)
	}
	c := r.Properties
	plain := func(words []string) []string {
		out := make([]string, len(words))
		for i, w := range words {
			out[i] = interpolate(t, w)
		}
		return out
	}
	argv := plain(c.Command)
	if s.Source == "db" { // its Dockerfile sets an entrypoint
		argv = plain(c.Entrypoints)
	} else if dir := interpolate(t, c.WorkingDir); dir != in.Dir {
		t.Fatalf("dir %q, want %q", dir, in.Dir)
	}
	if envs := plain(c.Envs); !slices.Equal(argv, in.Argv) || !slices.Equal(envs, exporttest.EnvList(in.Env)) {
		t.Fatalf("%s came back as %q %q, want %q %q", key, argv, envs, in.Argv, exporttest.EnvList(in.Env))
	}
	if c.StopSignal != s.StopSignal || c.StopTimeout != int(s.StopTimeout.Seconds()) || c.Memory != int(s.MemoryLimitMB) {
		t.Fatalf("%s came back as %+v", key, c)
	}
	if c.Image != "${Image-"+s.Name+".repoDigest}" || interpolate(t, made["Image-"+s.Name].Properties.Build.Context) != "../../"+s.Source {
		t.Fatalf("image %q from %+v", c.Image, made["Image-"+s.Name])
	}
	volume := made["Volume-"+key]
	if s.StoragePersist != (volume.Type == "docker:Volume" && volume.Options.RetainOnDelete) {
		t.Fatalf("%s: volume %+v", key, volume)
	}
	data := ""
	for _, v := range c.Volumes {
		data = interpolate(t, v.ContainerPath)
	}
	for _, m := range c.Mounts {
		if got := interpolate(t, m.Target); m.Type == "tmpfs" && got == in.Data && !s.StoragePersist {
			data = got
		}
	}
	if data != in.Data {
		t.Fatalf("%s: data in %q, want %q", key, data, in.Data)
	}
}

func TestShop(t *testing.T) {
	t.Parallel()
	b, _, err := export.Run(Target(), exporttest.Shop(), exporttest.Options())
	if err != nil {
		t.Fatal(err)
	}
	made := load(t, b)
	if got := made["api-prod"].Options.DependsOn; !slices.Equal(got, []string{"${db-main}", "${worker-a}"}) {
		t.Errorf("api-prod depends on %q", got)
	}
	if got := made["Image-db"].Properties.Build; got.Context != "../../db" || got.Dockerfile != "../../db/Dockerfile" {
		t.Errorf("db is built from %+v", got)
	}
	if got := made["Image-web"].Properties.Build.Dockerfile; got != "web.Dockerfile" {
		t.Errorf("web is built by %s", got)
	}
	if len(made) != 2+5+6+4 {
		t.Errorf("%d resources: %v", len(made), made)
	}
}

// TestTabFirst: what Pulumi's own reader would fail on is refused, and nothing more.
func TestTabFirst(t *testing.T) {
	t.Parallel()
	for value, fails := range map[string]bool{"\ta\nb": true, "\n\ta": true, "\ta": false, " \ta\nb": false, "a\n\tb": false} {
		m := exporttest.Model(exporttest.Service("web", func(s *schema.Service) { s.Command, s.Args = "./web", []string{value} }))
		b, _, err := export.Run(Target(), m, exporttest.Options())
		refused, ok := errors.AsType[*export.RefusedError](err)
		switch {
		case ok != fails:
			t.Errorf("%q: got %v", value, err)
		case ok && (refused.Field != "command" || refused.Value != strconv.Quote(value) || refused.Nearest == ""):
			t.Errorf("%q is refused as %+v", value, refused)
		case !ok:
			if got := load(t, b)["web-prod"].Properties.Command; len(got) < 2 || interpolate(t, got[1]) != value {
				t.Errorf("%q came back as %q", value, got)
			}
		}
	}
}
