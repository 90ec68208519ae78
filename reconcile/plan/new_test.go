package plan

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tenement/ten/runtimes"
	"github.com/tenement/ten/schema"
)

// only gives the one action of a plan.
func only(t *testing.T, p Plan) Action {
	t.Helper()
	if len(p.Actions) != 1 {
		t.Fatalf("%d actions, want 1: %+v", len(p.Actions), p.Actions)
	}
	return p.Actions[0]
}

func TestCreateRestartRemove(t *testing.T) {
	t.Parallel()
	old := service("web")
	a := only(t, New(model(old), world()))
	if a.Op != OpCreate || a.Spec == nil || a.Reason.Code != "new" || a.Blocked != nil {
		t.Errorf("create: %+v", a)
	}
	if p := New(model(old), world(running(old, "prod", 1))); !p.Empty() || p.Summary.Unchanged != 1 {
		t.Errorf("nothing changed, and the plan is %+v", p)
	}
	a = only(t, New(model(service("web", field("env.LOG", `"info"`))), world(running(old, "prod", 1))))
	if a.Op != OpRestart || a.Reason.Text != `env.LOG added: "info"` || len(a.Old) != 1 {
		t.Errorf("restart: %+v", a)
	}
	a = only(t, New(model(), world(running(old, "prod", 1))))
	if a.Op != OpRemove || a.Old[0].Generation != 1 {
		t.Errorf("remove: %+v", a)
	}
}

func TestBackoff(t *testing.T) {
	t.Parallel()
	s := service("web")
	for _, tc := range []struct {
		name     string
		restarts int
		ago      time.Duration
		want     time.Duration // from now; 0 = at once
	}{
		{"the first restart is at once", 0, 0, 0},
		{"the second waits for the base", 1, 0, time.Second},
		{"each doubles", 2, 0, 2 * time.Second},
		{"what has passed counts", 2, 1500 * time.Millisecond, 500 * time.Millisecond},
		{"past means now", 2, 3 * time.Second, 0},
		{"max_restarts waits for the maximum", 3, 0, time.Minute},
		{"many don't overflow", 1 << 20, 0, time.Minute},
		{"a clock set back delays nothing", 3, -time.Hour, 0},
	} {
		i := running(s, "prod", 1, exited(1, tc.ago))
		i.Restarts = tc.restarts
		p := New(model(s), world(i))
		a := only(t, p)
		var got time.Duration
		if !a.NotBefore.IsZero() {
			got = a.NotBefore.Sub(noon())
		}
		if a.Op != OpStart || got != tc.want || !p.Next.Equal(a.NotBefore) {
			t.Errorf("%s: %s in %v, next %v; want start in %v", tc.name, a.Op, got, p.Next, tc.want)
		}
	}
}

func TestRestartPolicy(t *testing.T) {
	t.Parallel()
	reboot := func(i *Instance) {
		exited(0, time.Hour)(i)
		i.Exit.Known = false
	}
	for _, tc := range []struct {
		policy schema.Restart
		end    func(*Instance)
		starts bool
	}{
		{schema.RestartAlways, exited(0, time.Hour), true},
		{schema.RestartAlways, exited(1, time.Hour), true},
		{schema.RestartOnFailure, exited(0, time.Hour), false},
		{schema.RestartOnFailure, exited(1, time.Hour), true},
		{schema.RestartNever, exited(0, time.Hour), false},
		{schema.RestartNever, exited(1, time.Hour), false},
		{schema.RestartNever, reboot, true},
		{schema.RestartOnFailure, reboot, true},
	} {
		s := service("job", func(s *schema.Service) { s.Restart = tc.policy })
		p := New(model(s), world(running(s, "prod", 1, tc.end)))
		if p.Empty() == tc.starts {
			t.Errorf("%s: %+v, want a start: %v", tc.policy, p.Actions, tc.starts)
		}
	}
}

func TestSpecAndBind(t *testing.T) {
	t.Parallel()
	s := service("web", func(s *schema.Service) {
		s.Isolation = "namespace"
		s.Command = `run "a b" --id {id} --port={port} {unknown} {socket}`
		s.Env = map[string]string{"PORT": "1", "DATA_DIR": "{instance_dir}/x", "ODD": "{{port}}", "HOME": "/srv"}
		s.Workdir = "../../sub"
	})
	spec := Bind(SpecFor(s, "prod", Desired{Revision: "abc"}, host()), 7, 31007, "/run/ten/web-prod-7/s.sock")
	if got, want := strings.Join(spec.Command, "|"), "run|a b|--id|prod|--port=31007|{unknown}|/run/ten/web-prod-7/s.sock"; got != want {
		t.Errorf("command %s, want %s", got, want)
	}
	want := []string{
		"DATA_DIR=/var/lib/ten/web/prod/x", "HOME=/srv", "LANG=C.UTF-8", "ODD={31007}",
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"PORT=31007", "SOCKET_PATH=/run/ten/web-prod-7/s.sock", "TMPDIR=/tmp", "USER=web",
	}
	if got := strings.Join(spec.Env, "\n"); got != strings.Join(want, "\n") {
		t.Errorf("env\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
	if want := SourceDir(host(), s) + "/sub"; spec.Dir != want {
		t.Errorf("dir %s, want %s", spec.Dir, want)
	}
	if spec.Key.Generation != 7 || spec.Port != 31007 {
		t.Errorf("key %s port %d", spec.Key, spec.Port)
	}
	writable := 0
	for _, m := range spec.Mounts {
		if m.Writable && (m.Path == "/var/lib/ten/web/prod" || m.Path == "/run/ten/web-prod-7") {
			writable++
		}
	}
	if writable != 2 || len(spec.Mounts) != 3 {
		t.Errorf("mounts %+v", spec.Mounts)
	}
	if again := SpecFor(s, "prod", Desired{Revision: "abc"}, host()); again.Port != 0 || again.Socket != "" {
		t.Errorf("Bind changed what it was given: %+v", again)
	}
}

func TestUnknownNeverStops(t *testing.T) {
	t.Parallel()
	s := service("web")
	o := world()
	o.Unknown = map[runtimes.Level]string{runtimes.Process: "permission denied"}
	a := only(t, New(model(s), o))
	if a.Blocked == nil || a.Blocked.Code != "level-unknown" {
		t.Errorf("%+v", a)
	}
}

// TestPortsOfOurs is about a fixed port that another instance of ours holds.
func TestPortsOfOurs(t *testing.T) {
	t.Parallel()
	at := func(name string, port int, edit ...func(*schema.Service)) *schema.Service {
		return service(name, append(edit, func(s *schema.Service) { s.Port = port }, field("port", strconv.Itoa(port)))...)
	}
	needs := func(other string) func(*schema.Service) {
		return func(s *schema.Service) {
			s.DependsOn = []schema.Dependency{{Service: other, Condition: schema.ConditionHealthy}}
		}
	}
	for _, tc := range []struct {
		name    string
		web     *schema.Service // held 8080 before; nil = removed
		api     *schema.Service // wants it now
		edit    func(*Observed)
		blocked string // a part of what blocks api; "" = it gets the port
		op      Op
		after   string
	}{
		{name: "the holder stays", web: at("web", 8080), api: at("api", 8080), blocked: "held by web:prod"},
		{name: "the holder goes", api: at("api", 8080), op: OpCreate},
		{name: "the holder moves", web: at("web", 9090), api: at("api", 8080), op: OpCreate, after: "web"},
		{name: "the holder may not go", api: at("api", 8080), blocked: "held by web:prod",
			edit: func(o *Observed) { o.Paused = map[string]string{"web": ""} }},
		{name: "the holder may not move", web: at("web", 9090), api: at("api", 8080), blocked: "held by web:prod",
			edit: func(o *Observed) { o.Paused = map[string]string{"web": ""} }},
		{name: "the holder moves later", web: at("web", 9090), api: at("api", 8080), blocked: "held by web:prod",
			edit: func(o *Observed) {
				web := &o.Instances[1]
				web.Health, web.Restarts, web.StartedAt = runtimes.Unhealthy, 1, noon()
				web.Spec.Fields, web.Spec.Digest = at("web", 9090).Fields, at("web", 9090).Digest
			}},
		{name: "the holder can't move, for want of what it needs", web: at("web", 9090, needs("gone")), api: at("api", 8080), blocked: "held by web:prod"},
		{name: "the holder waits for the new one", web: at("web", 9090, needs("api")), api: at("api", 8080), blocked: "held by web:prod"},
		{name: "the new one waits for the holder", web: at("web", 9090), api: at("api", 8080, needs("web")), op: OpCreate, after: "web"},
	} {
		done := service("gone", func(s *schema.Service) { s.Restart = schema.RestartNever })
		services := []*schema.Service{tc.api, done}
		if tc.web != nil {
			services = append(services, tc.web)
		}
		o := world(running(done, "prod", 2, exited(0, time.Hour)), running(at("web", 8080), "prod", 1))
		o.Host.Ports = map[int]Holder{8080: {Pid: 7, Instance: runtimes.ID{Service: "web", Instance: "prod"}}}
		if tc.edit != nil {
			tc.edit(&o)
		}
		p := New(model(services...), o)
		i := slices.IndexFunc(p.Actions, func(a Action) bool { return a.ID.Service == "api" })
		a := p.Actions[i]
		switch {
		case tc.blocked != "":
			if a.Blocked == nil || a.Blocked.Code != BlockPortTaken || !strings.Contains(a.Blocked.Text, tc.blocked) {
				t.Errorf("%s: %+v, want it blocked: %s", tc.name, a, tc.blocked)
			}
		case a.Blocked != nil || a.Op != tc.op:
			t.Errorf("%s: %+v, want %s", tc.name, a, tc.op)
		case tc.after != "" && (!slices.ContainsFunc(a.After, func(d schema.Dependency) bool { return d.Service == tc.after }) || i == 0):
			t.Errorf("%s: does not come after %s: %+v", tc.name, tc.after, p.Actions)
		case tc.after == "" && len(a.Old) != 1:
			t.Errorf("%s: the holder does not stop first: %+v", tc.name, a)
		}
	}
	twins := service("web", ids("a", "b"), func(s *schema.Service) { s.Port = 8080 }, field("port", "8080"))
	p := New(model(twins), world())
	if p.Actions[0].Blocked != nil || p.Actions[1].Blocked == nil {
		t.Errorf("two that want one free port: %+v", p.Actions)
	}
}

// TestUnhealthyAgain is about an unhealthy instance whose successor fares no
// better: each attempt waits for its backoff, and none is waited for for ever.
func TestUnhealthyAgain(t *testing.T) {
	t.Parallel()
	s := service("web")
	sick := func(i *Instance) { i.Health, i.Restarts = runtimes.Unhealthy, 2 }
	justNow := func(i *Instance) { i.StartedAt = noon() }
	shut := func(i *Instance) { i.GateOpen = false }
	for _, tc := range []struct {
		name     string
		next     Instance
		revision string
		resumed  bool // waits for the newer one
		delayed  bool
	}{
		{"it crashed", running(s, "prod", 2, exited(1, 0)), "9be01d7", false, true},
		{"it is unhealthy too", running(s, "prod", 2, sick, justNow, shut), "9be01d7", false, true},
		{"it is on its way", running(s, "prod", 2, justNow, shut), "9be01d7", true, false},
		{"it is part of a rollout, whose gate decides", running(s, "prod", 2, sick, justNow, shut), "4f2c91a", true, false},
	} {
		d := model(s)
		d.Revision = tc.revision
		a := only(t, New(d, world(running(s, "prod", 1, sick), tc.next)))
		if a.Op != OpRestart || (a.New != nil) != tc.resumed || a.NotBefore.IsZero() == tc.delayed {
			t.Errorf("%s: %+v", tc.name, a)
		}
	}
}
