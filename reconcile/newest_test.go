package reconcile

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tenement/ten/host/api"
	"github.com/tenement/ten/runtimes"
	"github.com/tenement/ten/runtimes/fake"
	"github.com/tenement/ten/schema"
)

// ten gives as many services.
func ten() []*schema.Service {
	all := make([]*schema.Service, 10)
	for i := range all {
		all[i] = service(fmt.Sprintf("s%d", i))
	}
	return all
}

// TestRetryDoesNotForgetANewerRevision: of a revision that is held, and a newer
// one that waits for a person, the newer one stays what the host is to get to,
// also when it comes in the moment of the retry.
func TestRetryDoesNotForgetANewerRevision(t *testing.T) {
	for _, when := range []string{"before", "in the middle"} {
		t.Run(when, func(t *testing.T) {
			onMachine(t, func(t *testing.T, m *machine) {
				m.start()
				m.push("r1", ten()...)
				m.settles("r1")
				m.probes.fail(bad("2"))
				newer := func() {
					m.push("r3", ten()[:3]...)
					m.await("r3 waits", func() bool {
						s := m.status()
						return s.State == api.Blocked && s.Revision.Attempted == "r3"
					})
				}
				r2 := config{model: model(append(ten()[:9], service("s9", env("2")))...)}
				m.feed.set(m.snapshot("r2", r2), nil)
				m.state(api.Held)
				m.stop() // the next daemon has to load r2 again
				m.start()
				if when == "before" {
					newer()
				} else {
					m.state(api.Held)
					r2.loading = newer
					m.feed.put(m.snapshot("r2", r2))
				}
				if text, err := m.daemon.Do(t.Context(), api.Command{Verb: api.VerbRetry}); err == nil || !strings.Contains(err.Error(), "newer") {
					t.Errorf("retry of r2: %q, %v", text, err)
				}
				m.probes.fail(nil)
				time.Sleep(time.Minute)
				if s := m.status(); s.State != api.Blocked || s.Revision.Applied != "r1" || s.Revision.Attempted != "r3" {
					t.Fatalf("r3 waits no more: %+v", s)
				}
				m.do(api.Command{Verb: api.VerbApprove, Revision: "r3"})
				m.settles("r3")
				m.nothingStuck()
			})
		})
	}
}

// TestResumeDoesNotForgetWhatIsTriedAgain: a revision whose rollout is to be
// tried again by itself is what is tried when a person says that it may go on.
func TestResumeDoesNotForgetWhatIsTriedAgain(t *testing.T) {
	onMachine(t, func(t *testing.T, m *machine) {
		m.start()
		m.push("r1", service("web"))
		m.settles("r1")
		m.do(api.Command{Verb: api.VerbPause, Service: "web"})
		m.do(api.Command{Verb: api.VerbResume, Service: "web"})
		m.settles("r1")
		m.world.SetScript(func(runtimes.Spec) fake.Program { return fake.Program{StartErr: syscall.EAGAIN} })
		m.push("r2", service("web", env("2")))
		if s := m.state(api.Held); !strings.Contains(s.Hint, "tried again") {
			t.Errorf("status: %+v", s)
		}
		m.world.SetScript(nil0)
		m.do(api.Command{Verb: api.VerbPause, Service: "web"})
		m.do(api.Command{Verb: api.VerbResume, Service: "web"})
		m.settles("r2")
		m.nothingStuck()
	})
}

// TestResumeInTheMiddleOfARolloutIsNoFaultOfIt: what was paused when a rollout
// was planned, and is so no more when it ends, is done next.
func TestResumeInTheMiddleOfARolloutIsNoFaultOfIt(t *testing.T) {
	onMachine(t, func(t *testing.T, m *machine) {
		m.start()
		m.push("r1", service("db"), service("web"))
		m.settles("r1")
		m.do(api.Command{Verb: api.VerbPause, Service: "db"})
		m.probes.fail(bad("2"))
		m.push("r2", service("db", env("new")), service("web", env("2"), patient(time.Hour)))
		m.await("at the gate", func() bool { return len(m.alive()) == 3 })
		m.do(api.Command{Verb: api.VerbResume, Service: "db"})
		m.probes.fail(nil)
		m.settles("r2")
		if n := m.starts("db:a"); n != 2 {
			t.Errorf("db was started %d times: %v", n, m.world.Calls())
		}
		history, err := m.daemon.History(t.Context(), 10)
		if err != nil || slices.ContainsFunc(history, func(e api.Entry) bool { return e.Instance == "" && e.Action != "applied" }) {
			t.Errorf("history: %+v, %v", history, err)
		}
		m.nothingStuck()
	})
}
