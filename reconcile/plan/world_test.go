package plan

import (
	"fmt"
	"time"

	"github.com/tenement/ten/runtimes"
	"github.com/tenement/ten/schema"
)

// noon is when every test looks at its world.
func noon() time.Time { return time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC) }

// service declares a service with the loader's defaults; edit sets more.
func service(name string, edit ...func(*schema.Service)) *schema.Service {
	s := &schema.Service{
		Name:           name,
		Command:        "./serve --port {port}",
		Source:         ".",
		Isolation:      "process",
		Restart:        schema.RestartOnFailure,
		StartupTimeout: 10 * time.Second,
		RequestTimeout: 30 * time.Second,
		MinHealthy:     time.Second,
		StopSignal:     "SIGTERM",
		StopTimeout:    10 * time.Second,
		StoragePersist: true,
		Instances:      []string{"prod"},
		MaxInstances:   100,
		Fields: map[string]string{
			"command":     `"./serve --port {port}"`,
			"source.tree": `"1a2b3c4d5e6f708192a3b4c5d6e7f80912345678"`,
		},
	}
	for _, e := range edit {
		e(s)
	}
	s.Digest = schema.Digest(s.Fields)
	return s
}

// field sets a field as it was written, in canonical JSON.
func field(name, value string) func(*schema.Service) {
	return func(s *schema.Service) { s.Fields[name] = value }
}

func ids(ids ...string) func(*schema.Service) {
	return func(s *schema.Service) { s.Instances = ids }
}

func model(services ...*schema.Service) Desired {
	return Desired{Revision: "4f2c91a", Subject: "bump", Model: &schema.Model{
		Services: services,
		Settings: schema.Settings{
			MaxRestarts: 3, RestartWindow: 5 * time.Minute,
			BackoffBase: time.Second, BackoffMax: time.Minute,
		},
	}}
}

func host() Host {
	ok := Support{OK: true}
	return Host{Name: "web1", DataDir: "/var/lib/ten", Levels: map[runtimes.Level]Support{runtimes.Process: ok, runtimes.Namespace: ok}}
}

// running is an incarnation of a service as an apply leaves it.
func running(s *schema.Service, id string, generation uint64, edit ...func(*Instance)) Instance {
	spec := Bind(SpecFor(s, id, Desired{Revision: "9be01d7"}, host()), generation, 31000+int(generation), fmt.Sprintf("/run/ten/%d.sock", generation))
	i := Instance{
		Instance: runtimes.Instance{Spec: spec, Phase: runtimes.Running, Pid: 100 + int(generation), StartedAt: noon().Add(-time.Hour)},
		Health:   runtimes.Healthy,
		GateOpen: true,
	}
	for _, e := range edit {
		e(&i)
	}
	return i
}

// exited ends an incarnation a while ago.
func exited(code int, ago time.Duration) func(*Instance) {
	return func(i *Instance) {
		i.Phase = runtimes.Failed
		if code == 0 {
			i.Phase = runtimes.Stopped
		}
		i.Pid = 0
		i.Health = runtimes.Unknown
		i.Exit = &runtimes.Exit{Known: true, Code: code, At: noon().Add(-ago)}
	}
}

func world(instances ...Instance) Observed {
	return Observed{Now: noon(), Host: host(), Applied: "9be01d7", Instances: instances}
}
