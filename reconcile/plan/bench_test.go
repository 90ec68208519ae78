package plan

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/tenement/ten/schema"
)

const many = 5000

// crowd is a host with many services, one instance each, all as desired.
func crowd() (Desired, Observed) {
	services := make([]*schema.Service, many)
	instances := make([]Instance, many)
	for i := range services {
		services[i] = service(fmt.Sprintf("service-%05d", i),
			field("env.NUMBER", fmt.Sprintf(`"%d"`, i)), field("memory_limit_mb", "64"), field("health", `"/up"`))
		instances[i] = running(services[i], "prod", uint64(i+1))
	}
	return model(services...), world(instances...)
}

// BenchmarkWorld is what the other benchmarks build before they begin: the
// Specs of all services, and what was observed of them.
func BenchmarkWorld(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		crowd()
	}
}

func BenchmarkNothingChanged(b *testing.B) {
	d, o := crowd()
	b.ReportAllocs()
	for b.Loop() {
		if p := New(d, o); !p.Empty() {
			b.Fatal(p.Actions)
		}
	}
}

func BenchmarkOneChanged(b *testing.B) {
	d, o := crowd()
	d.Model.Services[many/2] = service(d.Model.Services[many/2].Name, field("env.NUMBER", `"new"`))
	b.ReportAllocs()
	for b.Loop() {
		if p := New(d, o); len(p.Actions) != 1 {
			b.Fatal(p.Actions)
		}
	}
}

// BenchmarkAllChanged is the worst case: every service restarts.
func BenchmarkAllChanged(b *testing.B) {
	d, o := crowd()
	for i, s := range d.Model.Services {
		d.Model.Services[i] = service(s.Name, field("env.NUMBER", `"new"`))
	}
	b.ReportAllocs()
	for b.Loop() {
		if p := New(d, o); len(p.Actions) != many {
			b.Fatal(len(p.Actions))
		}
	}
}

// BenchmarkFirstPush plans and prints everything new, in an order.
func BenchmarkFirstPush(b *testing.B) {
	d, _ := crowd()
	for i, s := range d.Model.Services[1:] {
		s.DependsOn = []schema.Dependency{{Service: d.Model.Services[i].Name, Condition: schema.ConditionHealthy}}
		if i%10 == 0 {
			s.DependsOn = nil
		}
	}
	o := world()
	o.Applied = ""
	b.ReportAllocs()
	for b.Loop() {
		var out bytes.Buffer
		if err := New(d, o).Text(&out, TextOptions{}); err != nil {
			b.Fatal(err)
		}
	}
}
