package plan

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"math/rand"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tenement/ten/proptest"
	"github.com/tenement/ten/runtimes"
	"github.com/tenement/ten/schema"
)

// TestMain has properties checked more often than rapid does by itself, unless
// told how often: a plan costs microseconds. A failure prints its seed and
// leaves no file.
func TestMain(m *testing.M) {
	flag.Parse()
	defaults := map[string]string{"rapid.checks": "500", "rapid.nofailfile": "true"}
	flag.Visit(func(f *flag.Flag) { delete(defaults, f.Name) })
	if testing.Short() {
		delete(defaults, "rapid.checks")
	}
	for name, value := range defaults {
		if err := flag.Set(name, value); err != nil {
			panic(err)
		}
	}
	m.Run()
}

// drawModel draws a small model, most of it as it was before. Services depend
// only on those before them.
func drawModel(t *rapid.T, revision string, before *schema.Model) Desired {
	d := model()
	d.Revision = revision
	d.Model.Fields = map[string]string{}
	if rapid.Bool().Draw(t, "settings") {
		d.Model.Fields["settings.max_restarts"] = rapid.SampledFrom([]string{"3", "5"}).Draw(t, "max_restarts")
	}
	ports := map[int]bool{}
	for _, name := range []string{"a", "b", "c", "d"} {
		var s *schema.Service
		switch old := before.Service(name); rapid.IntRange(0, 5).Draw(t, name) {
		case 0:
			continue
		case 1, 2:
			s = drawService(t, name, ports)
		default:
			if s = old; s == nil || s.Port != 0 && ports[s.Port] {
				s = drawService(t, name, ports)
			} else {
				s = edited(t, s)
			}
			ports[s.Port] = true
		}
		s.DependsOn = nil
		delete(s.Fields, "depends_on")
		for _, earlier := range d.Model.Services {
			if rapid.IntRange(0, 3).Draw(t, name+" needs "+earlier.Name) == 0 {
				c := rapid.SampledFrom([]schema.Condition{schema.ConditionStarted, schema.ConditionHealthy}).Draw(t, "condition")
				s.DependsOn = append(s.DependsOn, schema.Dependency{Service: earlier.Name, Condition: c})
				s.Fields["depends_on"] = schema.Canonical(dependsOn(s.DependsOn))
			}
		}
		s.Digest = schema.Digest(s.Fields)
		d.Model.Services = append(d.Model.Services, s)
	}
	return d
}

// edited is a copy of a service with at most one field changed.
func edited(t *rapid.T, s *schema.Service) *schema.Service {
	next := *s
	next.Fields = maps.Clone(s.Fields)
	if rapid.Bool().Draw(t, "edit") {
		next.Fields["env.V"] = rapid.SampledFrom([]string{`"1"`, `"2"`, `"3"`}).Draw(t, "V")
	}
	return &next
}

func dependsOn(deps []schema.Dependency) []any {
	out := make([]any, len(deps))
	for i, d := range deps {
		out[i] = map[string]any{"service": d.Service, "condition": string(d.Condition)}
	}
	return out
}

func drawService(t *rapid.T, name string, ports map[int]bool) *schema.Service {
	return service(name, func(s *schema.Service) {
		s.Instances = rapid.SampledFrom([][]string{{"x"}, {"x"}, {"x", "y"}, {"y", "z"}, {}}).Draw(t, "ids")
		if len(s.Instances) == 0 || rapid.IntRange(0, 4).Draw(t, "demand") == 0 {
			s.OnDemand = true
		}
		s.Fields["env.V"] = rapid.SampledFrom([]string{`"1"`, `"2"`}).Draw(t, "V")
		if rapid.IntRange(0, 3).Draw(t, "live") == 0 {
			s.MemoryLimitMB = 64
			s.Fields["memory_limit_mb"] = "64"
		}
		if rapid.IntRange(0, 3).Draw(t, "level") == 0 {
			s.Isolation = "namespace"
			s.Fields["isolation"] = `"namespace"`
		}
		if rapid.IntRange(0, 4).Draw(t, "policy") == 0 {
			s.Restart = schema.RestartNever
			s.Fields["restart"] = `"never"`
			if rapid.Bool().Draw(t, "job") {
				s.Fields["env.JOB"] = `"1"`
			}
		}
		if rapid.IntRange(0, 2).Draw(t, "idles") == 0 {
			s.IdleTimeout = time.Minute
			s.Fields["idle_timeout"] = "60"
			s.Sleep = rapid.SampledFrom([]schema.Sleep{schema.SleepStop, schema.SleepFreeze}).Draw(t, "sleep")
			s.MinRunning = rapid.IntRange(0, 2).Draw(t, "min_running")
			s.Fields["min_running"] = fmt.Sprint(s.MinRunning)
		}
		s.Deploy = rapid.SampledFrom([]schema.Deploy{schema.DeployRolling, schema.DeployBlueGreen, schema.DeployCanary}).Draw(t, "deploy")
		if port := rapid.SampledFrom([]int{0, 0, 8080, 9090}).Draw(t, "port"); port != 0 && !ports[port] && len(s.Instances) == 1 {
			ports[port] = true
			s.Port, s.MaxInstances = port, 1
			s.Fields["port"] = fmt.Sprint(port)
		}
	})
}

// disturb does to the host what happens to hosts.
func disturb(t *rapid.T, s *sim) {
	for n := range s.instances {
		i := &s.instances[n]
		if i.Phase != runtimes.Running {
			continue
		}
		switch rapid.IntRange(0, 9).Draw(t, "fault of "+i.Spec.Key.String()) {
		case 0:
			end(i, 1, s.now)
		case 1:
			i.Health = runtimes.Unhealthy
		case 2:
			i.GateOpen, i.Health = false, runtimes.Unknown // the daemon was killed
		case 3:
			end(i, 0, s.now)
			i.Exit.Known = false
			i.Phase = runtimes.Failed
		case 4:
			i.Phase, i.GateOpen = runtimes.Stopping, false
		}
	}
	s.now = s.now.Add(time.Duration(rapid.IntRange(-10, 10).Draw(t, "seconds")) * time.Second)
	for n := range s.instances {
		i := &s.instances[n]
		i.IdleSince, i.Busy = time.Time{}, rapid.IntRange(0, 5).Draw(t, "busy") == 0
		if rapid.Bool().Draw(t, "idle") {
			i.IdleSince = s.now.Add(-time.Duration(rapid.IntRange(0, 120).Draw(t, "idle for")) * time.Second)
		}
	}
	s.awake = nil
	for _, id := range []string{"a:x", "b:w", "c:y"} {
		if rapid.Bool().Draw(t, "awake "+id) {
			parsed, _ := runtimes.ParseID(id)
			s.awake = append(s.awake, parsed)
			s.asleep = slices.DeleteFunc(s.asleep, func(id runtimes.ID) bool { return id == parsed })
		}
	}
}

// history pushes a few revisions at a host, each applied whole or cut off in the
// middle, with faults in between, and gives the last one.
func history(t *rapid.T, s *sim) Desired {
	d := Desired{Model: &schema.Model{}}
	for n := range rapid.IntRange(1, 4).Draw(t, "revisions") {
		d = drawModel(t, fmt.Sprintf("rev%d", n), d.Model)
		s.apply(d, New(d, s.observe()), rapid.SampledFrom([]int{2, 4, 6, 8, 12, 1000}).Draw(t, "budget"))
		disturb(t, s)
	}
	return d
}

func newSim(t *rapid.T) *sim { return &sim{now: noon(), fatalf: t.Fatalf} }

// TestConverges holds that from every world that revisions, kills and faults
// lead to, a few rounds of plan and apply reach an empty plan, that the host is
// then as desired, and that the plan stays empty.
func TestConverges(t *testing.T) {
	t.Parallel()
	proptest.Check(t, func(t *rapid.T) {
		s := newSim(t)
		d := history(t, s)
		const rounds = 12
		for round := 0; ; round++ {
			s.probe()
			p := New(d, s.observe())
			if !slices.ContainsFunc(p.Actions, func(a Action) bool { return a.Blocked == nil }) {
				hopeless(t, p)
				break
			}
			if round == rounds {
				t.Fatalf("after %d rounds there is still to do: %+v", rounds, p.Actions)
			}
			if !p.Next.IsZero() {
				s.now = p.Next
			}
			budget := 1000
			if round < 3 { // the daemon is killed in the middle
				budget = rapid.IntRange(0, 6).Draw(t, "budget")
			}
			s.apply(d, p, budget)
		}
		if p := New(d, s.observe()); p.Empty() {
			if faults := s.settled(d); len(faults) > 0 {
				t.Fatalf("the plan is empty, and %q", faults)
			}
		}
		s.now = s.now.Add(time.Hour)
		for n := range s.instances {
			s.instances[n].IdleSince = s.now // somebody asks for all of them
		}
		s.probe()
		if p := New(d, s.observe()); slices.ContainsFunc(p.Actions, func(a Action) bool { return a.Blocked == nil }) {
			t.Fatalf("the plan does not stay empty: %+v", p.Actions)
		}
	})
}

// hopeless holds that what stays blocked for ever has the only reasons that a
// host without other programs knows: a dependency that ended for good, and two
// that want to swap their ports.
func hopeless(t *rapid.T, p Plan) {
	for _, a := range p.Actions {
		if a.Blocked.Code != BlockDependency && a.Blocked.Code != BlockPortTaken {
			t.Fatalf("%s %s is blocked for ever: %+v", a.Op, a.ID, a.Blocked)
		}
	}
}

// TestUnknownIsLeftAlone holds that nothing of a level that can't be asked is
// stopped or started, whether or not it was observed before.
func TestUnknownIsLeftAlone(t *testing.T) {
	t.Parallel()
	proptest.Check(t, func(t *rapid.T) {
		s := newSim(t)
		d := drawModel(t, "last", history(t, s).Model)
		level := rapid.SampledFrom([]runtimes.Level{runtimes.Process, runtimes.Namespace}).Draw(t, "unknown")
		stale := s.observe()
		stale.Unknown = map[runtimes.Level]string{level: "not now"}
		s.unknown = stale.Unknown
		for _, o := range []Observed{stale, s.observe()} {
			for _, a := range New(d, o).Actions {
				if a.Blocked != nil {
					continue
				}
				touched := a.starts() && a.Spec.Level == level
				for _, key := range a.Old {
					i := s.find(key)
					touched = touched || i.Spec.Level == level && a.Op != OpUpdate
				}
				if touched {
					t.Fatalf("%s %s touches level %s, which can't be asked: %+v", a.Op, a.ID, level, a)
				}
			}
		}
		s.apply(d, New(d, s.observe()), 1000)
	})
}

// TestRegisteredIsKept holds that no revision removes what was registered.
func TestRegisteredIsKept(t *testing.T) {
	t.Parallel()
	proptest.Check(t, func(t *rapid.T) {
		s := newSim(t)
		before := history(t, s)
		for n := range s.instances {
			s.instances[n].Registered = rapid.Bool().Draw(t, "registered")
		}
		d := drawModel(t, "last", before.Model)
		for _, a := range New(d, s.observe()).Actions {
			for _, key := range a.Old {
				if i := s.find(key); a.Op == OpRemove && i.Registered {
					t.Fatalf("%s %s", a.Op, key)
				}
			}
		}
	})
}

// TestSameInputSameBytes holds that a plan hangs on nothing but its input: not
// on the order of a map, of instances or of wishes.
func TestSameInputSameBytes(t *testing.T) {
	t.Parallel()
	proptest.Check(t, func(t *rapid.T) {
		s := newSim(t)
		d := drawModel(t, "last", history(t, s).Model)
		o := s.observe()
		first := render(t, New(d, o))
		order := rand.New(rand.NewSource(rapid.Int64().Draw(t, "order")))
		order.Shuffle(len(o.Instances), func(i, j int) { o.Instances[i], o.Instances[j] = o.Instances[j], o.Instances[i] })
		order.Shuffle(len(o.Awake), func(i, j int) { o.Awake[i], o.Awake[j] = o.Awake[j], o.Awake[i] })
		if again := render(t, New(d, o)); again != first {
			t.Fatalf("two plans of one input:\n%s\n%s", first, again)
		}
	})
}

func render(t *rapid.T, p Plan) string {
	var b bytes.Buffer
	for _, err := range []error{p.JSON(&b), p.Text(&b, TextOptions{Full: true}), p.Markdown(&b)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	b.WriteString(Fingerprint(p))
	if Fingerprint(p) != Fingerprint(p.Masked()) {
		t.Fatal("masking changes the fingerprint")
	}
	return b.String()
}

// TestNarrowedPlan holds that a plan of one service, made from what was observed
// of that service alone, says of it what the whole plan says: a wake costs no
// round over the host. What hangs on others (an order, a port, the guard) is the
// whole plan's to say.
func TestNarrowedPlan(t *testing.T) {
	t.Parallel()
	proptest.Check(t, func(t *rapid.T) {
		s := newSim(t)
		d := drawModel(t, "last", history(t, s).Model)
		o := s.observe()
		o.Host.Ports = nil
		whole := New(d, o)
		for _, service := range d.Model.Services {
			m := *d.Model
			m.Services = []*schema.Service{service}
			narrow := d
			narrow.Model = &m
			seen := o
			seen.AppliedFields = m.Fields
			seen.Instances = slices.DeleteFunc(slices.Clone(o.Instances), func(i Instance) bool { return i.Spec.Key.Service != service.Name })
			want, got := of(whole, service.Name), of(New(narrow, seen), service.Name)
			if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
				t.Fatalf("%s:\nnarrowed %+v\nwhole    %+v", service.Name, got, want)
			}
		}
	})
}

// of gives what a plan says of one service by itself.
func of(p Plan, service string) []Action {
	var out []Action
	for _, a := range p.Actions {
		if a.ID.Service != service {
			continue
		}
		a.After = nil
		if a.Blocked != nil && a.Blocked.Code == BlockDependency {
			a.Blocked = nil
		}
		if a.Takeover != nil {
			a.Reason.Text += a.Takeover.words()
			a.Takeover = nil
		}
		if a.Spec != nil {
			spec := *a.Spec
			a.Spec = nil
			a.Reason.Text += fmt.Sprintf(" %+v", spec)
		}
		out = append(out, a)
	}
	return out
}
