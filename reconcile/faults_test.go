package reconcile

import (
	"errors"
	"testing"
	"time"

	"github.com/tenement/ten/host/api"
	"github.com/tenement/ten/runtimes"
	"github.com/tenement/ten/runtimes/fake"
)

// Faults of the Rust tenement that no other test is about.

// TestAFailedSpawnIsNeverCalledDone: one that can't start is said not to, as often
// as it is asked for; and once it can, it runs.
func TestAFailedSpawnIsNeverCalledDone(t *testing.T) {
	onMachine(t, func(t *testing.T, m *machine) {
		m.start()
		m.push("r1", service("web"))
		m.settles("r1")
		m.world.SetScript(func(runtimes.Spec) fake.Program {
			return fake.Program{StartErr: errors.New("no such file")}
		})
		for range 3 {
			if text, err := m.daemon.Do(t.Context(), hand(api.VerbSpawn, "web:acme")); err == nil {
				t.Fatalf("it says %q of what does not run", text)
			}
		}
		m.world.SetScript(func(runtimes.Spec) fake.Program { return fake.Program{} })
		m.do(hand(api.VerbSpawn, "web:acme"))
		if r := m.route("web:acme"); len(r.Serving) != 1 {
			t.Errorf("the router was told %+v", r)
		}
		m.nothingStuck()
	})
}

// TestAWeightSleepsWithItsInstance: neither a sleep nor a wake, nor a restart of
// the daemon in between, takes a weight back.
func TestAWeightSleepsWithItsInstance(t *testing.T) {
	onMachine(t, func(t *testing.T, m *machine) {
		m.start()
		m.push("r1", service("web", ids("a", "b"), idle(time.Minute)))
		m.settles("r1")
		m.do(hand(api.VerbWeight, "web:a", weighing(7)))
		weighs := func(when string) {
			t.Helper()
			if r := m.route("web:a"); r.Weight != 7 {
				t.Errorf("%s: %+v", when, r)
			}
		}
		m.asleep("web:a")
		weighs("asleep")
		m.ask("web:a")
		weighs("woken")
		m.asleep("web:a")
		m.stop()
		m.start()
		m.await("it is in the table again", func() bool { return m.route("web:a").Wakes })
		weighs("after a restart of the daemon")
		m.ask("web:a")
		weighs("and woken after it")
	})
}

// TestADeployNeverGetsMoreThanItsWeight: not for a moment is what is deployed with
// a small weight given the usual one, nor anything before it is healthy.
func TestADeployNeverGetsMoreThanItsWeight(t *testing.T) {
	onMachine(t, func(t *testing.T, m *machine) {
		m.start()
		m.push("r1", service("web"))
		m.settles("r1")
		m.do(hand(api.VerbDeploy, "web:v2", weighing(0)))
		m.door.mu.Lock()
		defer m.door.mu.Unlock()
		served := false
		for _, u := range m.door.updates {
			for _, e := range u.Endpoints {
				if e.ID.Instance != "v2" {
					continue
				}
				served = served || len(e.Serving) > 0
				if e.Weight != 0 {
					t.Errorf("the router was told %+v", e)
				}
			}
		}
		if !served {
			t.Error("it never served")
		}
	})
}
