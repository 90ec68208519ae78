package kubernetes

import (
	"slices"
	"testing"

	"github.com/tenement/ten/export"
	"github.com/tenement/ten/export/exporttest"
)

func TestPlacement(t *testing.T) {
	t.Parallel()
	b, losses, err := export.Run(Target(), exporttest.WithHosts(exporttest.Shop()), exporttest.Options())
	if err != nil {
		t.Fatal(err)
	}
	c := read(t, b)
	terms := c.pod("api-prod").Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms
	var got []string
	for _, term := range terms {
		for _, r := range term.MatchExpressions {
			got = append(append(got, r.Key, string(r.Operator)), r.Values...)
		}
	}
	if want := []string{hostLabel, "In", "metal", regionLabel, "In", "west"}; len(terms) != 2 || !slices.Equal(got, want) {
		t.Errorf("api goes to %q in %d terms, want %q in 2", got, len(terms), want)
	}
	if a := c.pod("web-prod").Affinity; a != nil {
		t.Errorf("web has %v, which nobody wrote", a)
	}
	for _, field := range []string{"slum.placement.api.hosts", "slum.placement.api.regions"} {
		if !slices.ContainsFunc(losses, func(l export.Loss) bool { return l.Field == field && l.Kind == export.Converted }) {
			t.Errorf("nothing is told of %s", field)
		}
	}
}
