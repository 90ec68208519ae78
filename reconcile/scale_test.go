package reconcile

import (
	"fmt"
	"testing"
	"time"

	"github.com/tenement/ten/runtimes"
	"github.com/tenement/ten/schema"
)

// many gives services with two instances each.
func many(n int, changes ...func(*schema.Service)) []*schema.Service {
	all := make([]*schema.Service, n)
	for i := range all {
		all[i] = service(fmt.Sprintf("s%04d", i), append(changes, ids("a", "b"))...)
	}
	return all
}

// TestTwoThousandInstances creates, edits, crashes and removes many. The bounds
// are far above what it takes, and far below what a square of them would take.
func TestTwoThousandInstances(t *testing.T) {
	if testing.Short() {
		t.Skip("takes some seconds")
	}
	const services = 1000
	onMachine(t, func(t *testing.T, m *machine) {
		m.start()
		m.push("r1", many(services)...)
		m.settles("r1")
		if n := len(m.alive()); n != 2*services {
			t.Fatalf("%d live", n)
		}
		m.push("r2", many(services, env("2"))...)
		m.settles("r2")
		if n := m.starts(""); n != 4*services {
			t.Errorf("%d starts", n)
		}
		lists := m.lists.Load()
		for _, in := range m.instances()[:500] {
			m.world.End(runtimes.Process, in.Spec.Key, crashed)
		}
		m.await("500 are back", func() bool { return len(m.alive()) == 2*services })
		time.Sleep(time.Second)
		if n := m.lists.Load() - lists; n > 600 {
			t.Errorf("the machine was asked %d times for 500 crashes at once", n)
		}
		lists = m.lists.Load()
		time.Sleep(10 * time.Minute)
		if n := m.lists.Load() - lists; n > 20 {
			t.Errorf("the machine was asked %d times in ten minutes at rest", n)
		}
		m.stop()
		m.start()
		m.settles("r2")
		few := model(many(2, env("2"))...)
		few.Settings.AllowRemovals = true
		m.pushModel("r3", few)
		m.settles("r3")
		if n := len(m.instances()); n != 4 {
			t.Errorf("%d left", n)
		}
		m.nothingStuck()
	})
}
