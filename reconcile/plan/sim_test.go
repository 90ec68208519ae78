package plan

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tenement/ten/runtimes"
	"github.com/tenement/ten/schema"
)

// sim is a host in memory that carries plans out the way the loop does: serial,
// in the order of the plan, what a restart takes away only once the new one has
// proved itself. It fails its test when a plan asks for what a host can't do.
type sim struct {
	now        time.Time
	applied    string
	fields     map[string]string
	instances  []Instance
	generation uint64
	unknown    map[runtimes.Level]string
	awake      []runtimes.ID
	asleep     []runtimes.ID
	desired    Desired // what is carried out, by
	plan       Plan
	fatalf     func(format string, args ...any)
}

func (s *sim) failf(format string, args ...any) {
	var b strings.Builder
	_ = s.plan.Text(&b, TextOptions{Full: true})
	s.fatalf("%s, by this plan:\n%s", fmt.Sprintf(format, args...), b.String())
}

func (s *sim) observe() Observed {
	o := Observed{
		Now: s.now, Host: host(), Applied: s.applied, AppliedFields: s.fields,
		Unknown: s.unknown, Awake: s.awake, Asleep: s.asleep, Approved: true,
	}
	o.Host.Ports = map[int]Holder{}
	for _, i := range s.instances {
		holder := Holder{Instance: i.Spec.Key.ID}
		if _, hidden := s.unknown[i.Spec.Level]; hidden {
			holder = Holder{Pid: 1} // of a program that nobody could be asked about
		} else {
			o.Instances = append(o.Instances, i)
		}
		if i.Phase.Alive() && i.Spec.Fields["port"] != "" {
			o.Host.Ports[i.Spec.Port] = holder
		}
	}
	slices.SortFunc(o.Instances, func(a, b Instance) int { return compareKeys(a.Spec.Key, b.Spec.Key) })
	return o
}

// apply carries out a plan until budget steps were taken; a step is a start, a
// gate, a stop or an update. It reports whether it got to the end.
func (s *sim) apply(d Desired, p Plan, budget int) bool {
	s.desired, s.plan = d, p
	skipped := map[string]bool{}
	for n := 0; n < len(p.Actions); n++ {
		a := p.Actions[n]
		waits := slices.ContainsFunc(a.After, func(dep schema.Dependency) bool { return skipped[dep.Service] })
		if a.Blocked != nil || a.NotBefore.After(s.now) || waits || !s.ready(d, a.After) {
			skipped[a.ID.Service] = true
			continue
		}
		before := s.serving(a.ID)
		steps := s.steps(a)
		for allAtOnce(a) && n+1 < len(p.Actions) && allAtOnce(p.Actions[n+1]) && p.Actions[n+1].ID.Service == a.ID.Service && p.Actions[n+1].Blocked == nil {
			n++
			steps = meanwhile(steps, s.steps(p.Actions[n]))
		}
		for _, step := range steps {
			if budget--; budget < 0 {
				return false
			}
			step()
			if a.Op == OpRestart && a.Spec.Fields["env.JOB"] == "" && s.serving(a.ID) < min(before, 1) {
				s.failf("%s %s left fewer that serve: %d before, %d now", a.Op, a.ID, before, s.serving(a.ID))
			}
		}
	}
	s.applied, s.fields = d.Revision, d.Model.Fields
	return true
}

func allAtOnce(a Action) bool {
	return a.Takeover != nil && a.Takeover.Deploy == schema.DeployBlueGreen
}

// meanwhile has what two actions bring up come before what they stop.
func meanwhile(a, b []func()) []func() {
	const up = 2 // the start and the gate come first
	return slices.Concat(a[:min(up, len(a))], b[:min(up, len(b))], a[min(up, len(a)):], b[min(up, len(b)):])
}

// ready reports that services have reached what is asked of them.
func (s *sim) ready(d Desired, after []schema.Dependency) bool {
	for _, dep := range after {
		if target := d.Model.Service(dep.Service); target != nil {
			r := newRound(d, s.observe())
			if wait, block := r.waitsFor(dep, nil); wait || block != nil {
				return false
			}
		}
	}
	return true
}

func (s *sim) steps(a Action) []func() {
	var stop, up []func()
	for _, key := range a.Old {
		stop = append(stop, func() { s.stop(a, key) })
	}
	if a.New != nil {
		up = []func(){func() { s.gate(*a.New) }}
	} else if a.starts() {
		key := new(runtimes.Key)
		up = []func(){func() { *key = s.start(a) }, func() { s.gate(*key) }}
	}
	switch a.Op {
	case OpSleep:
		return []func(){func() { s.sleep(a) }}
	case OpWake:
		return []func(){func() {
			i := s.find(a.Old[0])
			i.Phase, i.GateOpen, i.Health, i.IdleSince = runtimes.Running, true, runtimes.Healthy, s.now
		}}
	case OpReload:
		return nil
	case OpUpdate:
		return []func(){func() { s.update(*a.Spec) }}
	case OpRestart:
		return append(up, stop...)
	}
	return append(stop, up...)
}

func (s *sim) start(a Action) runtimes.Key {
	if service := s.desired.Model.Service(a.ID.Service); service != nil && !s.ready(s.desired, service.DependsOn) {
		s.failf("%s %s before what it depends on", a.Op, a.ID)
	}
	if why, hidden := s.unknown[a.Spec.Level]; hidden {
		s.failf("%s %s at a level that can't be asked: %s", a.Op, a.ID, why)
	}
	s.generation++
	spec := Bind(*a.Spec, s.generation, 30000+int(s.generation), fmt.Sprintf("/run/ten/%d/s", s.generation))
	for _, i := range s.instances {
		if i.Phase.Alive() && i.Spec.Port == spec.Port {
			s.failf("%s %s: port %d is held by %s", a.Op, a.ID, spec.Port, i.Spec.Key)
		}
	}
	in := Instance{Instance: runtimes.Instance{Spec: spec, Phase: runtimes.Running, StartedAt: s.now}, Health: runtimes.Unknown}
	if a.Drift {
		for _, i := range s.instances {
			if i.Spec.Key.ID == a.ID {
				in.Restarts = max(in.Restarts, i.Restarts+1)
			}
		}
	}
	s.instances = append(s.instances, in)
	return spec.Key
}

// sleep does what the loop does: it notes it, and stops or freezes. One that is
// busy, or that was not idle, must not come here.
func (s *sim) sleep(a Action) {
	service := s.desired.Model.Service(a.ID.Service)
	awake := 0
	for _, i := range s.instances {
		if i.Spec.Key.Service == a.ID.Service && i.Phase == runtimes.Running {
			awake++
		}
	}
	for _, key := range a.Old {
		i := s.find(key)
		switch {
		case i == nil:
			s.failf("sleep of %s, which is not there", key)
			return
		case i.Phase == runtimes.Running && (i.Busy || i.IdleSince.IsZero() || awake <= service.MinRunning):
			s.failf("%s is put to sleep: busy %t, idle since %s, %d awake", key, i.Busy, i.IdleSince, awake)
		}
		if a.Freeze {
			i.Phase, i.GateOpen, i.Health = runtimes.Sleeping, false, runtimes.Unknown
		} else {
			s.stop(a, key)
		}
	}
	s.awake = slices.DeleteFunc(s.awake, func(id runtimes.ID) bool { return id == a.ID })
	s.asleep = append(s.asleep, a.ID)
}

// gate lets an incarnation prove itself. A job ends at once, with status 0.
func (s *sim) gate(key runtimes.Key) {
	i := s.find(key)
	if i == nil {
		s.failf("%s is gone before its gate", key)
		return
	}
	i.GateOpen, i.Health = true, runtimes.Healthy
	if i.Spec.Fields["env.JOB"] != "" {
		end(i, 0, s.now)
	}
}

func end(i *Instance, code int, at time.Time) {
	i.Phase, i.Pid, i.GateOpen, i.Health = runtimes.Failed, 0, false, runtimes.Unknown
	if code == 0 {
		i.Phase = runtimes.Stopped
	}
	i.Exit = &runtimes.Exit{Known: true, Code: code, At: at}
}

func (s *sim) stop(a Action, key runtimes.Key) {
	i := s.find(key)
	if i == nil {
		return
	}
	if i.Registered && a.Op == OpRemove {
		s.failf("%s removes %s, which was registered", a.Op, key)
	}
	if why, hidden := s.unknown[i.Spec.Level]; hidden {
		s.failf("%s stops %s at a level that can't be asked: %s", a.Op, key, why)
	}
	s.instances = slices.DeleteFunc(s.instances, func(i Instance) bool { return i.Spec.Key == key })
}

func (s *sim) update(spec runtimes.Spec) {
	i := s.find(spec.Key)
	if i == nil {
		s.failf("update of %s, which is not there", spec.Key)
		return
	}
	i.Spec.Fields, i.Spec.Digest, i.Spec.Revision, i.Spec.Limits = spec.Fields, spec.Digest, spec.Revision, spec.Limits
}

func (s *sim) find(key runtimes.Key) *Instance {
	for n := range s.instances {
		if s.instances[n].Spec.Key == key {
			return &s.instances[n]
		}
	}
	return nil
}

// serving counts the incarnations of an ID that may serve.
func (s *sim) serving(id runtimes.ID) int {
	n := 0
	for _, i := range s.instances {
		if i.Spec.Key.ID == id && i.GateOpen && i.Phase == runtimes.Running {
			n++
		}
	}
	return n
}

// probe is what the monitor does between rounds: who runs becomes healthy.
func (s *sim) probe() {
	for n := range s.instances {
		if i := &s.instances[n]; i.Phase == runtimes.Running {
			i.GateOpen, i.Health = true, runtimes.Healthy
		}
	}
}

// settled gives what is wrong with a host that a plan calls in order. A program
// that is never to be started again and failed leaves the old one serving.
func (s *sim) settled(d Desired) (faults []string) {
	count := map[runtimes.ID]int{}
	gaveUp := map[runtimes.ID]bool{}
	for _, i := range s.instances {
		service := d.Model.Service(i.Spec.Key.Service)
		if i.Phase == runtimes.Failed && service != nil && service.Restart == schema.RestartNever {
			gaveUp[i.Spec.Key.ID] = true
		}
	}
	for _, i := range s.instances {
		id := i.Spec.Key.ID
		count[id]++
		service := d.Model.Service(id.Service)
		if service == nil {
			if !i.Registered {
				faults = append(faults, fmt.Sprintf("%s is left over", i.Spec.Key))
			}
			continue
		}
		if changes, effect := diffInstance(&i, service); effect.rank() >= EffectLive.rank() && i.Phase == runtimes.Running && !gaveUp[id] {
			faults = append(faults, fmt.Sprintf("%s runs with %v", i.Spec.Key, changes))
		}
	}
	for _, service := range d.Model.Services {
		for _, id := range service.Instances {
			id := runtimes.ID{Service: service.Name, Instance: id}
			marked := slices.Contains(s.asleep, id) && service.IdleTimeout > 0
			asleep := (service.OnDemand || marked) && !slices.Contains(s.awake, id)
			if n := count[id]; n > 1 && !gaveUp[id] || n == 0 && !asleep {
				faults = append(faults, fmt.Sprintf("%s has %d incarnations", id, n))
			}
		}
	}
	return faults
}
