package compose

import (
	"context"
	"testing"
	"testing/fstest"
	"time"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"

	"github.com/tenement/ten/export"
	"github.com/tenement/ten/export/docker"
	"github.com/tenement/ten/schema"
)

// load reads an export as Docker Compose would, with no variable set.
func load(t testing.TB, data []byte) (*types.Project, error) {
	t.Helper()
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
		Env:            map[string]string{"P": "pa$$word ${X}", "BOOL": "YES", "EMPTY": "", "LINES": "a\nb\r\n c\u2028"},
		StartupTimeout: 7 * time.Second, StopSignal: "SIGQUIT", StopTimeout: 3 * time.Second, StoragePersist: true, Health: "/up?a=$b",
		MemoryLimitMB: 300, CPUShares: 50, Instances: []string{"a", "b"},
	}
	m := &schema.Model{Services: []*schema.Service{s}, Settings: schema.Settings{HealthCheckInterval: 4 * time.Second, MaxRestarts: 3}}
	b, _, err := export.Run(Target(), m, export.Options{Project: "shop", Root: "../..", Tree: fstest.MapFS{}})
	if err != nil {
		t.Fatal(err)
	}
	p, err := load(t, b.Files[0].Data)
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
