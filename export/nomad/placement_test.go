package nomad

import (
	"slices"
	"testing"

	"github.com/tenement/ten/export"
	"github.com/tenement/ten/export/exporttest"
)

func TestPlacement(t *testing.T) {
	t.Parallel()
	m := exporttest.WithHosts(exporttest.Shop())
	for _, s := range m.Services {
		delete(s.Env, "GREETING") // it holds ${HOME}
	}
	b, losses, err := export.Run(Target(), m, exporttest.Options())
	if err != nil {
		t.Fatal(err)
	}
	jobs := read(t, b)
	c := find(jobs["shop-api"], "constraint")
	if got := values(t, c, "attribute")[0] + " " + values(t, c, "operator")[0] + " " + values(t, c, "value")[0]; got != "${node.unique.name} regexp ^(2nd|metal)$" {
		t.Errorf("api goes to %s", got)
	}
	if find(jobs["shop-web"], "constraint") != nil {
		t.Error("web has a constraint that nobody wrote")
	}
	for _, field := range []string{"slum.placement.api.hosts", "slum.placement.api.regions"} {
		if !slices.ContainsFunc(losses, func(l export.Loss) bool { return l.Field == field && l.Kind == export.Converted }) {
			t.Errorf("nothing is told of %s", field)
		}
	}
}
