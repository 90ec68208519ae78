package reconcile

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tenement/ten/host/api"
	"github.com/tenement/ten/reconcile/plan"
	"github.com/tenement/ten/runtimes"
)

func hand(verb api.Verb, id string, change ...func(*api.Command)) api.Command {
	service, instance, _ := strings.Cut(id, ":")
	c := api.Command{Verb: verb, Service: service, Instance: instance, By: "ann"}
	for _, f := range change {
		f(&c)
	}
	return c
}

func weighing(n int) func(*api.Command) { return func(c *api.Command) { c.Weight = n } }

// refused carries out what must not be possible, and gives why.
func (m *machine) refused(c api.Command, code api.Code) {
	m.t.Helper()
	text, err := m.daemon.Do(m.t.Context(), c)
	var e *api.Error
	if !errors.As(err, &e) || e.Code != code {
		m.t.Errorf("%+v: %q, %v; want %s", c, text, err, code)
	}
}

// living are the ids of what runs.
func (m *machine) living() []string {
	ids := m.alive()
	for i, id := range ids {
		ids[i], _, _ = strings.Cut(id, "#")
	}
	return ids
}

func (m *machine) byHand() []string {
	m.t.Helper()
	obs, err := m.daemon.observe(m.t.Context(), nil, "")
	if err != nil {
		m.t.Fatal(err)
	}
	m.daemon.mu.Lock()
	want := m.daemon.force.Desired
	m.daemon.mu.Unlock()
	var all []string
	for _, h := range plan.New(want, obs).ByHand {
		all = append(all, h.String())
	}
	return all
}

func TestSpawnedByHandOutlivesDaemonsAndRevisions(t *testing.T) {
	onMachine(t, func(t *testing.T, m *machine) {
		m.start()
		m.push("r1", service("web"))
		m.settles("r1")
		if text := m.do(hand(api.VerbSpawn, "web:b")); !strings.Contains(text, "web:b serves") {
			t.Errorf("spawn says %q", text)
		}
		first := m.key("web:b")
		m.do(hand(api.VerbSpawn, "web:b")) // again is fine
		if got := m.byHand(); !slices.Equal(got, []string{"web:b  spawned"}) {
			t.Errorf("the plan shows %q", got)
		}
		m.stop()
		m.start()
		m.push("r2", service("web"))
		m.settles("r2")
		if got := m.living(); !slices.Equal(got, []string{"web:a", "web:b"}) || m.key("web:b") != first {
			t.Errorf("alive: %v", got)
		}
		m.push("r3", service("web", env("3"))) // it follows its service
		m.settles("r3")
		if m.key("web:b") == first {
			t.Error("the spawned instance still runs the old revision")
		}
		m.crash("web:b")
		m.await("web:b is back", func() bool { return len(m.alive()) == 2 })
		if text := m.do(hand(api.VerbStop, "web:b")); !strings.Contains(text, "no more") {
			t.Errorf("stop says %q", text)
		}
		if got := m.living(); !slices.Equal(got, []string{"web:a"}) || len(m.byHand()) != 0 {
			t.Errorf("alive: %v, by hand: %v", got, m.byHand())
		}
		m.refused(hand(api.VerbStop, "web:b"), api.CodeNotFound)
		m.refused(hand(api.VerbSpawn, "nothing:a"), api.CodeNotFound)
		m.refused(hand(api.VerbSpawn, "web:../up"), api.CodeRefused)
		m.nothingStuck()
	})
}

func TestStoppedByHandStaysStopped(t *testing.T) {
	onMachine(t, func(t *testing.T, m *machine) {
		m.start()
		m.push("r1", service("web"), service("db"))
		m.settles("r1")
		m.do(hand(api.VerbStop, "web:a"))
		if got := m.living(); !slices.Equal(got, []string{"db:a"}) {
			t.Errorf("alive: %v", got)
		}
		if r := m.route("web:a"); len(r.Serving) > 0 || r.Wakes {
			t.Errorf("the router was told %+v", r)
		}
		m.stop()
		m.start()
		m.push("r2", service("web", env("2")), service("db"))
		m.settles("r2")
		time.Sleep(time.Minute)
		if got := m.living(); !slices.Equal(got, []string{"db:a"}) {
			t.Errorf("after a restart and a push: %v", got)
		}
		m.refused(hand(api.VerbWake, "web:a"), api.CodeRefused)
		m.do(hand(api.VerbSpawn, "web:a"))
		if got := m.living(); !slices.Equal(got, []string{"db:a", "web:a"}) || len(m.byHand()) != 0 {
			t.Errorf("alive: %v, by hand: %v", got, m.byHand())
		}
		if r := m.route("web:a"); len(r.Serving) != 1 || r.Serving[0].Share != 100 {
			t.Errorf("the router was told %+v", r)
		}
		m.nothingStuck()
	})
}

func TestRestartByHandLeavesNoGap(t *testing.T) {
	onMachine(t, func(t *testing.T, m *machine) {
		m.start()
		m.push("r1", service("web"))
		m.settles("r1")
		before := m.key("web:a")
		least := 1
		m.on(func(string, runtimes.Key) { least = min(least, len(m.route("web:a").Serving)) })
		m.do(hand(api.VerbRestart, "web:a"))
		m.on(nil)
		if after := m.key("web:a"); after.Generation <= before.Generation {
			t.Errorf("restarted from %s to %s", before, after)
		}
		if least < 1 {
			t.Error("there was a moment in which nothing served")
		}
		starts := m.starts("web:a")
		m.stop()
		m.start()
		m.settles("r1")
		time.Sleep(time.Minute)
		if m.starts("web:a") != starts {
			t.Error("it was restarted once more")
		}
		m.do(hand(api.VerbStop, "web:a"))
		m.do(hand(api.VerbRestart, "web:a")) // starts what stands still
		if got := m.living(); !slices.Equal(got, []string{"web:a"}) {
			t.Errorf("alive: %v", got)
		}
		m.refused(hand(api.VerbRestart, "web:x"), api.CodeNotFound)
		m.nothingStuck()
	})
}

func TestWeightsByHandLast(t *testing.T) {
	onMachine(t, func(t *testing.T, m *machine) {
		m.start()
		m.push("r1", service("web", ids("a", "b")))
		m.settles("r1")
		m.do(hand(api.VerbWeight, "web:a", weighing(10)))
		if r := m.route("web:a"); r.Weight != 10 {
			t.Errorf("the router was told %+v", r)
		}
		m.stop()
		m.start()
		m.push("r2", service("web", ids("a", "b"), env("2")))
		m.settles("r2")
		m.crash("web:a")
		m.await("web:a is back", func() bool { return len(m.route("web:a").Serving) == 1 })
		if r := m.route("web:a"); r.Weight != 10 {
			t.Errorf("after a restart of all: %+v", r)
		}
		m.do(hand(api.VerbRoute, "web:b", func(c *api.Command) { c.From = "a" }))
		if a, b := m.route("web:a").Weight, m.route("web:b").Weight; a != 0 || b != 100 {
			t.Errorf("routed: %d and %d", a, b)
		}
		m.do(hand(api.VerbDeploy, "web:v2", weighing(5)))
		if r := m.route("web:v2"); r.Weight != 5 || len(r.Serving) != 1 {
			t.Errorf("deployed: %+v", r)
		}
		m.refused(hand(api.VerbWeight, "web:a", weighing(101)), api.CodeInvalid)
		m.refused(hand(api.VerbWeight, "web:nope", weighing(1)), api.CodeNotFound)
		m.refused(hand(api.VerbRoute, "web:a", func(c *api.Command) { c.From = "a" }), api.CodeInvalid)
		m.nothingStuck()
	})
}

// TestDeployThatFailsIsTakenBack: what never became healthy leaves nothing, and
// the others keep their requests.
func TestDeployThatFailsIsTakenBack(t *testing.T) {
	onMachine(t, func(t *testing.T, m *machine) {
		m.start()
		m.push("r1", service("web"))
		m.settles("r1")
		m.probes.fail(func(spec runtimes.Spec) string {
			if spec.Key.Instance == "v2" {
				return "connection refused"
			}
			return ""
		})
		if text, err := m.daemon.Do(t.Context(), hand(api.VerbDeploy, "web:v2", weighing(100))); err == nil {
			t.Errorf("deploy says %q", text)
		}
		m.probes.fail(nil)
		m.await("v2 is gone", func() bool { return slices.Equal(m.living(), []string{"web:a"}) })
		if got := m.byHand(); len(got) != 0 {
			t.Errorf("by hand: %v", got)
		}
		m.nothingStuck()
	})
}
