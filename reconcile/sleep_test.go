package reconcile

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tenement/ten/host/api"
	"github.com/tenement/ten/reconcile/plan"
	"github.com/tenement/ten/runtimes"
	"github.com/tenement/ten/runtimes/fake"
	"github.com/tenement/ten/schema"
)

func idle(after time.Duration) func(*schema.Service) {
	return func(s *schema.Service) {
		s.IdleTimeout, s.Sleep, s.DrainTimeout = after, schema.SleepStop, 10*time.Second
	}
}

func freezes(s *schema.Service) { s.Sleep = schema.SleepFreeze }

// phase is how ps shows an instance.
func (m *machine) phase(id string) runtimes.Phase {
	m.t.Helper()
	rows, err := m.daemon.Instances(m.t.Context(), true)
	if err != nil {
		m.t.Fatal(err)
	}
	for _, r := range rows {
		if r.Service+":"+r.ID == id {
			return r.Phase
		}
	}
	return ""
}

func (m *machine) asleep(id string) {
	m.t.Helper()
	m.awaitFor(6*time.Minute, id+" sleeps", func() bool { return m.phase(id) == runtimes.Sleeping })
	if e := m.route(id); len(e.Serving) > 0 || !e.Wakes {
		m.t.Errorf("the table of one that sleeps: %+v", e)
	}
}

func (m *machine) ask(id string) {
	m.t.Helper()
	target, _ := runtimes.ParseID(id)
	if err := m.door.request(m.t.Context(), target, time.Millisecond); err != nil {
		m.t.Fatal(err)
	}
}

// TestIdleOnesSleepAndWake goes through it all, both ways to sleep.
func TestIdleOnesSleepAndWake(t *testing.T) {
	for name, how := range map[string]func(*schema.Service){"stop": func(*schema.Service) {}, "freeze": freezes} {
		t.Run(name, func(t *testing.T) {
			onMachine(t, func(t *testing.T, m *machine) { sleepsAndWakes(t, m, name == "freeze", how) })
		})
	}
}

func sleepsAndWakes(t *testing.T, m *machine, frozen bool, how func(*schema.Service)) {
	m.start()
	services := []*schema.Service{service("db"), service("web", idle(5*time.Minute), how)}
	m.push("r1", services...)
	m.settles("r1")
	if m.phase("web:a") != runtimes.Running {
		t.Fatalf("a declared one begins %s", m.phase("web:a"))
	}
	time.Sleep(4 * time.Minute)
	m.ask("web:a")
	time.Sleep(4 * time.Minute)
	if m.phase("web:a") != runtimes.Running {
		t.Fatal("it sleeps 4 minutes after a request")
	}
	began := time.Now()
	m.asleep("web:a")
	if after := time.Since(began); after > 62*time.Second {
		t.Errorf("it fell asleep %s late", after-time.Minute)
	}
	if want := map[bool]int{true: 2, false: 1}[frozen]; len(m.instances()) != want {
		t.Errorf("on the machine: %v", m.instances())
	}
	if s := m.status(); s.Instances.Sleeping != 1 || s.Instances.Unhealthy != 0 || s.State != api.InSync {
		t.Errorf("status %+v", s)
	}
	why, err := m.daemon.Why(t.Context(), "web")
	if err != nil || len(why.Pending) != 0 || why.Past[0].Action != string(plan.OpSleep) || !strings.Contains(why.Past[0].Reason, "no request for 5m0s") {
		t.Errorf("why: %+v %v", why, err)
	}
	time.Sleep(long)
	m.stop()
	m.start()
	m.settles("r1")
	time.Sleep(long)
	m.asleep("web:a") // a restart of the daemon does not wake it
	starts := m.starts("web")
	m.push("r2", services[0], service("web", idle(5*time.Minute), how, func(s *schema.Service) { s.MinHealthy = time.Second }))
	m.settles("r2")
	m.asleep("web:a")
	var all sync.WaitGroup
	for range 1000 {
		all.Go(func() { m.ask("web:a") })
	}
	all.Wait()
	if n, want := m.starts("web")-starts, map[bool]int{true: 0, false: 1}[frozen]; n != want {
		t.Errorf("%d starts for a wake, want %d", n, want)
	}
	m.oneOfEach("db:a", "web:a")
	if s := m.status(); s.Instances.Sleeping != 0 || s.State != api.InSync {
		t.Errorf("status %+v", s)
	}
	m.stop()
	m.start()
	m.settles("r2")
	if e := m.route("web:a"); len(e.Serving) != 1 {
		t.Errorf("adopted and not in the table: %+v", e)
	}
	m.oneOfEach("db:a", "web:a")
	m.asleep("web:a")
	m.nothingStuck()
}

// TestAFrozenOneThatChangedStartsAnew: its process is of an older revision.
func TestAFrozenOneThatChangedStartsAnew(t *testing.T) {
	onMachine(t, func(t *testing.T, m *machine) {
		m.start()
		m.push("r1", service("web", idle(time.Minute), freezes))
		m.settles("r1")
		time.Sleep(2 * time.Minute)
		m.asleep("web:a")
		m.push("r2", service("web", idle(time.Minute), freezes, env("2")))
		m.settles("r2")
		m.asleep("web:a")
		if n := len(m.instances()); n != 0 {
			t.Errorf("%d on the machine", n)
		}
		m.ask("web:a")
		if in := m.instances(); len(in) != 1 || !slices.Contains(in[0].Spec.Env, "V=2") {
			t.Errorf("woken as %+v", in)
		}
		m.nothingStuck()
	})
}

func TestWhatSleepsDiesUnseenAndWakesAnew(t *testing.T) {
	onMachine(t, func(t *testing.T, m *machine) {
		m.start()
		m.push("r1", service("web", idle(time.Minute), freezes))
		m.settles("r1")
		time.Sleep(2 * time.Minute)
		m.asleep("web:a")
		m.world.End(runtimes.Process, m.instances()[0].Spec.Key, runtimes.Exit{Known: true, Code: 137, Signal: 9, OOM: true})
		time.Sleep(time.Minute)
		if n := m.starts("web"); n != 1 {
			t.Errorf("%d starts while nobody asks", n)
		}
		m.ask("web:a")
		m.oneOfEach("web:a")
		m.nothingStuck()
	})
}

func TestWhoMayNotSleep(t *testing.T) {
	tests := map[string]struct {
		change func(*schema.Service)
		during func(m *machine)
	}{
		"a request under way":    {func(*schema.Service) {}, func(m *machine) { go m.hold("web:a", 3*time.Hour) }},
		"one that says it works": {func(*schema.Service) {}, func(m *machine) { m.door.says(runtimes.ID{Service: "web", Instance: "a"}) }},
		"min_running":            {func(s *schema.Service) { s.MinRunning = 1 }, func(*machine) {}},
		"no timeout":             {func(s *schema.Service) { s.IdleTimeout = 0 }, func(*machine) {}},
		"a service held":         {func(*schema.Service) {}, func(m *machine) { m.do(api.Command{Verb: api.VerbPause, Service: "web"}) }},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			onMachine(t, func(t *testing.T, m *machine) {
				m.start()
				m.push("r1", service("web", idle(time.Minute), test.change))
				m.settles("r1")
				test.during(m)
				time.Sleep(2 * long)
				if m.phase("web:a") != runtimes.Running || m.starts("web") != 1 {
					t.Errorf("it is %s after %d starts", m.phase("web:a"), m.starts("web"))
				}
				m.nothingStuck()
			})
		})
	}
}

func (m *machine) hold(id string, long time.Duration) {
	target, _ := runtimes.ParseID(id)
	if err := m.door.request(m.t.Context(), target, long); err != nil {
		m.t.Error(err)
	}
}

// TestMinRunningKeepsSome: those that are idle for the shortest stay, and where
// too few are awake some are woken.
func TestMinRunningKeepsSome(t *testing.T) {
	onMachine(t, func(t *testing.T, m *machine) {
		keep := func(n int) func(*schema.Service) { return func(s *schema.Service) { s.MinRunning = n } }
		m.start()
		m.push("r1", service("web", ids("a", "b", "c"), idle(10*time.Minute), keep(1)))
		m.settles("r1")
		time.Sleep(5 * time.Minute)
		m.ask("web:b")
		time.Sleep(30 * time.Minute)
		m.oneOfEach("web:b")
		m.push("r2", service("web", ids("a", "b", "c"), idle(10*time.Minute), keep(2)))
		m.settles("r2")
		m.await("two are awake", func() bool { return len(m.alive()) == 2 })
		time.Sleep(long)
		m.oneOfEach("web:a", "web:b")
		m.push("r3", service("web", ids("a", "b", "c")))
		m.settles("r3")
		m.await("none may sleep any more", func() bool { return len(m.alive()) == 3 })
		m.nothingStuck()
	})
}

// TestFreezeIsNeverSilentlyAStop where the level can't.
func TestFreezeIsNeverSilentlyAStop(t *testing.T) {
	onMachine(t, func(t *testing.T, m *machine) {
		m.world.Fail(fake.Suspend, &runtimes.UnsupportedError{Level: runtimes.Process, Reason: "no freezer", Hint: `set sleep = "stop"`})
		m.start()
		m.push("r1", service("web", idle(time.Minute), freezes))
		m.settles("r1")
		time.Sleep(61 * time.Second)
		if m.phase("web:a") != runtimes.Running || len(m.route("web:a").Serving) != 1 {
			t.Errorf("%s, table %+v", m.phase("web:a"), m.route("web:a"))
		}
		m.ask("web:a")
		if n := m.status().Instances; n.Sleeping != 0 || m.starts("web") != 1 {
			t.Errorf("%+v", n)
		}
		m.asleep("web:a") // the next try works
	})
}

// TestARequestThatComesBeforeItSleepsIsServed: at each moment of falling asleep
// there may be one.
func TestARequestThatComesBeforeItSleepsIsServed(t *testing.T) {
	onMachine(t, func(t *testing.T, m *machine) {
		m.start()
		m.push("r1", service("web", idle(time.Minute)), service("ice", idle(time.Minute), freezes))
		m.settles("r1")
		var all sync.WaitGroup
		ask := func(id string) {
			target, _ := runtimes.ParseID(id)
			d := m.door
			all.Go(func() {
				if err := d.request(t.Context(), target, time.Millisecond); err != nil {
					t.Error(err)
				}
			})
		}
		for _, when := range []string{"before stop", "after stop"} {
			m.on(func(at string, key runtimes.Key) {
				if at == when {
					ask(key.ID.String())
				}
			})
			for range 3 {
				time.Sleep(2 * time.Minute)
			}
		}
		m.on(nil)
		for i := range 200 {
			time.Sleep(time.Minute + time.Duration(i%7-3)*time.Millisecond)
			ask("web:a")
			ask("ice:a")
		}
		all.Wait()
		time.Sleep(2 * time.Minute)
		m.asleep("web:a")
		m.asleep("ice:a")
		m.nothingStuck()
	})
}

// TestTheDaemonDiesWhileOneFallsAsleep: the next one finishes it.
func TestTheDaemonDiesWhileOneFallsAsleep(t *testing.T) {
	for _, phase := range []string{"before stop", "after stop", "before start", "after start"} {
		t.Run(phase, func(t *testing.T) {
			onMachine(t, func(t *testing.T, m *machine) {
				m.start()
				m.push("r1", service("web", idle(time.Minute)))
				m.settles("r1")
				if strings.HasSuffix(phase, "start") {
					time.Sleep(2 * time.Minute)
				}
				daemon := m.daemon
				m.on(func(when string, _ runtimes.Key) {
					if when == phase {
						daemon.kill()
					}
				})
				if strings.HasSuffix(phase, "start") {
					if err := daemon.Wake(t.Context(), runtimes.ID{Service: "web", Instance: "a"}); err == nil {
						t.Error("woken by a dead daemon")
					}
				}
				time.Sleep(2 * time.Minute)
				m.on(nil)
				m.stop()
				m.start()
				m.settles("r1")
				if phase == "before start" || phase == "after start" {
					m.await("it was asked for, and is awake", func() bool { return len(m.alive()) == 1 })
				}
				m.asleep("web:a")
				m.ask("web:a")
				m.oneOfEach("web:a")
				m.nothingStuck()
			})
		})
	}
}

// TestAWakeThatFailsIsNoTrap: what follows is answered, and served once it can be.
func TestAWakeThatFailsIsNoTrap(t *testing.T) {
	onMachine(t, func(t *testing.T, m *machine) {
		m.start()
		m.push("r1", service("web", idle(time.Minute), patient(10*time.Second)))
		m.settles("r1")
		time.Sleep(2 * time.Minute)
		m.asleep("web:a")
		m.world.SetScript(func(runtimes.Spec) fake.Program { return fake.Program{StartErr: errors.New("no memory")} })
		for range 5 {
			began := time.Now()
			if err := m.daemon.Wake(t.Context(), runtimes.ID{Service: "web", Instance: "a"}); err == nil || time.Since(began) > 12*time.Second {
				t.Errorf("after %s: %v", time.Since(began), err)
			}
		}
		m.world.SetScript(nil0)
		time.Sleep(2 * time.Minute)
		m.ask("web:a")
		m.nothingStuck()
	})
}

// TestUnknownIdsLeaveNoDirectories: who asks for what may not be makes nothing.
func TestUnknownIdsLeaveNothing(t *testing.T) {
	onMachine(t, func(t *testing.T, m *machine) {
		m.start()
		m.push("r1", service("web", func(s *schema.Service) { s.OnDemand, s.MaxInstances = true, 1 }), service("db"))
		m.settles("r1")
		for _, id := range []string{"web:zz", "web:../a", "db:zz", "no:a"} {
			target, _ := runtimes.ParseID(id)
			if err := m.daemon.Wake(t.Context(), target); err == nil {
				t.Errorf("%s was woken", id)
			}
		}
		if n := len(m.daemon.rests); n != 0 {
			t.Errorf("%d are in the books", n)
		}
		m.hasOnly("db", "a")
	})
}

// hasOnly checks which data directories there are: those of the instances given
// as service, id, service, id.
func (m *machine) hasOnly(want ...string) {
	m.t.Helper()
	var got []string
	services, _ := filepath.Glob(filepath.Join(m.dir, "[a-z]*"))
	for _, s := range services {
		ids, _ := os.ReadDir(s)
		for _, id := range ids {
			got = append(got, filepath.Base(s), id.Name())
		}
	}
	if !slices.Equal(got, want) {
		m.t.Errorf("data directories of %v, want %v", got, want)
	}
}
