package reconcile

import (
	"testing"
	"time"

	"github.com/tenement/ten/host/api"
	"github.com/tenement/ten/runtimes"
	"github.com/tenement/ten/runtimes/fake"
	"github.com/tenement/ten/schema"
)

// TestHowItEndedIsWaitedFor: between the end of a program and the word on how it
// ended nothing is decided, for it may be one that stays away.
func TestHowItEndedIsWaitedFor(t *testing.T) {
	onMachine(t, func(t *testing.T, m *machine) {
		m.start()
		m.push("r1", service("web", func(s *schema.Service) {
			s.Restart, s.Fields["restart"] = schema.RestartNever, `"never"`
		}))
		m.settles("r1")
		m.see(func(in *runtimes.Instance) { in.Phase, in.Pid = runtimes.Stopping, 0 })
		m.daemon.look(runtimes.ID{Service: "web", Instance: "a"})
		time.Sleep(time.Minute)
		m.see(nil)
		m.crash("web:a")
		time.Sleep(time.Minute)
		if n := m.starts("web:a"); n != 1 {
			t.Errorf("%d starts", n)
		}
		m.nothingStuck()
	})
}

// TestLastWordsOfOneThatWasNeverSeenAlive are read, and before it is removed.
func TestLastWordsOfOneThatWasNeverSeenAlive(t *testing.T) {
	onMachine(t, func(t *testing.T, m *machine) {
		m.world.SetScript(func(runtimes.Spec) fake.Program { return fake.Program{Exit: &crashed} })
		m.on(func(when string, key runtimes.Key) {
			m.mu.Lock()
			read := m.attached[key]
			m.mu.Unlock()
			switch {
			case when == "after start": // another one looks before who started it does
				if _, err := m.daemon.observe(t.Context(), nil, ""); err != nil {
					t.Error(err)
				}
			case when == "before stop" && !read:
				t.Errorf("%s goes, and nobody has read what it said", key)
			}
		})
		m.start()
		m.push("r1", service("web"))
		m.state(api.Held)
		if m.starts("") == 0 {
			t.Error("nothing was started")
		}
		m.nothingStuck()
	})
}
