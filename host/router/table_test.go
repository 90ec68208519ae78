package router

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/tenement/ten/runtimes"
	"github.com/tenement/ten/schema"
)

// serving is an endpoint with one incarnation.
func serving(svc, id string, weight int) Endpoint {
	return Endpoint{
		ID: runtimes.ID{Service: svc, Instance: id}, Weight: weight, Wakes: true,
		Serving: []Incarnation{{Key: runtimes.Key{ID: runtimes.ID{Service: svc, Instance: id}, Generation: 1}, Address: "unix:/" + svc + id, Share: 100}},
	}
}

func asleep(svc, id string, weight int) Endpoint {
	return Endpoint{ID: runtimes.ID{Service: svc, Instance: id}, Weight: weight, Wakes: true}
}

// town is a model with one of each: web and api declared, cell on demand.
func town() *schema.Model {
	return &schema.Model{
		Services: []*schema.Service{
			{Name: "api", Instances: []string{"prod"}},
			{Name: "cell", OnDemand: true, MaxInstances: 3},
			{Name: "web", Instances: []string{"blue", "green"}, Domains: []string{"shop.test", "www.shop.test"}, InstanceDomains: map[string]string{"blue.shop.test": "blue"}},
		},
		Routing: schema.Routing{
			Default:   "web",
			Subdomain: map[string]string{"*.shop.test": "api", "*.deep.shop.test": "cell", "exact.other.test": "api", "bare": "api", "*.example.com": "api"},
			Path:      map[string]string{"/v1": "api", "/v1/cells/": "cell", "/mine": "nosuch"},
		},
	}
}

func townTable(m *schema.Model) *Table {
	t := NewTable(Options{Domain: "Example.COM.", RootPaths: []string{"/api", "/health"}})
	return t.With(Update{Model: m, Whole: true, Endpoints: []Endpoint{
		serving("api", "prod", 100), serving("web", "blue", 90), serving("web", "green", 10), asleep("cell", "one", 100),
	}})
}

func describe(m Match) string {
	switch m.Kind {
	case Nowhere:
		return "404"
	case Refused:
		return "400"
	case Root:
		return "root"
	case Weighted:
		return m.ID.Service
	}
	if m.entry == nil {
		return m.ID.String() + "?"
	}
	return m.ID.String()
}

func TestLookup(t *testing.T) {
	t.Parallel()
	plain := town()
	plain.Routing.Default, plain.Routing.Subdomain = "", nil
	with, without := townTable(town()), townTable(plain)
	tests := []struct{ host, path, want, bare string }{
		// what services have by themselves
		{"web.example.com", "/", "web", ""},
		{"WEB.Example.COM:8080", "/v1", "web", ""},
		{"web.example.com.", "/", "web", ""},
		{"blue.web.example.com", "/", "web:blue", ""},
		{"red.web.example.com", "/", "404", ""},
		{"one.cell.example.com", "/", "cell:one", ""},
		{"new.cell.example.com", "/", "cell:new?", ""},
		{"UPPER.cell.example.com", "/", "cell:upper?", ""},
		{"-x.cell.example.com", "/", "404", ""},
		{"a_b.cell.example.com", "/", "404", ""},
		{"xn--bcher-kva.cell.example.com", "/", "cell:xn--bcher-kva?", ""},
		{"a.b.cell.example.com", "/", "api", "404"}, // the wildcard * beneath the domain
		{"nosuch.example.com", "/", "api", "404"},
		{"a.nosuch.example.com", "/", "api", "404"},
		{"webexample.com", "/", "web", "404"}, // the default
		// what the config names
		{"shop.test", "/", "web", ""},
		{"SHOP.test.", "/", "web", ""},
		{"blue.shop.test", "/", "web:blue", ""},
		{"green.shop.test", "/", "api", "404"},
		{"a.b.shop.test", "/", "api", "404"},
		{"x.deep.shop.test", "/", "cell", "404"},
		{"deep.shop.test", "/", "api", "404"},
		{"exact.other.test", "/", "api", "404"},
		{"bare.example.com", "/", "api", "404"},
		{"unknown.test", "/", "web", "404"},
		// the bare domain, addresses, no name at all
		{"example.com", "/", "web", "root"},
		{"example.com", "/api/x", "root", ""},
		{"example.com", "/apix", "web", "root"},
		{"example.com", "/health?x=/v1", "root", ""},
		{"example.com", "/v1", "api", ""},
		{"example.com", "/v1?x", "api", ""},
		{"example.com", "/v1x", "web", "root"},
		{"example.com", "/v1/cells", "cell", ""},
		{"example.com", "/v1/cells/7", "cell", ""},
		{"example.com", "/v1/cellsx", "api", ""},
		{"example.com", "/mine", "404", ""},
		{"example.com", "*", "web", "root"},
		{"localhost:80", "/api", "root", ""},
		{"127.0.0.1", "/health", "root", ""},
		{"127.0.0.1:1", "/v1", "api", ""},
		{"[::1]:80", "/api", "root", ""},
		{"[::1]", "/", "web", "root"},
		{"", "/", "web", "root"},
		// no host
		{"[::1", "/", "400", ""}, {"[::1]x", "/", "400", ""}, {"[fe80::1%eth0]", "/", "400", ""}, {"[1.2.3.4]", "/", "400", ""},
		{"a b", "/", "400", ""}, {"a/b", "/", "400", ""}, {"..", "/", "400", ""}, {".web.example.com", "/", "400", ""},
		{"a..b", "/", "400", ""}, {"web.example.com:99999", "/", "400", ""}, {"web.example.com:8a", "/", "400", ""},
		{"user@web.example.com", "/", "400", ""}, {"bücher.example.com", "/", "400", ""}, {"a\x00b", "/", "400", ""}, {":80", "/", "400", ""},
		{"::1", "/", "400", ""},
	}
	for _, tt := range tests {
		if got := describe(with.Lookup(tt.host, tt.path)); got != tt.want {
			t.Errorf("%q %q: got %s, want %s", tt.host, tt.path, got, tt.want)
		}
		want := tt.want
		if tt.bare != "" {
			want = tt.bare
		}
		if got := describe(without.Lookup(tt.host, tt.path)); got != want {
			t.Errorf("without default and wildcards, %q %q: got %s, want %s", tt.host, tt.path, got, want)
		}
	}
}

func TestWithLeavesTheOldTableAsItWas(t *testing.T) {
	t.Parallel()
	m := town()
	first := townTable(m)
	gone := first.With(Update{Model: m, Endpoints: []Endpoint{{ID: runtimes.ID{Service: "web", Instance: "blue"}}}})
	if got := describe(gone.Lookup("blue.web.example.com", "/")); got != "404" {
		t.Errorf("after it went: %s", got)
	}
	if got := describe(first.Lookup("blue.web.example.com", "/")); got != "web:blue" {
		t.Errorf("in the table before: %s", got)
	}
	smaller := &schema.Model{Services: m.Services[:1]}
	if got := describe(first.With(Update{Model: smaller}).Lookup("blue.web.example.com", "/")); got != "404" {
		t.Errorf("after its service went: %s", got)
	}
	other := *m
	kept := first.With(Update{Model: &other})
	if kept.entry(runtimes.ID{Service: "web", Instance: "blue"}) != first.entry(runtimes.ID{Service: "web", Instance: "blue"}) {
		t.Error("a new model without endpoints lost an instance")
	}
	again := first.With(Update{Model: m, Endpoints: []Endpoint{serving("web", "blue", 5)}})
	id := runtimes.ID{Service: "web", Instance: "blue"}
	if again.entry(id).backends[0] != first.entry(id).backends[0] || again.entry(id).activity != first.entry(id).activity {
		t.Error("what is under way at an incarnation was forgotten")
	}
}

func TestPickByWeight(t *testing.T) {
	t.Parallel()
	m := &schema.Model{Services: []*schema.Service{{Name: "steady"}, {Name: "naps", IdleTimeout: time.Minute}}}
	down := asleep("steady", "down", 100)
	tests := []struct {
		name string
		give []Endpoint
		want map[string]float64 // the share of each
	}{
		{"as weights say, and nothing for 0", []Endpoint{serving("steady", "a", 75), serving("steady", "b", 25), serving("steady", "c", 0)}, map[string]float64{"a": 0.75, "b": 0.25}},
		{"one that is down gets nothing", []Endpoint{serving("steady", "a", 50), down}, map[string]float64{"a": 1}},
		{"unless all are", []Endpoint{down}, map[string]float64{"down": 1}},
		{"one that sleeps takes part", []Endpoint{serving("naps", "a", 50), asleep("naps", "b", 50)}, map[string]float64{"a": 0.5, "b": 0.5}},
		{"all weights 0", []Endpoint{serving("steady", "a", 0), serving("steady", "b", 0)}, nil},
		{"none", nil, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			table := NewTable(Options{}).With(Update{Model: m, Whole: true, Endpoints: tt.give})
			random := rand.New(rand.NewPCG(1, 2))
			svc := "steady"
			if len(tt.give) > 0 {
				svc = tt.give[0].ID.Service
			}
			match := table.Lookup(svc+".localhost", "/")
			got := map[string]float64{}
			const rounds = 20_000
			for range rounds {
				if e, _ := table.pick(&match, random.Uint64(), nil); e != nil {
					got[e.ID.Instance]++
				}
			}
			if len(got) != len(tt.want) {
				t.Fatalf("got %v, want %v", got, tt.want)
			}
			for id, share := range tt.want {
				if d := got[id]/rounds - share; d < -0.02 || d > 0.02 {
					t.Errorf("%s got %.3f, want %.2f", id, got[id]/rounds, share)
				}
			}
		})
	}
}

func TestPickByShare(t *testing.T) {
	t.Parallel()
	e := serving("web", "a", 100)
	for i, share := range []int{90, 10, 0} {
		in := e.Serving[0]
		in.Key.Generation, in.Share, in.Draining = uint64(i+2), share, i == 2
		e.Serving = append(e.Serving, in)
	}
	e.Serving[0].Draining = true
	table := NewTable(Options{}).With(Update{Model: &schema.Model{Services: []*schema.Service{{Name: "web"}}}, Whole: true, Endpoints: []Endpoint{e}})
	got := map[uint64]int{}
	random := rand.New(rand.NewPCG(1, 2))
	match := table.Lookup("a.web.localhost", "/")
	var canary *backend
	for range 10_000 {
		_, b := table.pick(&match, random.Uint64(), nil)
		if got[b.in.Key.Generation]++; b.in.Key.Generation == 3 {
			canary = b
		}
	}
	if got[1] != 0 || got[4] != 0 || got[3] < 800 || got[3] > 1200 {
		t.Errorf("requests by generation: %v; want 9 of 10 for 2, 1 of 10 for 3, none for those that drain", got)
	}
	for range 100 {
		if _, b := table.pick(&match, random.Uint64(), []*backend{canary}); b == canary {
			t.Fatal("one that could not be reached was picked again while another serves")
		}
	}
}

func TestPickTriesAnother(t *testing.T) {
	t.Parallel()
	m := &schema.Model{Services: []*schema.Service{{Name: "web"}}}
	table := NewTable(Options{}).With(Update{Model: m, Whole: true, Endpoints: []Endpoint{serving("web", "a", 99), serving("web", "b", 1), serving("web", "c", 0)}})
	match := table.Lookup("web.localhost", "/")
	a := table.entry(runtimes.ID{Service: "web", Instance: "a"})
	for r := range uint64(200) {
		if e, b := table.pick(&match, r, a.backends); e.ID.Instance != "b" || b == nil {
			t.Fatalf("picked %s beside the one that was tried", e.ID)
		}
	}
}

// TestTrieIsAMap compares it with Go's, with short keys that share hashes' steps.
func TestTrieIsAMap(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(3, 4))
	tr := newTrie[*entry](NewTable(Options{}).services.seed)
	want := map[string]*entry{}
	for range 20_000 {
		key := fmt.Sprint(random.IntN(3000))
		if random.IntN(3) == 0 {
			delete(want, key)
			tr = tr.without(key)
			continue
		}
		e := &entry{Endpoint: asleep("s", key, random.IntN(101))}
		want[key] = e
		tr = tr.with(key, e)
	}
	var sum load
	for key, e := range want {
		if got, ok := tr.get(key); !ok || got != e {
			t.Fatalf("%s: got %v", key, got)
		}
		sum = sum.plus(e.load())
	}
	if tr.size() != len(want) || tr.load() != sum {
		t.Errorf("size %d and load %v, want %d and %v", tr.size(), tr.load(), len(want), sum)
	}
}

func TestTrieChainsEqualHashes(t *testing.T) {
	t.Parallel()
	var n *node[*entry]
	for _, key := range []string{"a", "b", "c"} {
		n = n.with(&leaf[*entry]{hash: 7, key: key, val: &entry{Endpoint: asleep("s", key, 1)}}, 0)
	}
	n = n.with(&leaf[*entry]{hash: 7 + 1<<60, key: "d", val: &entry{Endpoint: asleep("s", "d", 1)}}, 0)
	n = n.without(7, "b", 0)
	var got []string
	n.each(func(key string, _ *entry) bool { got = append(got, key); return true })
	if n.size != 3 || n.load.asleep != 3 || len(got) != 3 {
		t.Errorf("size %d, load %v, keys %v", n.size, n.load, got)
	}
}

// sleepers is a table of n sleeping instances of one service.
func sleepers(n int) (*Table, *schema.Model, []string) {
	s := &schema.Service{Name: "cell", OnDemand: true, MaxInstances: 2 * n}
	m := &schema.Model{Services: []*schema.Service{s}}
	u := Update{Model: m, Whole: true}
	hosts := make([]string, n)
	for i := range n {
		id := fmt.Sprintf("tenant-%05d", i)
		hosts[i] = id + ".cell.example.com"
		u.Endpoints = append(u.Endpoints, asleep("cell", id, 100))
	}
	return NewTable(Options{Domain: "example.com"}).With(u), m, hosts
}

// quickest is what one call takes, in nanoseconds, in the best of many rounds: in
// the others the machine was at something else.
func quickest(f func(i int)) float64 {
	const rounds, calls = 1000, 500 // shorter than a slice of time
	best := time.Hour
	for round := range rounds {
		began := time.Now()
		for i := range calls {
			f(round*calls + i)
		}
		best = min(best, time.Since(began))
	}
	return float64(best.Nanoseconds()) / calls
}

// BenchmarkLookup: 10,000 sleeping instances. Bars: a lookup takes 1 us, an
// instance 2 KB. An update of one must not cost what all do.
func BenchmarkLookup(b *testing.B) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	table, m, hosts := sleepers(10_000)
	runtime.GC()
	runtime.ReadMemStats(&after)
	perInstance := float64(after.HeapAlloc-before.HeapAlloc) / 10_000
	lookup := quickest(func(i int) {
		if table.Lookup(hosts[i*7919%len(hosts)], "/").entry == nil {
			b.Fatal("not found")
		}
	})
	match := table.Lookup("cell.example.com", "/")
	pick := quickest(func(i int) { table.pick(&match, uint64(i)*0x9e3779b97f4a7c15, nil) })
	update := quickest(func(i int) {
		table = table.With(Update{Model: m, Endpoints: []Endpoint{serving("cell", hosts[i%len(hosts)][:12], 100)}})
	})
	b.ReportMetric(perInstance, "B/instance")
	b.ReportMetric(lookup, "ns/lookup")
	b.ReportMetric(pick, "ns/pick")
	b.ReportMetric(update, "ns/update")
	b.ReportMetric(0, "ns/op")
}

func TestLookupAllocatesNothing(t *testing.T) {
	table, _, _ := sleepers(100)
	if n := testing.AllocsPerRun(100, func() { table.Lookup("Tenant-00007.CELL.example.com.", "/") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzLookup(f *testing.F) {
	for _, s := range []string{"blue.web.example.com", "[::1]:80", "a..b", "xn--x.cell.example.com", "127.0.0.1", "..%2f.cell.example.com", ".", "A.Cell.Example.Com.:1"} {
		f.Add(s, "/v1/cells/x?y")
	}
	table := townTable(town())
	f.Fuzz(func(t *testing.T, host, path string) {
		m := table.Lookup(host, path)
		if m.Kind == Direct && m.entry == nil && (!validID(m.ID.Instance) || m.ID.Service != "cell") {
			t.Errorf("%q reaches the waker as %v", host, m.ID)
		}
		if (m.Kind == Direct || m.Kind == Weighted) != (m.service != nil) {
			t.Errorf("%q: %+v", host, m)
		}
	})
}
