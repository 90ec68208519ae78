package launch

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/tenement/ten/runtimes"
)

// Update changes the limits of a running incarnation and what is recorded of
// it; see runtimes.Updater. When the limits cannot be changed, nothing is.
func (v *Level) Update(_ context.Context, spec runtimes.Spec) error {
	dir := v.dir(spec.Key)
	rec, err := dir.readRecord()
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("update %s: %w", spec.Key, runtimes.ErrNotFound)
	}
	if err != nil {
		return fmt.Errorf("update %s: %w", spec.Key, err)
	}
	rec.Spec.Fields, rec.Spec.Digest, rec.Spec.Revision = spec.Fields, spec.Digest, spec.Revision
	rec.Spec.StopSignal, rec.Spec.StopTimeout = spec.StopSignal, spec.StopTimeout
	if err := dir.writeRecord(rec, recordFile+".new"); err != nil {
		return fmt.Errorf("update %s: %w", spec.Key, err)
	}
	if err := os.Rename(dir.file(recordFile+".new"), dir.file(recordFile)); err != nil {
		return fmt.Errorf("update %s: %w", spec.Key, err)
	}
	return nil
}
