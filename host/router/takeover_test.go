package router

import (
	"testing"

	"github.com/tenement/ten/schema"
)

// TestNoServiceTakesAnothersName: what a service says of its own domains never
// takes the name that another has by itself, nor that of the daemon.
func TestNoServiceTakesAnothersName(t *testing.T) {
	t.Parallel()
	thief := &schema.Service{
		Name: "thief", Instances: []string{"a"},
		Domains: []string{"web.example.com", "prod.web.example.com", "example.com", "thief.example.com", "free.example.com", "shop.test"},
		InstanceDomains: map[string]string{
			"x.web.example.com": "a", "cell.example.com": "a", "y.cell.example.com": "a", "a.thief.example.com": "a", "one.shop.test": "a",
		},
	}
	m := &schema.Model{Services: []*schema.Service{
		{Name: "cell", OnDemand: true, MaxInstances: 3}, thief, {Name: "web", Instances: []string{"prod"}},
	}}
	table := NewTable(Options{Domain: "example.com", RootPaths: []string{"/api"}}).With(Update{Model: m, Whole: true, Endpoints: []Endpoint{
		serving("thief", "a", 100), serving("web", "prod", 100),
	}})
	for host, want := range map[string]string{
		"web.example.com": "web", "prod.web.example.com": "web:prod", "x.web.example.com": "404", "example.com": "root",
		"cell.example.com": "cell", "y.cell.example.com": "cell:y?",
		"thief.example.com": "thief", "free.example.com": "thief", "shop.test": "thief", "one.shop.test": "thief:a", "a.thief.example.com": "thief:a",
	} {
		if got := describe(table.Lookup(host, "/")); got != want {
			t.Errorf("%s leads to %s, want %s", host, got, want)
		}
	}
}
