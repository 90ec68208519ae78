package compose

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"testing"
	"testing/fstest"
	"time"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
	"pgregory.net/rapid"

	"github.com/tenement/ten/export"
	"github.com/tenement/ten/export/docker"
	"github.com/tenement/ten/export/exporttest"
	"github.com/tenement/ten/schema"
)

// loadProject reads an export as Docker Compose would, with no variable set.
func loadProject(data []byte) (*types.Project, error) {
	return loader.LoadWithContext(context.Background(), types.ConfigDetails{
		WorkingDir:  "/repo/export/compose",
		ConfigFiles: []types.ConfigFile{{Filename: file, Content: data}},
		Environment: types.Mapping{},
	}, func(o *loader.Options) { o.SetProjectName("shop", false) })
}

func TestComposeLoadsItBack(t *testing.T) {
	t.Parallel()
	s := &schema.Service{
		Name: "web", Command: "sh", Args: []string{"-c", "echo $HOME ${X} $$"}, Source: ".", Isolation: "namespace", Restart: schema.RestartNever,
		Env:            map[string]string{"<<": "merge", "#extensions": "e", "~": "null", "P": "pa$$word ${X}", "BOOL": "YES", "EMPTY": "", "LINES": "a\nb\r\n c\u2028", "TAB": "\tfirst\nsecond"},
		StartupTimeout: 7 * time.Second, StopSignal: "SIGQUIT", StopTimeout: 3 * time.Second, StoragePersist: true, Health: "/up?a=$b",
		MemoryLimitMB: 300, CPUShares: 50, Instances: []string{"a", "b"},
	}
	m := &schema.Model{Services: []*schema.Service{s}, Settings: schema.Settings{HealthCheckInterval: 4 * time.Second, MaxRestarts: 3}}
	b, _, err := export.Run(Target(), m, export.Options{Project: "shop", Root: "../..", Tree: fstest.MapFS{}})
	if err != nil {
		t.Fatal(err)
	}
	p, err := loadProject(b.Files[0].Data)
	if err != nil {
		t.Fatalf("%v\n%s", err, b.Files[0].Data)
	}
	c := p.Services["web-b"]
	if got := c.Command; len(got) != 3 || got[2] != s.Args[1] {
		t.Errorf("command %q", got)
	}
	for name, want := range s.Env {
		if got := c.Environment[name]; got == nil || *got != want {
			t.Errorf("env %s: got %v, want %q", name, got, want)
		}
	}
	if c.Restart != "no" || c.MemLimit != 300<<20 || c.MemSwapLimit != 300<<20 || c.CPUShares != int64(docker.Shares(50)) || c.StopSignal != "SIGQUIT" ||
		time.Duration(*c.StopGracePeriod) != 3*time.Second || time.Duration(*c.HealthCheck.Interval) != 4*time.Second ||
		time.Duration(*c.HealthCheck.StartPeriod) != 7*time.Second || c.HealthCheck.Test[6] != "/up?a=$b" || c.Build.Context != "/repo" {
		t.Errorf("came back as %+v\n%+v", c, c.HealthCheck)
	}
}

// TestEveryValueComesBack has Docker Compose's own loader read random exports.
func TestEveryValueComesBack(t *testing.T) {
	t.Parallel()
	exporttest.Property[*types.Project]{
		Target: Target(), Layout: export.ContainerLayout("compose"), Edit: exporttest.OddNames,
		Read: func(t *rapid.T, b export.Bundle) *types.Project {
			p, err := loadProject(b.Files[0].Data)
			if err != nil {
				t.Fatalf("%v\n%s", err, b.Files[0].Data)
			}
			return p
		},
		Compare: func(t *rapid.T, _ *schema.Model, want export.Instance, p *types.Project) {
			sameService(t, p.Services[want.Service.Name+"-"+want.ID], want)
		},
	}.Check(t)
}

func sameService(t *rapid.T, c types.ServiceConfig, want export.Instance) {
	s := want.Service
	if !slices.Equal(c.Command, want.Argv) {
		t.Fatalf("argv came back as %q, want %q", c.Command, want.Argv)
	}
	env := map[string]string{}
	for name, value := range c.Environment {
		env[name] = *value
	}
	if !maps.Equal(env, want.Env) {
		t.Fatalf("env came back as %q, want %q", env, want.Env)
	}
	if s.Source != "db" && c.WorkingDir != want.Dir {
		t.Fatalf("directory came back as %q, want %q", c.WorkingDir, want.Dir)
	}
	if c.Build == nil || c.Build.Context != "/repo/"+s.Source {
		t.Fatalf("context came back as %+v", c.Build)
	}
	data := slices.IndexFunc(c.Volumes, func(v types.ServiceVolumeConfig) bool { return v.Target == want.Data })
	if data < 0 || (c.Volumes[data].Type == types.VolumeTypeVolume) != s.StoragePersist {
		t.Fatalf("data came back as %+v, want %q", c.Volumes, want.Data)
	}
	if int64(c.MemLimit) != int64(s.MemoryLimitMB)<<20 || c.StopSignal != s.StopSignal || time.Duration(*c.StopGracePeriod) != s.StopTimeout {
		t.Fatalf("came back as %+v", c.ContainerSpec)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	for field, edit := range map[string]func(*schema.Service){
		"isolation":  func(s *schema.Service) { s.Isolation = "vm" },
		"listen_fds": func(s *schema.Service) { s.ListenFDs = true },
		"health":     func(s *schema.Service) { s.Health = "/%zz" },
		"env.A":      func(s *schema.Service) { s.Env = map[string]string{"A": "a\x00"} },
		"env.x-a":    func(s *schema.Service) { s.Env = map[string]string{"x-a": "1"} },
	} {
		_, _, err := export.Run(Target(), exporttest.Model(exporttest.Service("web", edit)), exporttest.Options())
		refused, ok := errors.AsType[*export.RefusedError](err)
		if !ok || refused.Field != field || refused.Nearest == "" {
			t.Errorf("%s: got %v", field, err)
		}
	}
}

// TestNoNetwork keeps what may reach nobody on a network of its own.
func TestNoNetwork(t *testing.T) {
	t.Parallel()
	web := exporttest.Service("web", func(s *schema.Service) { s.Network = schema.NetworkNone })
	job := exporttest.Service("job", func(s *schema.Service) { s.Network, s.Health = schema.NetworkNone, schema.HealthNone })
	b, _, err := export.Run(Target(), exporttest.Model(web, job), exporttest.Options())
	if err != nil {
		t.Fatal(err)
	}
	p, err := loadProject(b.Files[0].Data)
	if err != nil {
		t.Fatalf("%v\n%s", err, b.Files[0].Data)
	}
	c := p.Services["web-prod"]
	if len(c.Networks) != 1 || !p.Networks["web-prod"].Internal || len(c.Ports) != 0 || p.Services["job-prod"].NetworkMode != "none" {
		t.Errorf("web has %v of %v and ports %v, job %q", c.Networks, p.Networks, c.Ports, p.Services["job-prod"].NetworkMode)
	}
}

// TestEncodeInPartsIsTheWhole compares with the project written in one go; only the
// order of names with numbers in them may differ.
func TestEncodeInPartsIsTheWhole(t *testing.T) {
	t.Parallel()
	p := &types.Project{Name: "shop", Services: types.Services{}, Volumes: types.Volumes{"a": {}}, Networks: types.Networks{"n": {Internal: true}}}
	for i := range 3 * chunk {
		p.Services[fmt.Sprintf("s-%d", i)] = types.ServiceConfig{Restart: "no"}
	}
	whole, err := p.MarshalYAML()
	if err != nil {
		t.Fatal(err)
	}
	parts, err := encode(p)
	if err != nil {
		t.Fatal(err)
	}
	one, err1 := loadProject(append([]byte(header), whole...))
	two, err2 := loadProject(parts)
	if err := errors.Join(err1, err2); err == nil && !reflect.DeepEqual(one.Services, two.Services) || len(parts) != len(header)+len(whole) {
		t.Errorf("they differ, or do not load: %v", err)
	}
}
