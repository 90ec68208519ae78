package reconcile

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tenement/ten/host/api"
	"github.com/tenement/ten/runtimes"
	"github.com/tenement/ten/schema"
)

func deploys(how schema.Deploy) func(*schema.Service) {
	return func(s *schema.Service) {
		s.Deploy, s.CanarySteps, s.CanaryStep, s.DrainTimeout = how, []int{10, 50}, 15*time.Second, 10*time.Second
	}
}

// TestNoRequestFailsInARollout hammers two instances through a rollout of each
// kind, one that fails and one that a newer one overtakes.
func TestNoRequestFailsInARollout(t *testing.T) {
	for _, how := range []schema.Deploy{schema.DeployRolling, schema.DeployBlueGreen, schema.DeployCanary} {
		t.Run(string(how), func(t *testing.T) {
			onMachine(t, func(t *testing.T, m *machine) {
				web := func(v string) *schema.Service { return service("web", ids("a", "b"), deploys(how), env(v)) }
				m.start()
				m.push("r1", web("1"))
				m.settles("r1")
				a, b := m.hammer("web:a", 100*time.Millisecond, 300*time.Millisecond), m.hammer("web:b", 250*time.Millisecond, 5*time.Second)
				m.push("r2", web("2"))
				m.awaitFor(6*time.Minute, "r2", func() bool { return m.status().Revision.Applied == "r2" })
				m.probes.fail(bad("3"))
				m.push("r3", web("3"))
				m.awaitFor(6*time.Minute, "r3 is held", func() bool { return m.status().State == api.Held })
				m.probes.fail(nil)
				m.push("r4", web("4"))
				time.Sleep(5 * time.Second)
				m.push("r5", web("5"))
				m.awaitFor(6*time.Minute, "r5", func() bool { return m.status().Revision.Applied == "r5" })
				if n, k := a(), b(); n < 100 || k < 50 {
					t.Errorf("only %d and %d requests", n, k)
				}
				if len(m.door.cut) > 0 {
					t.Errorf("cut: %v", m.door.cut)
				}
				m.oneOfEach("web:a", "web:b")
				for _, in := range m.instances() {
					if !slices.Contains(in.Spec.Env, "V=5") {
						t.Errorf("%s runs with %v", in.Spec.Key, in.Spec.Env)
					}
				}
				m.nothingStuck()
			})
		})
	}
}

// takers gives for each update since the nth which generations get requests:
// "a1 b1" and then, say, "a3 b4".
func (m *machine) takers(since int) []string {
	m.door.mu.Lock()
	defer m.door.mu.Unlock()
	now := map[string]string{}
	var out []string
	for _, u := range m.door.updates[since:] {
		for _, e := range u.Endpoints {
			now[e.ID.Instance] = ""
			for _, in := range e.Serving {
				if in.Share > 0 {
					now[e.ID.Instance] += fmt.Sprintf("%d:%d%% ", in.Key.Generation, in.Share)
				}
			}
		}
		if line := fmt.Sprint(now); len(out) == 0 || out[len(out)-1] != line {
			out = append(out, line)
		}
	}
	return out
}

func TestBlueGreenSwitchesAllInOneMoment(t *testing.T) {
	onMachine(t, func(t *testing.T, m *machine) {
		var names []string
		for n := range 20 { // more than come up side by side elsewhere
			names = append(names, fmt.Sprintf("i%02d", n))
		}
		web := func(v string) *schema.Service {
			return service("web", ids(names...), deploys(schema.DeployBlueGreen), env(v))
		}
		m.start()
		m.push("r1", web("1"))
		m.settles("r1")
		old := m.alive()
		since := len(m.door.updates)
		m.push("r2", web("2"))
		m.settles("r2")
		serving := m.takers(since)
		if len(serving) > 2 {
			t.Errorf("it took %d updates: %s", len(serving), strings.Join(serving, "\n"))
		}
		m.probes.fail(func(spec runtimes.Spec) string {
			if spec.Key.Instance == "i07" && slices.Contains(spec.Env, "V=3") {
				return "GET / = 503"
			}
			return ""
		})
		now := m.alive()
		if len(now) != 20 || slices.Equal(now, old) {
			t.Fatalf("alive: %v", now)
		}
		since = len(m.door.updates)
		m.push("r3", web("3"))
		m.state(api.Held)
		if !slices.Equal(m.alive(), now) {
			t.Errorf("one failed, and now: %v", m.alive())
		}
		if serving := m.takers(since); len(serving) > 1 {
			t.Errorf("some took over all the same: %s", strings.Join(serving, "\n"))
		}
		m.nothingStuck()
	})
}

func TestCanaryTakesItsShareStepByStep(t *testing.T) {
	onMachine(t, func(t *testing.T, m *machine) {
		web := func(v string) *schema.Service { return service("web", deploys(schema.DeployCanary), env(v)) }
		m.start()
		m.push("r1", web("1"))
		m.settles("r1")
		since, began := len(m.door.updates), time.Now()
		m.push("r2", web("2"))
		m.awaitFor(5*time.Minute, "r2", func() bool { return m.status().Revision.Applied == "r2" })
		if took := time.Since(began); took < 30*time.Second || took > 35*time.Second {
			t.Errorf("it took %s", took)
		}
		want := []string{"map[a:1:100% ]", "map[a:1:90% 2:10% ]", "map[a:1:50% 2:50% ]", "map[a:2:100% ]"}
		if got := m.takers(since); !slices.Equal(got, want) {
			t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		m.nothingStuck()
	})
}

// TestACanaryThatFailsGoes: by its answers, its health, its end, and at once.
func TestACanaryThatFailsGoes(t *testing.T) {
	tests := map[string]struct {
		do   func(m *machine)
		want string
	}{
		"answers": {func(m *machine) {
			m.door.mu.Lock()
			m.door.fails = func(key runtimes.Key) bool { return key.Generation > 1 && key.Generation%2 == 0 }
			m.door.mu.Unlock()
		}, "answers were failures"},
		"health": {func(m *machine) { m.probes.fail(bad("2")) }, "503"},
		"end":    {func(m *machine) { m.world.End(runtimes.Process, m.newest("web"), crashed) }, "exited 1"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			onMachine(t, func(t *testing.T, m *machine) {
				web := func(v string) *schema.Service { return service("web", deploys(schema.DeployCanary), env(v)) }
				m.start()
				m.push("r1", web("1"))
				m.settles("r1")
				before := m.alive()
				stop := func() int { return 0 }
				if name != "end" { // whose requests under way nobody can save
					stop = m.hammer("web:a", 20*time.Millisecond, 100*time.Millisecond)
				}
				m.push("r2", web("2"))
				m.await("the canary gets requests", func() bool { return len(m.route("web:a").Serving) == 2 })
				began := time.Now()
				test.do(m)
				s := m.state(api.Held)
				if !strings.Contains(s.Message, test.want) || s.Revision.Applied != "r1" {
					t.Errorf("status: %+v", s)
				}
				if took := time.Since(began); took > 12*time.Second {
					t.Errorf("it took %s", took)
				}
				stop()
				if !slices.Equal(m.alive(), before) {
					t.Errorf("alive: %v, before %v", m.alive(), before)
				}
				if e := m.route("web:a"); len(e.Serving) != 1 || e.Serving[0].Share != 100 {
					t.Errorf("table: %+v", e)
				}
				m.nothingStuck()
			})
		})
	}
}

// newest is the key of a service's newest living incarnation.
func (m *machine) newest(service string) runtimes.Key {
	var key runtimes.Key
	for _, in := range m.instances() {
		if in.Spec.Key.Service == service && in.Phase.Alive() && in.Spec.Key.Generation > key.Generation {
			key = in.Spec.Key
		}
	}
	return key
}

// TestTheDaemonDiesInATakeover: the next one carries it on, and no request fails
// of those that it takes.
func TestTheDaemonDiesInATakeover(t *testing.T) {
	for _, how := range []schema.Deploy{schema.DeployBlueGreen, schema.DeployCanary} {
		for _, after := range []time.Duration{0, time.Second, 10 * time.Second, 25 * time.Second} {
			t.Run(fmt.Sprint(how, " ", after), func(t *testing.T) {
				onMachine(t, func(t *testing.T, m *machine) {
					web := func(v string) *schema.Service {
						return service("web", ids("a", "b"), deploys(how), env(v), func(s *schema.Service) { s.MinHealthy = 2 * time.Second })
					}
					m.start()
					m.push("r1", web("1"))
					m.settles("r1")
					m.push("r2", web("2"))
					m.await("something of r2 starts", func() bool { return m.starts("web") > 2 })
					time.Sleep(after)
					m.daemon.kill()
					m.stop()
					m.start()
					m.await("it serves", func() bool { return len(m.route("web:a").Serving) > 0 && len(m.route("web:b").Serving) > 0 })
					a, b := m.hammer("web:a", 150*time.Millisecond, 300*time.Millisecond), m.hammer("web:b", 150*time.Millisecond, 300*time.Millisecond)
					m.awaitFor(6*time.Minute, "r2", func() bool { s := m.status(); return s.Revision.Applied == "r2" && s.State == api.InSync })
					a()
					b()
					m.oneOfEach("web:a", "web:b")
					if n := m.starts("web"); n > 4 {
						t.Errorf("%d starts: what was there was not carried on", n)
					}
					m.nothingStuck()
				})
			})
		}
	}
}
