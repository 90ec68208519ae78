package fly

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/shlex"
	"github.com/pelletier/go-toml/v2"
	"pgregory.net/rapid"

	"github.com/tenement/ten/export"
	"github.com/tenement/ten/export/exporttest"
	"github.com/tenement/ten/schema"
)

// read gives the fly.toml of a directory of a bundle.
func read(b export.Bundle, dir string) (c Config, err error) {
	for _, f := range b.Files {
		if f.Path == dir+"/fly.toml" {
			return c, toml.Unmarshal(f.Data, &c)
		}
	}
	return c, errors.New("no fly.toml in " + dir)
}

func layout() export.Layout { return export.ContainerLayout("fly") }

// TestEveryValueComesBack reads random exports with a parser of TOML and Fly's
// own splitter.
func TestEveryValueComesBack(t *testing.T) {
	t.Parallel()
	exporttest.Property[export.Bundle]{
		Target: Target(), Layout: layout(), Edit: exporttest.OddNames,
		Read: func(_ *rapid.T, b export.Bundle) export.Bundle { return b },
		Compare: func(t *rapid.T, _ *schema.Model, want export.Instance, b export.Bundle) {
			c, err := read(b, want.Service.Name+"-"+want.ID)
			if err != nil {
				t.Fatal(err)
			}
			sameConfig(t, c, want)
		},
	}.Check(t)
}

func sameConfig(t *rapid.T, c Config, want export.Instance) {
	argv, err := shlex.Split(c.Processes[group])
	if err != nil || !slices.Equal(argv, want.Argv) {
		t.Fatalf("argv came back as %q, want %q (%v)", argv, want.Argv, err)
	}
	if !maps.Equal(c.Env, want.Env) {
		t.Fatalf("env came back as %q, want %q", c.Env, want.Env)
	}
	if want.Service.StoragePersist && (len(c.Mounts) != 1 || c.Mounts[0].Destination != want.Data) {
		t.Fatalf("data came back as %+v, want %q", c.Mounts, want.Data)
	}
	if c.Experimental != nil && !slices.Equal(c.Experimental.Exec, want.Argv) {
		t.Fatalf("exec came back as %q", c.Experimental.Exec)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	for field, edit := range map[string]func(*schema.Service){
		"isolation":       func(s *schema.Service) { s.Isolation = "wasm" },
		"kernel":          func(s *schema.Service) { s.Isolation, s.Fields["kernel"] = "vm", `"vmlinux"` },
		"listen_fds":      func(s *schema.Service) { s.ListenFDs = true },
		"network":         func(s *schema.Service) { s.Network = schema.NetworkNone },
		"socket":          func(s *schema.Service) { s.Socket = "/run/web.sock" },
		"env.FLY_X":       func(s *schema.Service) { s.Env = map[string]string{"FLY_X": "1"} },
		"memory_limit_mb": func(s *schema.Service) { s.MemoryLimitMB = 1 << 20 },
		"instances":       func(s *schema.Service) { s.Instances = []string{strings.Repeat("a", 60)} },
		"command":         func(s *schema.Service) { s.Command, s.Build = "postgres", "" },
	} {
		_, _, err := export.Run(Target(), exporttest.Model(exporttest.Service("web", edit)), exporttest.Options())
		refused, ok := errors.AsType[*export.RefusedError](err)
		if !ok || refused.Field != field || refused.Nearest == "" || refused.At.Line == 0 {
			t.Errorf("%s: got %v", field, err)
		}
	}
	twins := exporttest.Model(exporttest.Service("a-b", func(s *schema.Service) { s.Instances = []string{"c"} }),
		exporttest.Service("a", func(s *schema.Service) { s.Instances = []string{"b-c"} }))
	if _, _, err := export.Run(Target(), twins, exporttest.Options()); err == nil || !strings.Contains(err.Error(), "a-b:c and a:b-c") && !strings.Contains(err.Error(), "a:b-c and a-b:c") {
		t.Errorf("two apps of one name: %v", err)
	}
}

// TestChoices looks at what follows from more than one field.
func TestChoices(t *testing.T) {
	t.Parallel()
	s := exporttest.Service("web", func(s *schema.Service) {
		s.Instances, s.Health, s.StoragePersist = []string{"a", "b"}, "/up", false
		s.IdleTimeout, s.Sleep, s.MinRunning = 60e9, schema.SleepFreeze, 1
		s.Domains, s.InstanceDomains = []string{"shop.example"}, map[string]string{"b.shop.example": "b"}
	})
	b, losses, err := export.Run(Target(), exporttest.Model(s), exporttest.Options())
	if err != nil {
		t.Fatal(err)
	}
	first, err1 := read(b, "web-a")
	second, err2 := read(b, "web-b")
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	if first.HTTPService.AutoStopMachines != "off" || second.HTTPService.AutoStopMachines != "suspend" || first.Deploy.Strategy != "bluegreen" {
		t.Errorf("got %+v and %+v", first.HTTPService, second.HTTPService)
	}
	if steps := strings.Join(b.Steps, "\n"); !strings.Contains(steps, "fly certs add b.shop.example --app shop-web-b") || strings.Contains(steps, "add shop.example") {
		t.Errorf("steps %s", steps)
	}
	var told []string
	for _, l := range losses {
		told = append(told, l.Field+" "+string(l.Kind))
	}
	for _, want := range []string{"--region converted", "domains lost", "instance_domains converted", "min_running converted", "idle_timeout converted"} {
		if !slices.Contains(told, want) {
			t.Errorf("no %q in %q", want, told)
		}
	}
	private, _, err := export.Run(Target(), exporttest.Model(exporttest.Service("db")), exporttest.Options())
	if err != nil {
		t.Fatal(err)
	}
	if c, err := read(private, "db-prod"); err != nil || c.HTTPService != nil || c.Checks["alive"] == nil {
		t.Errorf("what nobody routes to is public: %+v, %v", c, err)
	}
}
