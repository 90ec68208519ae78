package reconcile

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tenement/ten/host/api"
	"github.com/tenement/ten/reconcile/source"
	"github.com/tenement/ten/reconcile/store"
	"github.com/tenement/ten/runtimes"
	"github.com/tenement/ten/runtimes/fake"
	"github.com/tenement/ten/schema"
)

// bad has every incarnation whose V is one of values be unhealthy.
func bad(values ...string) func(runtimes.Spec) string {
	return func(spec runtimes.Spec) string {
		for _, v := range values {
			if slices.Contains(spec.Env, "V="+v) {
				return "GET / = 503"
			}
		}
		return ""
	}
}

func patient(d time.Duration) func(*schema.Service) {
	return func(s *schema.Service) { s.StartupTimeout = d }
}

func TestFirstRevisionThenEditOfOne(t *testing.T) {
	onMachine(t, func(t *testing.T, m *machine) {
		m.start()
		m.push("r1", service("api"), service("web", ids("a", "b")), service("db"))
		m.settles("r1")
		before := m.alive()
		if len(before) != 4 {
			t.Fatalf("alive: %v", before)
		}
		m.push("r2", service("api", env("2")), service("web", ids("a", "b")), service("db"))
		m.settles("r2")
		after := m.alive()
		if len(after) != 4 || slices.Equal(before, after) {
			t.Fatalf("alive: %v", after)
		}
		for _, key := range before {
			if key[:3] != "api" && !slices.Contains(after, key) {
				t.Errorf("%s was touched by an edit of api: %v", key, after)
			}
		}
	})
}

func TestInvalidRevisionChangesNothing(t *testing.T) {
	onMachine(t, func(t *testing.T, m *machine) {
		m.start()
		m.push("r1", service("web"))
		m.settles("r1")
		calls := m.world.Calls()
		m.feed.set(m.snapshot("r2", config{problems: []schema.Problem{
			{Severity: schema.Error, Message: "unknown key", Hint: "did you mean port?"}, {Severity: schema.Error, Message: "wrong type"},
		}}), nil)
		s := m.state(api.Failed)
		if s.Revision.Applied != "r1" || s.Revision.Attempted != "r2" || len(s.Problems) != 2 || !strings.Contains(s.Problems[0], "did you mean") {
			t.Errorf("status: %+v", s)
		}
		m.push("r3", service("web"))
		m.settles("r3")
		if s := m.status(); len(s.Problems) > 0 {
			t.Errorf("problems are still shown: %v", s.Problems)
		}
		if now := m.world.Calls(); len(now) != len(calls)+1 || !strings.HasPrefix(now[len(calls)], "update") && len(now) != len(calls) {
			if len(now) != len(calls) {
				t.Errorf("calls: %v", now[len(calls):])
			}
		}
	})
}

func TestRevisionWithoutModelOrErrorsIsNoPanic(t *testing.T) {
	onMachine(t, func(t *testing.T, m *machine) {
		m.start()
		m.feed.set(m.snapshot("r1", config{}), nil)
		m.state(api.Failed)
		if err := m.daemon.Apply(t.Context(), api.ApplyRequest{Dir: "r1"}, func(api.Event) {}); err == nil {
			t.Error("a directory without a model was applied")
		}
	})
}

func TestRevisionThatCannotBeLoadedIsTriedAgain(t *testing.T) {
	onMachine(t, func(t *testing.T, m *machine) {
		m.start()
		snap := m.snapshot("r1", config{err: errors.New("out of memory")})
		m.feed.set(snap, nil)
		m.state(api.Failed)
		snap.Tree = config{Tree: m.tree, model: model(service("web"))}
		m.feed.Hint()
		m.settles("r1")
	})
}

func TestFailedRolloutRevertsOnceAndHolds(t *testing.T) {
	onMachine(t, func(t *testing.T, m *machine) {
		m.start()
		m.push("r1", service("api"), service("web"))
		m.settles("r1")
		before := m.alive()
		m.probes.fail(bad("2"))
		m.push("r2", service("api", env("fine")), service("web", env("2")))
		s := m.state(api.Held)
		if s.Revision.Applied != "r1" || s.Revision.Attempted != "r2" {
			t.Errorf("revisions: %+v", s.Revision)
		}
		for _, want := range []string{"web:a", "503", "r1"} {
			if !strings.Contains(s.Message, want) {
				t.Errorf("message %q does not name %q", s.Message, want)
			}
		}
		if web := m.key("web:a").String(); !slices.Contains(before, web) {
			t.Errorf("the old web did not go on serving: %v", m.alive())
		}
		m.key("api:a")
		starts := m.starts("")
		time.Sleep(10 * time.Minute)
		if m.starts("") != starts {
			t.Errorf("held, and yet: %v", m.world.Calls())
		}
		m.heldOverRestart(starts)
		m.do(api.Command{Verb: api.VerbRetry})
		m.await("retried", func() bool { return m.starts("web:a") == 3 })
		m.state(api.Held)
		m.push("r3", service("api"), service("web", env("3")))
		m.settles("r3")
		if len(m.alive()) != 2 {
			t.Errorf("alive: %v", m.alive())
		}
	})
}

// heldOverRestart restarts the daemon, which has to go on holding.
func (m *machine) heldOverRestart(starts int) {
	m.t.Helper()
	before := m.alive()
	m.stop()
	m.start()
	s := m.state(api.Held)
	time.Sleep(time.Minute)
	if m.starts("") != starts || !slices.Equal(m.alive(), before) {
		m.t.Errorf("a restarted daemon did something: %v, was %v", m.alive(), before)
	}
	if s := m.state(api.Held); s.Revision.Applied != "r1" || s.Revision.Attempted != "r2" {
		m.t.Errorf("after a restart: %+v", s)
	}
	m.do(api.Command{Verb: api.VerbPause})
	m.do(api.Command{Verb: api.VerbResume})
	time.Sleep(time.Second)
	if now := m.status(); now.State != api.Held {
		m.t.Errorf("resume made of %q: %+v", s.State, now)
	}
}

func TestFirstRevisionThatFailsKeepsWhatWorks(t *testing.T) {
	onMachine(t, func(t *testing.T, m *machine) {
		m.probes.fail(bad("1"))
		m.start()
		m.push("r1", service("api"), service("web", env("1")))
		s := m.state(api.Held)
		if s.Revision.Applied != "" || !strings.Contains(s.Message, "web:a") {
			t.Errorf("status: %+v", s)
		}
		m.key("api:a")
		starts := m.starts("web")
		time.Sleep(5 * time.Minute)
		if m.starts("web") != starts {
			t.Errorf("web was started again: %v", m.world.Calls())
		}
		m.push("r2", service("api"), service("web"))
		m.settles("r2")
	})
}

func TestNewerRevisionPreemptsAWaitingGate(t *testing.T) {
	onMachine(t, func(t *testing.T, m *machine) {
		m.start()
		m.push("r1", service("web"))
		m.settles("r1")
		m.probes.fail(bad("2"))
		m.push("r2", service("web", env("2"), patient(time.Hour)))
		m.await("r2 waits at its gate", func() bool { return len(m.alive()) == 2 })
		m.push("r3", service("web", env("3")))
		m.settles("r3")
		if alive := m.alive(); len(alive) != 1 {
			t.Errorf("the abandoned incarnation is still there: %v", alive)
		}
		history, err := m.daemon.History(t.Context(), 10)
		if err != nil || history[0].Action != string(store.Applied) || history[1].Action != string(store.Superseded) {
			t.Errorf("history: %+v %v", history, err)
		}
		time.Sleep(time.Minute)
		if n := m.starts(""); n != 3 {
			t.Errorf("%d starts: %v", n, m.world.Calls())
		}
	})
}

func TestNewestOfManyWins(t *testing.T) {
	onMachine(t, func(t *testing.T, m *machine) {
		m.world.SetScript(func(runtimes.Spec) fake.Program { return fake.Program{StartDelay: 30 * time.Millisecond} })
		m.start()
		for n := 1; n <= 30; n++ {
			v := env(fmt.Sprint(n))
			m.push(fmt.Sprintf("r%d", n), service("api", v), service("db"), service("web", v, ids("a", "b", "c")))
			time.Sleep(time.Duration(n%7) * 10 * time.Millisecond)
		}
		m.settles("r30")
		m.oneOfEach("api:a", "db:a", "web:a", "web:b", "web:c")
		for _, in := range m.instances() {
			if in.Spec.Key.Service != "db" && !slices.Contains(in.Spec.Env, "V=30") {
				t.Errorf("%s runs with %v", in.Spec.Key, in.Spec.Env)
			}
		}
		if n := m.starts("db"); n != 1 {
			t.Errorf("db was started %d times", n)
		}
		m.nothingStuck()
	})
}

// oneOfEach checks that exactly these instances live, once each, and that
// nothing else of any is left.
func (m *machine) oneOfEach(want ...string) {
	m.t.Helper()
	var got []string
	for _, in := range m.instances() {
		got = append(got, in.Spec.Key.ID.String())
		if !in.Phase.Alive() {
			m.t.Errorf("%s is %s", in.Spec.Key, in.Phase)
		}
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		m.t.Errorf("on the machine: %v, want %v", got, want)
	}
}

// nothingStuck looks at the loop's own books once it rests.
func (m *machine) nothingStuck() {
	m.t.Helper()
	time.Sleep(2 * time.Second)
	l := m.daemon.Loop
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.claimed) > 0 || len(l.dirty) > 0 || l.offered || l.preempt != nil || len(l.watchers) > 0 || len(l.submit) > 0 {
		m.t.Errorf("left over: claimed %v, dirty %v, offered %t, under way %t, watchers %d, waiting %d",
			l.claimed, l.dirty, l.offered, l.preempt != nil, len(l.watchers), len(l.submit))
	}
}

func TestRefusedRevisionTakenBack(t *testing.T) {
	onMachine(t, func(t *testing.T, m *machine) {
		m.start()
		m.push("r1", service("web"))
		m.settles("r1")
		m.feed.mu.Lock()
		good := m.feed.snap
		m.feed.mu.Unlock()
		m.feed.set(nil, &source.RefusedError{Kind: source.KindRewind, Revision: "r0", Reason: "not ahead", Hint: "ten accept-rewind r0"})
		if s := m.state(api.Blocked); s.Revision.Attempted != "r0" || s.Hint == "" {
			t.Errorf("status: %+v", s)
		}
		m.feed.set(good, nil) // the same pointer, as the contract says
		m.settles("r1")
		if s := m.status(); s.Revision.Attempted != "r1" {
			t.Errorf("status: %+v", s)
		}
	})
}

func TestSourceErrorIsShownThenCleared(t *testing.T) {
	onMachine(t, func(t *testing.T, m *machine) {
		m.start()
		s := m.state(api.Failed)
		if s.Hint != "push" {
			t.Errorf("no revision yet, and the source is empty: %+v", s)
		}
		m.push("r1", service("web"))
		m.settles("r1")
		m.feed.mu.Lock()
		good := m.feed.snap
		m.feed.mu.Unlock()
		m.feed.set(nil, &source.FetchError{Class: source.ClassNetwork, URL: "u", Err: errors.New("no route to host"), Hint: "look at the network"})
		s = m.state(api.Failed)
		if s.Revision.Applied != "r1" || !strings.Contains(s.Message, "no route to host") || s.Hint != "look at the network" {
			t.Errorf("status: %+v", s)
		}
		m.crash("web:a")
		m.await("web is back", func() bool { return len(m.alive()) == 1 })
		m.feed.set(good, nil)
		m.settles("r1")
		if s := m.status(); s.Hint != "" {
			t.Errorf("status: %+v", s)
		}
	})
}

func TestDoesNotConvergeIsReported(t *testing.T) {
	onMachine(t, func(t *testing.T, m *machine) {
		m.start()
		m.push("r1", service("web"))
		m.settles("r1")
		m.see(func(in *runtimes.Instance) { // a level that forgets what it was told
			if in.Spec.Fields["env.V"] != "" {
				in.Spec.Fields = map[string]string{"command": `"prog"`, "source.tree": `"00ff"`}
				in.Spec.Digest = "v1:other"
			}
		})
		m.push("r2", service("web", env("2")))
		s := m.state(api.Held)
		if s.Revision.Applied != "r1" || !strings.Contains(s.Message, "does not converge") || !strings.Contains(s.Message, "env.V") {
			t.Errorf("status: %+v", s)
		}
		starts := m.starts("")
		m.stop()
		m.start()
		m.state(api.Held)
		time.Sleep(10 * time.Minute)
		if n := m.starts("") - starts; n > 1 {
			t.Errorf("%d starts while held: %v", n, m.world.Calls())
		}
	})
}

func TestEndOfContextEndsRunPromptly(t *testing.T) {
	for _, when := range []string{"gate", "revert", "start"} {
		t.Run(when, func(t *testing.T) {
			onMachine(t, func(t *testing.T, m *machine) {
				m.start()
				m.push("r1", service("api", patient(2*time.Minute)), service("web"))
				m.settles("r1")
				switch when {
				case "gate":
					m.probes.fail(bad("2"))
					m.push("r2", service("api"), service("web", env("2"), patient(time.Hour)))
					m.await("at the gate", func() bool { return len(m.alive()) == 3 })
				case "revert": // which waits at a gate itself
					m.probes.fail(func(runtimes.Spec) string { return "no" })
					m.push("r2", service("api", func(s *schema.Service) { s.Isolation = "namespace"; s.Fields["isolation"] = `"namespace"` }, patient(time.Second)), service("web"))
					m.await("reverting", func() bool { return m.starts("api") == 3 })
				case "start":
					m.world.SetScript(func(runtimes.Spec) fake.Program { return fake.Program{StartDelay: time.Hour} })
					m.push("r2", service("api", env("2")), service("web"))
					m.await("starting", func() bool { return m.starts("api") == 2 })
				}
				began := time.Now()
				m.stop()
				if d := time.Since(began); d > 3*time.Second {
					t.Errorf("Run took %s to end", d)
				}
			})
		})
	}
}

func TestApplyReportsAndEnds(t *testing.T) {
	onMachine(t, func(t *testing.T, m *machine) {
		m.start()
		m.push("r1", service("web"))
		m.settles("r1")
		m.snapshotAt("desk", service("web", env("desk")))
		e := m.apply("desk")
		if !e.Done || e.Error != "" {
			t.Errorf("last event: %+v", e)
		}
		m.settles("desk")
		if e := m.apply("desk"); !e.Done || e.Error != "" {
			t.Errorf("applied twice: %+v", e)
		}
		if e := m.apply(""); !e.Done || e.Error != "" { // back to the source
			t.Errorf("back to the source: %+v", e)
		}
		m.settles("r1")
		m.nothingStuck()
	})
}

// snapshotAt puts a model into a directory.
func (m *machine) snapshotAt(dir string, services ...*schema.Service) {
	m.feed.mu.Lock()
	defer m.feed.mu.Unlock()
	m.feed.all[dir] = m.snapshot(dir, config{model: model(services...)})
}

// apply applies and gives the last event.
func (m *machine) apply(dir string) api.Event {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.t.Context(), 10*time.Minute)
	defer cancel()
	var last api.Event
	if err := m.daemon.Apply(ctx, api.ApplyRequest{Dir: dir}, func(e api.Event) { last = e }); err != nil {
		m.t.Fatalf("apply %q: %v", dir, err)
	}
	return last
}
