package launch

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/google/renameio/v2"

	"github.com/tenement/ten/runtimes"
)

// Update changes the limits of a running incarnation and what is recorded of
// it; see runtimes.Updater. When the limits cannot be changed, nothing is.
func (v *Level) Update(_ context.Context, spec runtimes.Spec) error {
	e, err := v.find(spec.Key)
	if err == nil {
		err = e.broken
	}
	if err != nil {
		return fmt.Errorf("update %s: %w", spec.Key, err)
	}
	next := e.rec.Spec
	next.Fields, next.Digest, next.Revision = spec.Fields, spec.Digest, spec.Revision
	next.StopSignal, next.StopTimeout = spec.StopSignal, spec.StopTimeout
	b, err := json.Marshal(next)
	if err != nil {
		return fmt.Errorf("update %s: %w", spec.Key, err)
	}
	if err := renameio.WriteFile(string(v.path(spec.Key))+updateSuffix, b, 0o600, renameio.WithTempDir(v.root())); err != nil {
		return fmt.Errorf("update %s: %w", spec.Key, err)
	}
	return nil
}
