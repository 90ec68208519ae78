package reconcile

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tenement/ten/host/api"
	"github.com/tenement/ten/runtimes"
	"github.com/tenement/ten/runtimes/fake"
	"github.com/tenement/ten/schema"
)

var crashed = runtimes.Exit{Known: true, Code: 1}

func TestBackoffGrowsAndDelaysNobodyElse(t *testing.T) {
	onMachine(t, func(t *testing.T, m *machine) {
		m.start()
		m.push("r1", service("api"), service("web", ids("a", "b")))
		m.settles("r1")
		var waits []time.Duration
		for range 5 {
			time.Sleep(time.Second / 2)
			began := time.Now()
			m.crash("web:a")
			m.awaitFor(10*time.Minute, "web:a is back", func() bool { return len(m.alive()) == 3 })
			waits = append(waits, time.Since(began))
		}
		for i, want := range []time.Duration{0, time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second} {
			if waits[i] < want || waits[i] > want+100*time.Millisecond {
				t.Errorf("restart %d came after %s, want %s; all: %v", i+1, waits[i], want, waits)
			}
		}
		m.crash("web:a") // from now on it waits for a minute
		for _, other := range []string{"web:b", "api:a"} {
			began := time.Now()
			m.crash(other)
			m.await(other+" is back", func() bool { return len(m.alive()) == 2 })
			if d := time.Since(began); d > 50*time.Millisecond {
				t.Errorf("%s was back after %s: it waited for another one's backoff", other, d)
			}
		}
		m.awaitFor(10*time.Minute, "web:a is back", func() bool { return len(m.alive()) == 3 })
		time.Sleep(10 * time.Minute) // the window moves on
		began := time.Now()
		m.crash("web:a")
		m.await("web:a is back", func() bool { return len(m.alive()) == 3 })
		if d := time.Since(began); d > 50*time.Millisecond {
			t.Errorf("backoff does not decay: %s", d)
		}
		m.oneOfEach("api:a", "web:a", "web:b")
		m.nothingStuck()
	})
}

func TestRestartPoliciesHold(t *testing.T) {
	onMachine(t, func(t *testing.T, m *machine) {
		policy := func(p schema.Restart) func(*schema.Service) {
			return func(s *schema.Service) { s.Restart = p }
		}
		m.start()
		m.push("r1", service("always", policy(schema.RestartAlways)), service("never", policy(schema.RestartNever)), service("onfail", policy(schema.RestartOnFailure)))
		m.settles("r1")
		for _, name := range []string{"always", "never", "onfail"} {
			m.world.End(runtimes.Process, m.key(name+":a"), runtimes.Exit{Known: true})
		}
		time.Sleep(10 * time.Minute)
		if alive := m.alive(); len(alive) != 1 || !strings.HasPrefix(alive[0], "always") {
			t.Errorf("after an end with status 0 these live: %v", alive)
		}
		for _, name := range []string{"never", "onfail"} {
			if n := m.starts(name); n != 1 {
				t.Errorf("%s was started %d times", name, n)
			}
		}
	})
}

func TestUnhealthyIsReplacedWithTheNewBesideTheOld(t *testing.T) {
	onMachine(t, func(t *testing.T, m *machine) {
		m.start()
		m.push("r1", service("web"))
		m.settles("r1")
		old := m.key("web:a")
		m.probes.fail(func(spec runtimes.Spec) string {
			if spec.Key == old {
				return "GET / = 500"
			}
			return ""
		})
		m.await("web was replaced", func() bool { return !slices.Contains(m.alive(), old.String()) })
		now := m.key("web:a")
		calls := m.world.Calls()
		if slices.Index(calls, "start "+now.String()) > slices.Index(calls, "stop "+old.String()) {
			t.Errorf("the old one went first: %v", calls)
		}
		m.settles("r1")
		m.nothingStuck()
	})
}

// TestChangesAreTold: whatever becomes different in what is shown of a host, those
// who watch are told of it at that moment; while nothing does, they are not.
func TestChangesAreTold(t *testing.T) {
	onMachine(t, func(t *testing.T, m *machine) {
		m.start()
		shown := func() string {
			rows, err1 := m.daemon.Instances(t.Context(), true)
			status, err2 := m.daemon.Status(t.Context())
			if err1 != nil || err2 != nil {
				t.Fatal(err1, err2)
			}
			return fmt.Sprint(rows, status)
		}
		watched, told := shown(), m.daemon.Changed()
		ctx, stop := context.WithCancel(t.Context())
		over := make(chan struct{})
		missed := 0
		go func() {
			defer close(over)
			for ctx.Err() == nil {
				select {
				case <-told:
					told = m.daemon.Changed() // before it looks
					time.Sleep(20 * time.Millisecond)
					watched = shown()
				case <-time.After(100 * time.Millisecond):
					if now := shown(); now != watched && ctx.Err() == nil {
						select {
						case <-told: // just now
						default:
							missed++
							t.Errorf("nobody was told that\n%s\nis now\n%s", watched, now)
						}
						watched = now
					}
				case <-ctx.Done():
				}
			}
		}()
		var sick atomic.Bool
		m.probes.fail(func(runtimes.Spec) string {
			if sick.Load() {
				return "GET / = 500"
			}
			return ""
		})
		well := func() bool {
			status, err := m.daemon.Status(t.Context())
			return err == nil && status.Instances.Healthy == 2 && status.Instances.Running == 2
		}
		m.push("r1", service("web"), service("api"))
		m.settles("r1")
		sick.Store(true)
		time.Sleep(time.Minute)
		sick.Store(false)
		m.await("they are well again", well)
		m.world.End(runtimes.Process, m.key("web:a"), crashed)
		time.Sleep(time.Second)
		m.await("the crashed one is back", well)
		for _, c := range []api.Command{
			{Verb: api.VerbStop, Service: "web", Instance: "a"}, {Verb: api.VerbSpawn, Service: "web", Instance: "a"},
			{Verb: api.VerbWeight, Service: "web", Instance: "a", Weight: 7}, {Verb: api.VerbPause, Reason: "lunch"}, {Verb: api.VerbResume},
		} {
			if _, err := m.daemon.Do(t.Context(), c); err != nil {
				t.Error(c.Verb, err)
			}
			time.Sleep(time.Second)
		}
		m.push("r2", service("web"))
		m.settles("r2")
		stop()
		<-over
		quiet := m.daemon.Changed()
		select {
		case <-quiet:
			t.Error("somebody was told though nothing happened")
		case <-time.After(5 * time.Second):
		}
	})
}

// TestAHandedSocketIsNoProof: the kernel answers on a socket that was handed to a
// program before that does anything. It has to say that it is ready, or to live.
func TestAHandedSocketIsNoProof(t *testing.T) {
	handed := func(s *schema.Service) { s.ListenFDs = true }
	for name, tt := range map[string]struct {
		program fake.Program
		health  string
		ready   bool
		takes   time.Duration // at most
		least   time.Duration
		held    bool
	}{
		"lives":               {least: gateAlive, takes: 2 * gateAlive},
		"says that it is":     {ready: true, takes: gateAlive / 2},
		"has a health to ask": {health: "/", takes: gateAlive / 2},
		"ends before long":    {program: fake.Program{Exit: &crashed, RunFor: gateAlive / 2}, held: true, takes: time.Minute},
		"says so and ends":    {program: fake.Program{Exit: &crashed, RunFor: time.Millisecond}, held: true, takes: time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			onMachine(t, func(t *testing.T, m *machine) {
				m.ready = map[string]bool{"web": tt.ready}
				m.start()
				m.world.SetScript(func(runtimes.Spec) fake.Program { return tt.program })
				began := time.Now()
				m.push("r1", service("web", handed, func(s *schema.Service) { s.Health = tt.health }))
				if tt.held {
					m.await("it is not taken for good", func() bool { return m.status().State == api.Held || m.status().State == api.Blocked })
				} else {
					m.settles("r1")
				}
				if took := time.Since(began); took < tt.least || took > tt.takes {
					t.Errorf("it took %s, want %s to %s", took, tt.least, tt.takes)
				}
			})
		})
	}
}

// TestADoubtIsDegraded: one or two failed probes are told and do nothing; an
// answer takes the doubt back.
func TestADoubtIsDegraded(t *testing.T) {
	onMachine(t, func(t *testing.T, m *machine) {
		m.start()
		m.push("r1", service("web"))
		m.settles("r1")
		var sick atomic.Bool
		m.probes.fail(func(runtimes.Spec) string {
			if sick.Load() {
				return "GET / = 500"
			}
			return ""
		})
		shown := func() runtimes.Health {
			rows, err := m.daemon.Instances(t.Context(), false)
			if err != nil || len(rows) == 0 {
				t.Fatal(rows, err)
			}
			return rows[0].Health
		}
		sick.Store(true)
		if word, err := m.daemon.Probe(t.Context(), m.key("web:a").ID); word != runtimes.Degraded || err != nil {
			t.Errorf("asked now: %s, %v", word, err)
		}
		m.await("a doubt is shown", func() bool { return shown() == runtimes.Degraded })
		status, err := m.daemon.Status(t.Context())
		if err != nil || status.Instances.Degraded != 1 || status.Instances.Healthy != 0 {
			t.Errorf("counted as %+v, %v", status.Instances, err)
		}
		sick.Store(false)
		m.await("it is well again", func() bool { return shown() == runtimes.Healthy })
		sick.Store(true)
		m.await("it is unhealthy in the end", func() bool { return shown() == runtimes.Unhealthy || m.starts("web") > 1 })
		sick.Store(false)
		m.settles("r1")
	})
}

func TestBadStartsDoNotSpin(t *testing.T) {
	tests := map[string]struct {
		program fake.Program
		sick    bool // the new ones never get healthy
		unwell  bool // the old one is unhealthy rather than dead
	}{
		"no start":                {program: fake.Program{StartErr: errors.New("no such file")}},
		"slow failure":            {program: fake.Program{StartErr: errors.New("no such file"), StartDelay: time.Second}},
		"ends at once":            {program: fake.Program{Exit: &crashed}},
		"ends soon":               {program: fake.Program{Exit: &crashed, RunFor: 20 * time.Millisecond}},
		"never ready":             {sick: true},
		"unwell, no start":        {program: fake.Program{StartErr: errors.New("no such file")}, unwell: true},
		"unwell, ends at once":    {program: fake.Program{Exit: &crashed}, unwell: true},
		"unwell, never ready":     {sick: true, unwell: true},
		"unwell, ends when ready": {program: fake.Program{Exit: &crashed, RunFor: time.Second}, unwell: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			onMachine(t, func(t *testing.T, m *machine) {
				m.start()
				m.push("r1", service("api"), service("web", patient(time.Second)))
				m.settles("r1")
				old := m.key("web:a")
				m.world.SetScript(func(spec runtimes.Spec) fake.Program { return tt.program })
				m.probes.fail(func(spec runtimes.Spec) string {
					if spec.Key.Service == "web" && (tt.sick && spec.Key != old || tt.unwell && spec.Key == old) {
						return "GET / = 500"
					}
					return ""
				})
				if !tt.unwell {
					m.crash("web:a")
				}
				before, lists := m.starts("web"), m.lists.Load()
				const most = 18 // five quick ones, then one a minute
				time.Sleep(10 * time.Minute)
				if n := m.starts("web") - before; n < 5 || n > most {
					t.Errorf("%d starts in ten minutes, want up to %d", n, most)
				}
				if n := m.lists.Load() - lists; n > 40*most {
					t.Errorf("the machine was asked %d times in ten minutes", n)
				}
				if tt.unwell && !slices.Contains(m.alive(), old.String()) && !tt.sick && tt.program.RunFor < time.Second {
					t.Errorf("the old one was given up for nothing: %v", m.alive())
				}
				if m.starts("api") != 1 {
					t.Errorf("api was started %d times", m.starts("api"))
				}
				m.world.SetScript(nil0)
				m.probes.fail(nil)
				m.awaitFor(3*time.Minute, "web is well again", func() bool {
					list, err := m.daemon.Instances(t.Context(), false)
					return err == nil && len(list) == 2 && list[0].Health == runtimes.Healthy && list[1].Health == runtimes.Healthy
				})
				time.Sleep(2 * time.Minute)
				m.oneOfEach("api:a", "web:a")
				m.nothingStuck()
			})
		})
	}
}

func nil0(runtimes.Spec) fake.Program { return fake.Program{} }

func walled(s *schema.Service) {
	s.Isolation = "namespace"
	s.Fields["isolation"] = `"namespace"`
}

func (m *machine) blindTo(level runtimes.Level, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.blind = map[runtimes.Level]error{}
	if err != nil {
		m.blind[level] = err
	}
}

func TestUnknownIsNeitherStoppedNorStarted(t *testing.T) {
	onMachine(t, func(t *testing.T, m *machine) {
		m.start()
		m.push("r1", service("gone", walled), service("inside", walled), service("web"))
		m.settles("r1")
		inside, gone := m.key("inside:a"), m.key("gone:a")
		m.blindTo(runtimes.Namespace, errors.New("permission denied"))
		m.push("r2", service("inside", walled, env("2")), service("web", env("2")))
		s := m.state(api.Blocked)
		if !strings.Contains(s.Message, "permission denied") {
			t.Errorf("status: %+v", s)
		}
		m.world.End(runtimes.Namespace, inside, crashed)
		m.stop()
		m.start()
		time.Sleep(5 * time.Minute)
		if s := m.status(); s.State != api.Blocked {
			t.Errorf("not all is known, and status says %+v", s)
		}
		if m.starts("inside") != 1 || m.key("gone:a") != gone || m.starts("web") != 2 {
			t.Errorf("calls: %v", m.world.Calls())
		}
		m.blindTo("", nil)
		m.settles("r2")
		m.oneOfEach("inside:a", "web:a")
		m.nothingStuck()
	})
}

func TestWhatNobodyDeclaredIsRemovedOnceItIsSeen(t *testing.T) {
	onMachine(t, func(t *testing.T, m *machine) {
		m.start()
		m.push("r1", service("gone", walled), service("web"))
		m.settles("r1")
		m.blindTo(runtimes.Namespace, errors.New("permission denied"))
		m.push("r2", service("web"))
		time.Sleep(time.Minute)
		if s := m.status(); s.State == api.InSync {
			t.Errorf("a level can't be asked, and status says %+v", s)
		}
		m.blindTo("", nil)
		m.settles("r2")
		m.await("gone is gone", func() bool { return len(m.alive()) == 1 })
		m.oneOfEach("web:a")
	})
}

func TestWatchThatFailsIsBegunAgain(t *testing.T) {
	onMachine(t, func(t *testing.T, m *machine) {
		m.start()
		m.world.Fail(fake.Wait, errors.New("interrupted"), errors.New("interrupted"))
		m.push("r1", service("web"))
		m.settles("r1")
		time.Sleep(10 * time.Second)
		began := time.Now()
		m.crash("web:a")
		m.await("web is back", func() bool { return len(m.alive()) == 1 })
		if d := time.Since(began); d > 100*time.Millisecond {
			t.Errorf("back after %s", d)
		}
	})
}

func TestStopThatFailsIsTriedAgain(t *testing.T) {
	onMachine(t, func(t *testing.T, m *machine) {
		m.start()
		m.push("r1", service("web"))
		m.settles("r1")
		for range 20 {
			m.world.Fail(fake.Stop, errors.New("stuck in the kernel"))
		}
		m.crash("web:a")
		time.Sleep(10 * time.Minute)
		if n := m.starts("web"); n != 1 {
			t.Errorf("started %d times though the old one could not be removed", n)
		}
		m.awaitFor(time.Hour, "web is back", func() bool { return len(m.alive()) == 1 })
		m.oneOfEach("web:a")
	})
}

func TestDependentsComeAfterWhatTheyNeed(t *testing.T) {
	needs := func(name string, c schema.Condition) func(*schema.Service) {
		return func(s *schema.Service) {
			s.DependsOn = []schema.Dependency{{Service: name, Condition: c}}
			s.Fields["depends_on"] = fmt.Sprintf(`[{"service":%q,"condition":%q}]`, name, c)
		}
	}
	onMachine(t, func(t *testing.T, m *machine) {
		var mu sync.Mutex
		var ready time.Time // when db gets healthy
		started := map[string]time.Time{}
		m.probes.fail(func(spec runtimes.Spec) string {
			mu.Lock()
			defer mu.Unlock()
			if spec.Key.Service == "db" && time.Now().Before(ready) {
				return "not yet"
			}
			return ""
		})
		m.on(func(when string, key runtimes.Key) {
			mu.Lock()
			defer mu.Unlock()
			if when == "after start" {
				started[key.Service] = time.Now()
			}
		})
		begin := func(healthy time.Duration) {
			mu.Lock()
			defer mu.Unlock()
			clear(started)
			ready = time.Now().Add(healthy)
		}
		after := func(service string) time.Duration {
			mu.Lock()
			defer mu.Unlock()
			return started[service].Sub(started["db"])
		}
		begin(3 * time.Second)
		m.start()
		all := []*schema.Service{service("db"), service("early", needs("db", schema.ConditionStarted)), service("late", needs("db", schema.ConditionHealthy))}
		m.push("r1", slices.Clone(all)...)
		m.settles("r1")
		if d := after("early"); d < 0 || d > time.Second {
			t.Errorf("early came %s after db started; it wants it started only", d)
		}
		if d := after("late"); d < 3*time.Second || d > 4*time.Second {
			t.Errorf("late came %s after db started; it wants it healthy", d)
		}
		// A dead incarnation beside the living one does not make it sick.
		m.crash("db:a")
		m.await("db is back", func() bool { return len(m.alive()) == 3 })
		time.Sleep(time.Second)
		m.push("r2", service("db"), all[1], service("late", needs("db", schema.ConditionHealthy), env("2")))
		m.settles("r2")
		// After a reboot the order holds too.
		m.stop()
		for _, in := range m.instances() {
			m.world.End(runtimes.Process, in.Spec.Key, runtimes.Exit{})
		}
		begin(4 * time.Second)
		m.start()
		m.await("all are back", func() bool { return len(m.alive()) == 3 })
		if d := after("late"); d < 3*time.Second {
			t.Errorf("after a reboot late came %s after db", d)
		}
		m.settles("r2")
	})
}
