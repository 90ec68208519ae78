package main

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/tenement/ten/export"
	"github.com/tenement/ten/export/exporttest"
	"github.com/tenement/ten/proptest"
	"github.com/tenement/ten/schema"
)

// TestLossesAreWhole holds every target to losses that a person can act on, and to
// telling of each written field that it calls lost.
func TestLossesAreWhole(t *testing.T) {
	t.Parallel()
	known := export.FieldNames()
	for _, target := range exportTargets() {
		t.Run(target.Name, func(t *testing.T) {
			t.Parallel()
			proptest.Check(t, func(t *rapid.T) {
				m := exporttest.Random().Draw(t, "model")
				for _, s := range m.Services {
					s.Fields = map[string]string{"idle_timeout": "60", "weight": "5", "env.A": `"a"`}
					s.IdleTimeout, s.Weight = 60e9, 5
				}
				_, losses, err := export.Run(target, m, exporttest.Options())
				if err != nil {
					return // refused
				}
				for _, l := range losses {
					field := export.FieldOf(l.Service, l.Field)
					option := strings.HasPrefix(l.Field, "--")
					if !option && !slices.Contains(known, field) || l.Why == "" || l.Kind != export.Converted && l.Kind != export.Lost {
						t.Errorf("a loss that says too little: %+v", l)
					}
					if l.Service != "" && m.Service(l.Service) == nil {
						t.Errorf("a loss of nobody: %+v", l)
					}
				}
				mustTell(t, target, m, losses)
			})
		})
	}
}

// mustTell wants a loss of each written field that the target calls lost.
func mustTell(t *rapid.T, target export.Target, m *schema.Model, losses []export.Loss) {
	for _, u := range target.Uses {
		for _, s := range m.Services {
			_, written := s.Fields[u.Field]
			told := slices.ContainsFunc(losses, func(l export.Loss) bool { return l.Service == s.Name && export.FieldOf(l.Service, l.Field) == u.Field })
			if u.Kind == export.Lost && written && !told {
				t.Errorf("%s loses %s of %s and tells nothing", target.Name, u.Field, s.Name)
			}
		}
	}
}
