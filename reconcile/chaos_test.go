package reconcile

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tenement/ten/host/api"
	"github.com/tenement/ten/proptest"
	"github.com/tenement/ten/reconcile/source"
	"github.com/tenement/ten/runtimes"
	"github.com/tenement/ten/runtimes/fake"
	"github.com/tenement/ten/schema"
)

// TestWhateverHappensItEndsInSync does to a host what can be done to one, in
// random order and at random moments, and then leaves it in peace. It has to end
// at the newest revision with one healthy incarnation of each instance, and with
// nothing in the loop's books. What is done is the same in every run, unless
// TEN_SEED says otherwise; at which moment of the loop's own it is done is not.
func TestWhateverHappensItEndsInSync(t *testing.T) {
	rounds := 16
	if testing.Short() || raced {
		rounds = 4
	}
	first, err := proptest.Seed()
	if err != nil {
		t.Fatal(err)
	}
	for i := range uint64(rounds) {
		seed := first + i
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			onMachine(t, func(t *testing.T, m *machine) {
				c := &chaos{machine: m, r: rand.New(rand.NewPCG(seed, 7))}
				defer func() {
					if t.Failed() {
						t.Logf("to do the same again: TEN_SEED=%d go test -run '%s$' -count=100 ./reconcile\nsteps, as step numbers its acts: %v", seed, t.Name(), c.done)
					}
				}()
				c.run(60)
			})
		})
	}
}

type chaos struct {
	*machine
	r    *rand.Rand
	n    int
	done []string
	// asking are applies and wakes under way; each has to come back.
	asking sync.WaitGroup
}

func (c *chaos) run(steps int) {
	c.start()
	c.push("r0", c.services()...)
	for range steps {
		c.step()
		if c.r.IntN(3) > 0 {
			time.Sleep(time.Duration(c.r.IntN(2000)) * time.Millisecond)
		}
		c.never()
	}
	c.peace()
}

// services are five of which some differ from time to time, and some go.
func (c *chaos) services() []*schema.Service {
	var all []*schema.Service
	for _, name := range []string{"api", "db", "job", "old", "web"} {
		changes := []func(*schema.Service){ids([]string{"a", "b"}[:1+c.r.IntN(2)]...), patient(time.Duration(1+c.r.IntN(5)) * time.Second)}
		if c.r.IntN(2) == 0 {
			changes = append(changes, env(fmt.Sprint(c.r.IntN(4)))) // 3 is never healthy
		}
		if c.r.IntN(6) == 0 {
			changes = append(changes, walled)
		}
		if c.r.IntN(3) == 0 {
			changes = append(changes, idle(time.Duration(1+c.r.IntN(5))*time.Second), func(s *schema.Service) {
				s.Fields["idle_timeout"] = fmt.Sprint(s.IdleTimeout)
				s.MinRunning = c.r.IntN(2)
			})
			if c.r.IntN(2) == 0 {
				changes = append(changes, freezes)
			}
		}
		how := []schema.Deploy{schema.DeployRolling, schema.DeployBlueGreen, schema.DeployCanary}[c.r.IntN(3)]
		changes = append(changes, deploys(how), func(s *schema.Service) { s.CanaryStep = time.Second })
		if name == "web" {
			changes = append(changes, func(s *schema.Service) {
				s.DependsOn = []schema.Dependency{{Service: "db", Condition: schema.ConditionHealthy}}
				s.Fields["depends_on"] = `[{"service":"db","condition":"healthy"}]`
			})
		}
		if name == "job" {
			changes = append(changes, func(s *schema.Service) { s.OnDemand = true }, fleeting)
		}
		if name != "old" || c.r.IntN(2) == 0 {
			all = append(all, service(name, changes...))
		}
	}
	return all
}

func (c *chaos) step() {
	c.n++
	revision := fmt.Sprintf("r%d", c.n)
	word := func(v api.Command) { _, _ = c.daemon.Do(c.t.Context(), v) }
	some := []string{"api", "db", "job", "web"}[c.r.IntN(4)]
	acts := []func(){
		func() { c.push(revision, c.services()...) },
		func() { c.push(revision, c.services()...) },
		func() {
			if all := c.instances(); len(all) > 0 {
				in := all[c.r.IntN(len(all))]
				c.world.End(in.Spec.Level, in.Spec.Key, crashed)
			}
		},
		func() {
			if all := c.instances(); len(all) > 0 {
				in := all[c.r.IntN(len(all))]
				c.world.End(in.Spec.Level, in.Spec.Key, crashed)
			}
		},
		func() { word(api.Command{Verb: api.VerbPause, Service: []string{"", some}[c.r.IntN(2)]}) },
		func() { word(api.Command{Verb: api.VerbResume, Service: []string{"", some}[c.r.IntN(2)]}) },
		func() { word(api.Command{Verb: api.VerbRetry}) },
		func() { word(api.Command{Verb: api.VerbApprove, Revision: "r"}) },
		func() { word(api.Command{Verb: api.VerbSync}) },
		func() {
			d, id := c.daemon, runtimes.ID{Service: some, Instance: []string{"a", "b", "c"}[c.r.IntN(3)]}
			c.asking.Go(func() { _ = d.Wake(c.t.Context(), id) })
		},
		func() {
			door, id := c.door, runtimes.ID{Service: some, Instance: []string{"a", "b"}[c.r.IntN(2)]}
			takes := time.Duration(c.r.IntN(5000)) * time.Millisecond
			c.asking.Go(func() { _ = door.request(c.t.Context(), id, takes) })
		},
		func() { c.world.Fail(fake.Suspend, errors.New("busy")) },
		func() { c.world.Fail(fake.Resume, errors.New("busy")) },
		func() {
			c.snapshotAt(revision, c.services()...)
			d := c.daemon
			c.asking.Go(func() { _ = d.Apply(c.t.Context(), api.ApplyRequest{Dir: revision}, func(api.Event) {}) })
		},
		func() {
			c.feed.set(c.snapshot(revision, config{problems: []schema.Problem{{Severity: schema.Error}}}), nil)
		},
		func() {
			c.feed.set(nil, &source.RefusedError{Kind: source.KindRewind, Revision: revision, Reason: "not ahead"})
		},
		func() { c.feed.set(nil, errNoNetwork) },
		func() {
			c.blindTo([]runtimes.Level{runtimes.Process, runtimes.Namespace}[c.r.IntN(2)], errors.New("blind"))
		},
		func() { c.blindTo("", nil) },
		func() { c.world.Fail(fake.Stop, errors.New("stuck")) },
		func() { c.world.Fail(fake.Wait, errors.New("interrupted")) },
		func() { c.probes.fail(bad("3", fmt.Sprint(c.r.IntN(8)))) },
		func() {
			delay, lives := time.Duration(c.r.IntN(3))*300*time.Millisecond, time.Duration(c.r.IntN(20))*100*time.Millisecond
			c.world.SetScript(func(spec runtimes.Spec) fake.Program {
				p := fake.Program{StartDelay: delay}
				switch spec.Key.Generation % 4 {
				case 0:
					p.StartErr = errors.New("no such file")
				case 1:
					p.Exit, p.RunFor = &crashed, lives
				}
				return p
			})
		},
		func() { c.world.SetScript(nil0) },
		func() { c.stop(); c.start() },
		func() {
			d := c.daemon
			var calls atomic.Int32 // from many goroutines
			when := int32(c.r.IntN(3))
			c.on(func(string, runtimes.Key) {
				if calls.Add(1) == when {
					d.kill()
				}
			})
			time.Sleep(time.Duration(c.r.IntN(3000)) * time.Millisecond)
			c.on(nil)
			c.stop()
			c.start()
		},
	}
	i := c.r.IntN(len(acts))
	c.done = append(c.done, fmt.Sprint(i))
	acts[i]()
}

// never checks what must not be at any moment.
func (c *chaos) never() {
	lives := map[runtimes.ID]int{}
	for _, in := range c.instances() {
		if in.Phase.Alive() {
			lives[in.Spec.Key.ID]++
		}
	}
	for id, n := range lives {
		if n > 4 { // old, new, and at most two that nobody can yet tell from what serves
			c.t.Errorf("%s lives %d times", id, n)
		}
	}
}

// answered waits for all who asked, and not for ever: the clock of a bubble runs
// on while somebody is left waiting, and would keep the machine busy with it.
func (c *chaos) answered() {
	c.t.Helper()
	all := make(chan struct{})
	go func() { c.asking.Wait(); close(all) }()
	select {
	case <-all:
	case <-time.After(30 * time.Minute):
		c.t.Fatalf("somebody who asked the daemon for an apply or a wake was never answered")
	}
}

func (c *chaos) peace() {
	c.blindTo("", nil)
	c.on(nil)
	c.probes.fail(nil)
	c.world.SetScript(nil0)
	for _, s := range []string{"", "api", "db", "job", "web", "old"} {
		_, _ = c.daemon.Do(c.t.Context(), api.Command{Verb: api.VerbResume, Service: s})
	}
	c.answered()
	c.pushModel("final", model(service("api", ids("a", "b")), service("db"), service("web", env("final"))))
	c.awaitFor(20*time.Minute, "final", func() bool {
		s := c.status()
		switch s.State {
		case api.Blocked:
			_, _ = c.daemon.Do(c.t.Context(), api.Command{Verb: api.VerbApprove, Revision: "final"})
		case api.Held: // a stop that was to fail yet did
			_, _ = c.daemon.Do(c.t.Context(), api.Command{Verb: api.VerbRetry})
		}
		return s.Revision.Applied == "final" && s.State == api.InSync && s.Instances.Healthy == 4
	})
	time.Sleep(10 * time.Minute)
	c.oneOfEach("api:a", "api:b", "db:a", "web:a")
	c.settles("final")
	c.nothingStuck()
}
