package reconcile

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tenement/ten/host/api"
	"github.com/tenement/ten/runtimes"
	"github.com/tenement/ten/runtimes/fake"
	"github.com/tenement/ten/schema"
)

func TestRemovalGuardWaitsForApproval(t *testing.T) {
	onMachine(t, func(t *testing.T, m *machine) {
		m.start()
		var all []*schema.Service
		for i := range 10 {
			all = append(all, service(fmt.Sprintf("s%d", i)))
		}
		m.push("r1", slices.Clone(all)...)
		m.settles("r1")
		m.push("r2", slices.Clone(all[:5])...)
		s := m.state(api.Blocked)
		if !strings.Contains(s.Message, "5 of 10") || !strings.Contains(s.Hint, "ten approve r2") {
			t.Errorf("status: %+v", s)
		}
		time.Sleep(10 * time.Minute)
		if len(m.alive()) != 10 {
			t.Fatalf("removed without a word: %v", m.alive())
		}
		m.stop() // it waits over a restart too
		m.start()
		m.state(api.Blocked)
		if _, err := m.daemon.Do(t.Context(), api.Command{Verb: api.VerbApprove, Revision: "r1"}); err == nil {
			t.Error("another revision was approved")
		}
		m.do(api.Command{Verb: api.VerbApprove, Revision: "r2"})
		m.settles("r2")
		if len(m.alive()) != 5 {
			t.Errorf("alive: %v", m.alive())
		}
		if _, err := m.daemon.Do(t.Context(), api.Command{Verb: api.VerbApprove, Revision: "r2"}); err == nil {
			t.Error("nothing waits, and was approved")
		}
		m.nothingStuck()
	})
}

func TestPausedHostWaitsAndIsKeptUp(t *testing.T) {
	onMachine(t, func(t *testing.T, m *machine) {
		m.start()
		m.push("r1", service("web"))
		m.settles("r1")
		m.do(api.Command{Verb: api.VerbPause, Reason: "a demo is on"})
		if s := m.state(api.Paused); !strings.Contains(s.Message, "a demo is on") {
			t.Errorf("status: %+v", s)
		}
		m.push("r2", service("web", env("2")))
		time.Sleep(time.Minute)
		if s := m.status(); s.State != api.Paused || s.Revision.Applied != "r1" || s.Revision.Attempted != "r2" {
			t.Errorf("status: %+v", s)
		}
		m.crash("web:a")
		m.await("web is back while paused", func() bool { return len(m.alive()) == 1 })
		m.stop()
		m.start()
		m.state(api.Paused)
		if e := m.apply(""); e.Error == "" || !e.Done {
			t.Errorf("an apply while paused ended with %+v", e)
		}
		m.do(api.Command{Verb: api.VerbResume})
		m.settles("r2")
		m.nothingStuck()
	})
}

func TestPauseWithAnEndEndsByItself(t *testing.T) {
	onMachine(t, func(t *testing.T, m *machine) {
		m.start()
		m.push("r1", service("web"))
		m.settles("r1")
		m.do(api.Command{Verb: api.VerbPause, Until: time.Now().Add(time.Hour)})
		m.push("r2", service("web", env("2")))
		m.state(api.Paused)
		time.Sleep(59 * time.Minute)
		if s := m.status(); s.State != api.Paused {
			t.Errorf("status: %+v", s)
		}
		time.Sleep(time.Minute + time.Second)
		m.settles("r2")
	})
}

func TestPausedServiceWaitsAlone(t *testing.T) {
	onMachine(t, func(t *testing.T, m *machine) {
		m.start()
		m.push("r1", service("api"), service("web"))
		m.settles("r1")
		web := m.key("web:a")
		m.do(api.Command{Verb: api.VerbPause, Service: "web"})
		m.push("r2", service("api", env("2")), service("web", env("2")))
		s := m.state(api.Blocked)
		if !strings.Contains(s.Message, "web:a") || m.key("web:a") != web {
			t.Errorf("status: %+v, alive %v", s, m.alive())
		}
		m.do(api.Command{Verb: api.VerbResume, Service: "web"})
		began := time.Now()
		m.settles("r2")
		if m.key("web:a") == web || time.Since(began) > time.Second {
			t.Errorf("after %s alive: %v", time.Since(began), m.alive())
		}
		if _, err := m.daemon.Do(t.Context(), api.Command{Verb: api.VerbPause, Service: "nobody"}); err == nil {
			t.Error("a service that is not there was paused")
		}
	})
}

func TestWordsDuringARolloutDoNotUndoIt(t *testing.T) {
	for _, verb := range []api.Verb{api.VerbResume, api.VerbRetry, api.VerbSync} {
		t.Run(string(verb), func(t *testing.T) {
			onMachine(t, func(t *testing.T, m *machine) {
				m.start()
				m.push("r1", service("db"), service("web"))
				m.settles("r1")
				m.do(api.Command{Verb: api.VerbPause, Service: "db"})
				m.probes.fail(bad("2"))
				m.push("r2", service("db"), service("web", env("2"), patient(time.Hour)))
				m.await("at the gate", func() bool { return len(m.alive()) == 3 })
				m.do(api.Command{Verb: verb, Service: map[api.Verb]string{api.VerbResume: "db"}[verb]})
				time.Sleep(time.Minute)
				if len(m.alive()) != 3 || m.starts("") != 3 {
					t.Errorf("%s disturbed the rollout: %v", verb, m.world.Calls())
				}
				m.probes.fail(nil)
				m.settles("r2")
				m.nothingStuck()
			})
		})
	}
}

func TestApplyThatMayNotBeSaysSo(t *testing.T) {
	onMachine(t, func(t *testing.T, m *machine) {
		m.start()
		var all []*schema.Service
		for i := range 10 {
			all = append(all, service(fmt.Sprintf("s%d", i)))
		}
		m.push("r1", slices.Clone(all)...)
		m.settles("r1")
		m.snapshotAt("few", slices.Clone(all[:2])...)
		if e := m.apply("few"); !strings.Contains(e.Error, "ten approve few") {
			t.Errorf("guarded: %+v", e)
		}
		m.snapshotAt("sick", append(slices.Clone(all[:9]), service("s9", env("bad")))...)
		m.probes.fail(bad("bad"))
		e := m.apply("sick")
		if !strings.Contains(e.Error, "s9:a") || !strings.Contains(e.Error, "503") || len(e.Logs) == 0 {
			t.Errorf("failed: %+v", e)
		}
		if s := m.state(api.Held); s.Revision.Applied != "r1" {
			t.Errorf("status: %+v", s)
		}
		m.probes.fail(nil)
		m.do(api.Command{Verb: api.VerbRetry}) // of a directory, which no source has
		m.settles("sick")
		if err := m.daemon.Apply(t.Context(), api.ApplyRequest{Dir: "nowhere"}, func(api.Event) {}); err == nil {
			t.Error("a directory that is not there was applied")
		}
		var moved *api.Error
		err := m.daemon.Apply(t.Context(), api.ApplyRequest{Dir: "few", Expect: "0000"}, func(api.Event) {})
		if !errors.As(err, &moved) || moved.Code != api.CodeStale {
			t.Errorf("another plan than was seen: %v", err)
		}
		m.nothingStuck()
	})
}

func TestApplyGoesOnWhenItsClientLeaves(t *testing.T) {
	onMachine(t, func(t *testing.T, m *machine) {
		m.start()
		m.push("r1", service("web"))
		m.settles("r1")
		m.snapshotAt("desk", service("web", env("desk")))
		m.world.SetScript(func(runtimes.Spec) fake.Program { return fake.Program{StartDelay: time.Minute} })
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := m.daemon.Apply(ctx, api.ApplyRequest{Dir: "desk"}, func(api.Event) {}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a client that left was answered %v", err)
		}
		m.awaitFor(10*time.Minute, "desk", func() bool { return m.status().Revision.Applied == "desk" })
		m.nothingStuck()
	})
}

func TestAppliesAtOnceEachHearOfTheirOwn(t *testing.T) {
	onMachine(t, func(t *testing.T, m *machine) {
		m.start()
		m.push("r1", service("web"))
		m.settles("r1")
		m.probes.fail(bad("gate"))
		m.snapshotAt("gate", service("web", env("gate"), patient(time.Hour)))
		m.snapshotAt("queued", service("web", env("queued")))
		m.snapshotAt("last", service("web", env("last")))
		var mu sync.Mutex
		ends := map[string]string{}
		var all sync.WaitGroup
		apply := func(dir string) {
			all.Go(func() {
				e := m.apply(dir)
				mu.Lock()
				ends[dir] = e.Error
				mu.Unlock()
			})
		}
		apply("gate")
		m.await("at the gate", func() bool { return len(m.alive()) == 2 })
		apply("queued")
		apply("last")
		all.Wait()
		done := 0
		for dir, text := range ends {
			if text == "" {
				done++
				m.settles(dir)
			} else if !strings.Contains(text, "newer revision") {
				t.Errorf("%s: %q", dir, text)
			}
		}
		if done != 1 || ends["gate"] == "" {
			t.Errorf("ends: %q", ends)
		}
		m.oneOfEach("web:a")
		m.nothingStuck()
	})
}

func TestDownDuringARolloutLeavesNothing(t *testing.T) {
	for _, when := range []string{"at rest", "gate", "revert", "crash loop"} {
		t.Run(when, func(t *testing.T) {
			onMachine(t, func(t *testing.T, m *machine) {
				m.start()
				m.push("r1", service("api", patient(time.Hour)), service("web", ids("a", "b", "c")))
				m.settles("r1")
				switch when {
				case "gate":
					m.probes.fail(bad("2"))
					m.push("r2", service("api"), service("new"), service("web", ids("a", "b", "c"), env("2"), patient(time.Hour)))
					m.await("at the gate", func() bool { return len(m.alive()) > 5 })
				case "revert":
					m.probes.fail(func(runtimes.Spec) string { return "no" })
					m.push("r2", service("api", func(s *schema.Service) { s.Isolation = "namespace"; s.Fields["isolation"] = `"namespace"` }, patient(time.Second)), service("web", ids("a", "b", "c")))
					m.await("reverting", func() bool { return m.starts("api") >= 3 })
				case "crash loop":
					m.world.SetScript(func(runtimes.Spec) fake.Program {
						return fake.Program{Exit: &runtimes.Exit{Known: true, Code: 3}, RunFor: time.Millisecond}
					})
					m.crash("web:b")
					time.Sleep(3 * time.Second)
				}
				began := time.Now()
				m.do(api.Command{Verb: api.VerbDown})
				<-m.daemon.ended
				if d := time.Since(began); d > 5*time.Second {
					t.Errorf("down took %s", d)
				}
				if left := m.instances(); len(left) > 0 {
					t.Errorf("left over: %v", left)
				}
				m.stop() // its Run returned nil
			})
		})
	}
}

func TestDownThatFailsCanBeTriedAgain(t *testing.T) {
	onMachine(t, func(t *testing.T, m *machine) {
		m.start()
		m.push("r1", service("web"))
		m.settles("r1")
		m.world.Fail(fake.Stop, errors.New("stuck in the kernel"))
		if _, err := m.daemon.Do(t.Context(), api.Command{Verb: api.VerbDown}); err == nil {
			t.Fatal("down that could not stop an instance said that it did")
		}
		if s := m.status(); s.State != api.Failed || s.Hint == "" {
			t.Errorf("status: %+v", s)
		}
		m.do(api.Command{Verb: api.VerbDown})
		<-m.daemon.ended
	})
}

func TestSleepersWakeOnceForAllWhoAsk(t *testing.T) {
	onMachine(t, func(t *testing.T, m *machine) {
		m.world.SetScript(func(runtimes.Spec) fake.Program { return fake.Program{StartDelay: 200 * time.Millisecond} })
		m.start()
		m.push("r1", service("web", func(s *schema.Service) { s.OnDemand = true; s.MaxInstances = 2 }), service("db"))
		m.settles("r1")
		time.Sleep(time.Minute)
		m.oneOfEach("db:a")
		id := runtimes.ID{Service: "web", Instance: "a"}
		var all sync.WaitGroup
		leaves, leave := context.WithCancel(t.Context())
		all.Go(func() {
			if err := m.daemon.Wake(leaves, id); !errors.Is(err, context.Canceled) {
				t.Errorf("who left was answered %v", err)
			}
		})
		for range 100 {
			all.Go(func() {
				if err := m.daemon.Wake(t.Context(), id); err != nil {
					t.Error(err)
				}
			})
		}
		time.Sleep(50 * time.Millisecond)
		leave()
		all.Wait()
		if n := m.starts("web:a"); n != 1 {
			t.Errorf("%d starts", n)
		}
		m.do(api.Command{Verb: api.VerbWake, Service: "web", Instance: "b2"}) // not declared, and allowed
		for _, id := range []runtimes.ID{{Service: "web", Instance: "c"}, {Service: "web", Instance: "../x"}, {Service: "no", Instance: "a"}, {Service: "db", Instance: "b"}} {
			if err := m.daemon.Wake(t.Context(), id); err == nil {
				t.Errorf("%s was woken", id)
			}
		}
		m.crash("web:a")
		m.await("who is awake is kept up", func() bool { return len(m.alive()) == 3 })
		m.stop()
		m.start()
		m.settles("r1")
		m.oneOfEach("db:a", "web:a", "web:b2")
		m.nothingStuck()
	})
}

func TestWakeOfWhatCannotStartIsAnsweredAndDoesNotSpin(t *testing.T) {
	tests := map[string]fake.Program{
		"no start":       {StartErr: errors.New("no such file")},
		"crash at start": {Exit: &runtimes.Exit{Known: true, Code: 127}, RunFor: time.Millisecond},
	}
	for name, program := range tests {
		t.Run(name, func(t *testing.T) {
			onMachine(t, func(t *testing.T, m *machine) {
				m.world.SetScript(func(runtimes.Spec) fake.Program { return program })
				m.start()
				m.push("r1", service("web", func(s *schema.Service) { s.OnDemand = true }, patient(30*time.Second)))
				m.settles("r1")
				id := runtimes.ID{Service: "web", Instance: "a"}
				began := time.Now()
				err := m.daemon.Wake(t.Context(), id)
				if err == nil || time.Since(began) > time.Second {
					t.Errorf("after %s: %v", time.Since(began), err)
				}
				if err != nil && !strings.Contains(err.Error(), "web:a") {
					t.Errorf("the answer does not say what: %v", err)
				}
				var all sync.WaitGroup
				for n := range 600 { // ten a second
					all.Go(func() {
						time.Sleep(time.Duration(n) * 100 * time.Millisecond)
						_ = m.daemon.Wake(t.Context(), id)
					})
				}
				all.Wait()
				if n := m.starts("web"); n > 15 {
					t.Errorf("%d starts in a minute", n)
				}
			})
		})
	}
}
