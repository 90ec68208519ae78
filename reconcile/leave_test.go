package reconcile

import (
	"slices"
	"testing"
	"time"

	"github.com/tenement/ten/host/api"
)

// TestWhatStopsFinishesFirst: whatever the reason, and for no longer than
// drain_timeout.
func TestWhatStopsFinishesFirst(t *testing.T) {
	web := service("web", idle(0), ids("a", "b"))
	tests := map[string]func(m *machine){
		"a service that goes": func(m *machine) { m.push("r2", service("db")) },
		"an id that goes":     func(m *machine) { m.push("r2", service("db"), service("web", idle(0), ids("b"))) },
		"a replacement":       func(m *machine) { m.push("r2", service("db"), service("web", idle(0), ids("a", "b"), walled)) },
		"a restart by hand":   func(m *machine) { m.do(api.Command{Verb: api.VerbRestart, Service: "web", Instance: "a"}) },
		"a stop by hand":      func(m *machine) { m.do(api.Command{Verb: api.VerbStop, Service: "web", Instance: "a"}) },
		"ten down":            func(m *machine) { m.do(api.Command{Verb: api.VerbDown}) },
	}
	for name, stop := range tests {
		for _, long := range []time.Duration{5 * time.Second, time.Hour} {
			t.Run(name+" "+long.String(), func(t *testing.T) {
				onMachine(t, func(t *testing.T, m *machine) {
					m.start()
					m.push("r1", service("db"), web)
					m.settles("r1")
					key, door, began := m.key("web:a"), m.door, time.Now()
					if long < time.Minute {
						go m.hold("web:a", long)
					} else {
						door.mu.Lock()
						door.open[key]++ // which nobody ends
						door.mu.Unlock()
					}
					time.Sleep(time.Millisecond)
					stop(m)
					m.await("it is stopped", func() bool { return !m.lives(key) })
					if took := time.Since(began); took < min(long, 10*time.Second) || took > 15*time.Second {
						t.Errorf("stopped after %s", took)
					}
					door.mu.Lock()
					defer door.mu.Unlock()
					if cut := slices.Contains(door.cut, key.String()); cut != (long > time.Minute) {
						t.Errorf("cut: %v", door.cut)
					}
				})
			})
		}
	}
}
