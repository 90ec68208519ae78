package plan

import (
	"slices"
	"strings"
	"testing"

	"github.com/tenement/ten/runtimes"
	"github.com/tenement/ten/schema"
)

func TestBuildKey(t *testing.T) {
	t.Parallel()
	builds := func(edit ...func(*schema.Service)) *schema.Service {
		base := func(s *schema.Service) {
			s.Build = "go build -o web ."
			s.Env = map[string]string{"GOFLAGS": "-trimpath", "LISTEN": ":{port}"}
		}
		return service("web", append([]func(*schema.Service){base}, edit...)...)
	}
	key := BuildKey(builds())
	for _, tc := range []struct {
		name string
		s    *schema.Service
		same bool
	}{
		{"another service", builds(func(s *schema.Service) { s.Name = "api" }), true},
		{"other instances", builds(ids("a", "b")), true},
		{"another limit", builds(func(s *schema.Service) { s.MemoryLimitMB = 64 }), true},
		{"another command to run", builds(func(s *schema.Service) { s.Command = "./other" }), true},
		{"a variable that only an instance knows", builds(func(s *schema.Service) { s.Env["LISTEN"] = "unix:{socket}" }), true},
		{"another build command", builds(func(s *schema.Service) { s.Build = "make" }), false},
		{"another source", builds(field("source.tree", `"ffff"`)), false},
		{"another level", builds(func(s *schema.Service) { s.Isolation = "namespace" }), false},
		{"another variable", builds(func(s *schema.Service) { s.Env["GOFLAGS"] = "" }), false},
	} {
		if got := BuildKey(tc.s) == key; got != tc.same {
			t.Errorf("%s: same build = %v, want %v", tc.name, got, tc.same)
		}
	}
	if BuildKey(service("web")) != "" || BuildDir(host(), service("web")) != "" {
		t.Error("a service without build has one")
	}
	spec := SpecFor(builds(), "prod", Desired{}, host())
	if dir := BuildDir(host(), builds()); spec.Dir != dir || spec.Mounts[0].Path != dir || spec.Mounts[0].Writable {
		t.Errorf("the program does not run in its build %s: %+v", dir, spec)
	}
}

func TestBuildSpec(t *testing.T) {
	t.Parallel()
	s := service("web", func(s *schema.Service) {
		s.Isolation, s.Build, s.MemoryLimitMB = "namespace", "make all", 16
		s.Env = map[string]string{"CC": "gcc", "HOME": "/build", "PORT_NAME": "{port}"}
	})
	spec := BuildSpec(s, runtimes.ID{Service: "web", Instance: "build.1"}, "/data/b")
	want := "CC=gcc HOME=/build LANG=C.UTF-8 PATH=" + DefaultPath + " TMPDIR=/tmp"
	if got := strings.Join(spec.Env, " "); got != want {
		t.Errorf("env %s, want %s", got, want)
	}
	if spec.Dir != "/data/b" || !spec.Mounts[0].Writable || spec.Limits.MemoryMB != 0 || spec.Command[2] != "make all" {
		t.Errorf("%+v", spec)
	}
	s.Isolation = "process"
	if got := strings.Join(BuildSpec(s, runtimes.ID{}, "/data/b").Env, " "); got != "CC=gcc HOME=/build" {
		t.Errorf("a process gets the daemon's own environment and what was written, not %s", got)
	}
}

// TestSourceTreeStaysInside holds that no id of a tree names a path elsewhere.
func TestSourceTreeStaysInside(t *testing.T) {
	t.Parallel()
	for _, tree := range []string{`"../../etc"`, `"a/b"`, `".."`, `""`, ``} {
		s := service("web", field("source.tree", tree))
		if got := SourceDir(host(), s); got != "/var/lib/ten/.ten/sources/none" {
			t.Errorf("tree %s: %s", tree, got)
		}
	}
}

func TestUnbind(t *testing.T) {
	t.Parallel()
	s := service("web", func(s *schema.Service) {
		s.Command = "run --socket={socket} --port={port}"
		s.Env = map[string]string{"LISTEN": "unix:{socket}"}
	})
	open := SpecFor(s, "prod", Desired{}, host())
	bound := Bind(open, 3, 31003, "/run/ten/3/s")
	again := Bind(unbind(bound), 4, 31999, "/run/ten/4/s")
	want := Bind(open, 4, 31003, "/run/ten/4/s") // the port stays
	if strings.Join(again.Command, " ") != strings.Join(want.Command, " ") || !slices.Equal(again.Env, want.Env) ||
		!slices.Equal(again.Mounts, want.Mounts) || again.Key != want.Key || again.Socket != want.Socket || again.Port != want.Port {
		t.Errorf("\n got %+v\nwant %+v", again, want)
	}
	fixed := service("web", func(s *schema.Service) { s.Socket = "/srv/web.sock" }, field("socket", `"/srv/web.sock"`))
	if got := unbind(Bind(SpecFor(fixed, "prod", Desired{}, host()), 1, 31001, "")); got.Socket != "/srv/web.sock" {
		t.Errorf("a fixed socket is lost: %+v", got)
	}
}

func TestSocketMounts(t *testing.T) {
	t.Parallel()
	for socket, mounted := range map[string]bool{
		"/srv/{name}/{id}.sock": true, "/tmp/web.sock": false, "/run/web.sock": false, "/run/web/web.sock": true, "/web.sock": false,
	} {
		s := service("web", func(s *schema.Service) { s.Socket = socket })
		spec := SpecFor(s, "prod", Desired{}, host())
		if got := len(spec.Mounts) == 3; got != mounted {
			t.Errorf("%s: its directory is mounted: %v, want %v", socket, got, mounted)
		}
	}
}

func TestSplitCommand(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		`./web --port 80`:        "./web|--port|80",
		`sh -c "a b" 'c d' e\ f`: "sh|-c|a b|c d|e f",
		`a "" b`:                 "a||b",
		"a\\\nb":                 "ab",
	} {
		words, err := SplitCommand(line)
		if got := strings.Join(words, "|"); err != nil || got != want {
			t.Errorf("%q: %q %v, want %q", line, got, err, want)
		}
	}
	for _, line := range []string{`a "b`, `a 'b`, `a \`, ``, `   `} {
		if words, err := SplitCommand(line); err == nil || !strings.HasPrefix(err.Error(), "command ") {
			t.Errorf("%q: %q, %v", line, words, err)
		}
	}
	s := service("web", func(s *schema.Service) { s.Command = `a "b` })
	if a := only(t, New(model(s), world())); a.Blocked == nil || a.Blocked.Code != BlockCommandNotFound {
		t.Errorf("a line that can't be split is started: %+v", a)
	}
	s.Args = []string{"x"}
	if a := only(t, New(model(s), world())); a.Blocked != nil || strings.Join(a.Spec.Command, "|") != `a "b|x` {
		t.Errorf("with args the command is one word: %+v", a.Spec.Command)
	}
}

func TestGuardLimit(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		declared, removed int
		guarded           bool
	}{
		{1, 1, false}, {3, 3, false}, {4, 4, true}, {12, 3, false}, {12, 4, true},
		{15, 3, false}, {15, 4, true}, {16, 4, false}, {100, 25, false}, {100, 26, true},
	} {
		var all []string
		for i := range tc.declared {
			all = append(all, string(rune('a'+i/26))+string(rune('a'+i%26)))
		}
		s := service("web", ids(all...))
		var found []Instance
		for i, id := range all {
			found = append(found, running(s, id, uint64(i+1)))
		}
		found = append(found, running(service("zoo"), "api", 1, func(i *Instance) { i.Registered = true }))
		p := New(model(service("web", ids(all[tc.removed:]...), func(s *schema.Service) { s.OnDemand = tc.removed == tc.declared })), world(found...))
		if got := p.Guard != nil; got != tc.guarded {
			t.Errorf("%d of %d: guarded = %v, want %v", tc.removed, tc.declared, got, tc.guarded)
		}
		if p.Guard != nil && (len(p.Guard.Removed) != tc.removed || p.Guard.Declared != tc.declared || p.Summary.Remove != 0) {
			t.Errorf("%d of %d: %+v %+v", tc.removed, tc.declared, p.Guard, p.Summary)
		}
	}
}

func TestNetworkAndSocketReachTheSpec(t *testing.T) {
	t.Parallel()
	plain := SpecFor(service("web", func(s *schema.Service) { s.Network = schema.NetworkHost }), "prod", Desired{}, host())
	if plain.Network != "" || plain.ListenFDs {
		t.Errorf("unasked: network %q, listen_fds %v", plain.Network, plain.ListenFDs)
	}
	alone := SpecFor(service("web", func(s *schema.Service) { s.Network, s.ListenFDs = schema.NetworkNone, true }), "prod", Desired{}, host())
	if alone.Network != runtimes.NetworkNone || !alone.ListenFDs {
		t.Errorf("network none, listen_fds: %q, %v", alone.Network, alone.ListenFDs)
	}
}
