package reconcile

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tenement/ten/host/api"
	"github.com/tenement/ten/runtimes"
	"github.com/tenement/ten/schema"
)

// TestDaemonDiesInAnyPhase kills the daemon in the middle of a restart, a
// replacement, a creation and a removal. The next one ends with one healthy
// incarnation of what is desired, and starts none that was there already.
func TestDaemonDiesInAnyPhase(t *testing.T) {
	to := map[string][]*schema.Service{
		"restart": {service("db"), service("web", env("2"))},
		"replace": {service("db"), service("web", walled)},
		"create":  {service("db"), service("new"), service("web")},
		"remove":  {service("db")},
	}
	phases := []string{"before start", "after start", "gate", "before stop", "after stop"}
	for op, services := range to {
		for _, phase := range phases {
			if op == "remove" && phase == "gate" || op == "create" && (phase == "before stop" || phase == "after stop") || op == "remove" && phase == "before start" || op == "remove" && phase == "after start" {
				continue
			}
			t.Run(op+" "+phase, func(t *testing.T) {
				onMachine(t, func(t *testing.T, m *machine) { dieIn(t, m, phase, services) })
			})
		}
	}
}

func dieIn(t *testing.T, m *machine, phase string, services []*schema.Service) {
	m.start()
	m.push("r1", service("db"), service("web"))
	m.settles("r1")
	before := m.alive()
	var dead atomic.Bool
	daemon := m.daemon
	die := func(when string, key runtimes.Key) {
		if when == phase && key.Service != "db" && dead.CompareAndSwap(false, true) {
			daemon.kill()
		}
	}
	m.on(die)
	if phase == "gate" {
		m.probes.fail(func(spec runtimes.Spec) string {
			if dead.Load() || slices.Contains(before, spec.Key.String()) {
				return ""
			}
			return "not yet"
		})
		m.on(func(when string, key runtimes.Key) {
			if when == "after start" && !dead.Load() {
				time.AfterFunc(time.Second, func() { die("gate", key) })
			}
		})
	}
	starts := m.starts("")
	m.push("r2", slices.Clone(services)...)
	m.await("the daemon dies", dead.Load)
	m.stop()
	after := m.starts("") - starts
	m.start()
	m.settles("r2")
	var want []string
	for _, s := range services {
		want = append(want, s.Name+":a")
	}
	time.Sleep(time.Minute)
	m.oneOfEach(want...)
	for _, in := range m.instances() {
		s := model(slices.Clone(services)...).Service(in.Spec.Key.Service)
		if in.Spec.Digest != s.Digest {
			t.Errorf("%s is not what is desired", in.Spec.Key)
		}
	}
	if phase != "before start" && after > 0 && m.starts("")-starts != after {
		t.Errorf("what was started was started again: %v", m.world.Calls())
	}
	if db := m.key("db:a").String(); !slices.Contains(before, db) {
		t.Errorf("db was started anew: %v", m.world.Calls())
	}
	m.nothingStuck()
}

func TestRestartOverManyTouchesNothing(t *testing.T) {
	onMachine(t, func(t *testing.T, m *machine) {
		m.start()
		var all []*schema.Service
		for i := range 50 {
			all = append(all, service(fmt.Sprintf("s%02d", i), ids("a", "b")))
		}
		m.push("r1", all...)
		m.settles("r1")
		before := m.world.Calls()
		for range 3 {
			m.stop()
			m.start()
			m.settles("r1")
			time.Sleep(time.Minute)
		}
		if after := m.world.Calls(); len(after) != len(before) {
			t.Errorf("done by restarts of the daemon: %v", after[len(before):])
		}
	})
}

func TestStoppedInstancesAreStartedByTheNextDaemon(t *testing.T) {
	onMachine(t, func(t *testing.T, m *machine) {
		m.start()
		m.push("r1", service("web"), service("api"))
		m.settles("r1")
		m.stop()
		m.crash("web:a")
		m.feed.set(nil, errNoNetwork) // the source is out of reach meanwhile
		m.start()
		m.await("web is back", func() bool { return len(m.alive()) == 2 })
		if s := m.status(); s.Revision.Applied != "r1" {
			t.Errorf("status: %+v", s)
		}
	})
}

// TestWhoAsksADaemonThatNeverServedIsAnswered: one that is killed while it looks
// at what runs answers those who ask it already, else they wait for ever.
func TestWhoAsksADaemonThatNeverServedIsAnswered(t *testing.T) {
	onMachine(t, func(t *testing.T, m *machine) {
		m.start()
		m.daemon.cancel() // before Run could adopt anything
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if err := m.daemon.Apply(ctx, api.ApplyRequest{Dir: "r1"}, func(api.Event) {}); !errors.Is(err, errOver) {
			t.Errorf("apply: %v", err)
		}
		if _, err := m.daemon.Status(ctx); !errors.Is(err, errOver) {
			t.Errorf("status: %v", err)
		}
		if err := m.daemon.Wake(ctx, runtimes.ID{Service: "web", Instance: "a"}); err == nil {
			t.Error("woken by a daemon that has ended")
		}
	})
}
