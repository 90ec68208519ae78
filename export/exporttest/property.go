package exporttest

import (
	"errors"
	"testing"

	"pgregory.net/rapid"

	"github.com/tenement/ten/export"
	"github.com/tenement/ten/proptest"
	"github.com/tenement/ten/schema"
)

// Property is what holds of a target: its own parser reads every value of a
// random model back, or the model is refused with a way out.
type Property[T any] struct {
	Target export.Target
	Layout export.Layout
	// Edit makes a model likelier to be taken; nil = as it is drawn.
	Edit func(t *rapid.T, m *schema.Model)
	// Read is the target's own parser.
	Read func(t *rapid.T, b export.Bundle) T
	// Compare holds what was read to one instance of the model.
	Compare func(t *rapid.T, m *schema.Model, in export.Instance, read T)
}

// Check draws models, and fails too when all of them are refused.
func (p Property[T]) Check(t *testing.T) {
	t.Helper()
	exported := 0
	proptest.Check(t, func(t *rapid.T) {
		m := Random().Draw(t, "model")
		if p.Edit != nil {
			p.Edit(t, m)
		}
		b, _, err := export.Run(p.Target, m, Options())
		if err != nil {
			if refused, ok := errors.AsType[*export.RefusedError](err); !ok || refused.Why == "" || refused.Nearest == "" {
				t.Fatalf("refused without a way out: %v", err)
			}
			return
		}
		exported++
		read := p.Read(t, b)
		all, _, err := export.Instances(m, p.Layout)
		if err != nil {
			t.Fatal(err)
		}
		for _, in := range all {
			p.Compare(t, m, in, read)
		}
	})
	t.Logf("%d models were taken; the others were refused", exported)
	if !t.Failed() && !testing.Short() && exported == 0 {
		t.Error("every model was refused: nothing was shown")
	}
}
