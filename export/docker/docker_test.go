package docker

import (
	"testing"

	"github.com/tenement/ten/export"
	"github.com/tenement/ten/export/exporttest"
	"github.com/tenement/ten/schema"
)

func TestWeightsComeBackExactly(t *testing.T) {
	t.Parallel()
	for w := uint32(1); w <= 10000; w++ {
		if got := weightOf(Shares(w)); got != int(w) {
			t.Errorf("weight %d becomes %d shares, of which runtimes make %d", w, Shares(w), got)
		}
	}
	if Shares(100) != 1024 || Shares(1) != 2 || Shares(10000) != 262144 {
		t.Errorf("the fixed points moved: %d %d %d", Shares(1), Shares(100), Shares(10000))
	}
}

func TestHostPortsStay(t *testing.T) {
	t.Parallel()
	layout := export.ContainerLayout("compose")
	ports := func(services ...*schema.Service) map[string]int {
		all, _, err := export.Instances(exporttest.Model(services...), layout)
		if err != nil {
			t.Fatal(err)
		}
		ports, err := HostPorts(all, layout)
		if err != nil {
			t.Fatal(err)
		}
		return ports
	}
	alone := ports(exporttest.Service("web"))["web:prod"]
	if alone < 20000 || alone >= 30000 {
		t.Fatalf("web has port %d", alone)
	}
	if got := ports(exporttest.Service("web"), exporttest.Service("api"), exporttest.Service("zoo")); got["web:prod"] != alone || len(got) != 3 {
		t.Errorf("among others web has %d, alone %d", got["web:prod"], alone)
	}
	fixed := func(name string) *schema.Service {
		return exporttest.Service(name, func(s *schema.Service) { s.Port = alone })
	}
	if got := ports(exporttest.Service("web"), fixed("zoo")); got["zoo:prod"] != alone || got["web:prod"] == alone {
		t.Errorf("a fixed port goes before: %v", got)
	}
	all, _, err := export.Instances(exporttest.Model(fixed("a"), fixed("b")), layout)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := HostPorts(all, layout); err == nil {
		t.Error("two services got one port")
	}
}
