package program

import (
	"strings"
	"testing"

	"github.com/tenement/ten/export"
	"github.com/tenement/ten/export/exporttest"
)

// TestHostsAreLost: a program makes no hosts, and says so of every field.
func TestHostsAreLost(t *testing.T) {
	t.Parallel()
	m := exporttest.WithHosts(exporttest.Shop())
	p, err := New(m, exporttest.Options())
	if err != nil {
		t.Fatal(err)
	}
	told := map[string]bool{}
	for _, l := range p.Losses {
		if strings.HasPrefix(l.Field, "slum.") && l.Kind == export.Lost && l.Value == m.Slum.Fields[l.Field] {
			told[l.Field] = true
		}
	}
	if len(told) != len(m.Slum.Fields) {
		t.Errorf("told of %v, and there are %v", told, m.Slum.Fields)
	}
}
