package export

import (
	"bytes"
	"cmp"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"

	"go.yaml.in/yaml/v4"
)

// YAML writes each value as a document, two spaces a level. It folds no line:
// text stands on as many lines as it has.
func YAML(values ...any) ([]byte, error) {
	var b bytes.Buffer
	d, err := yaml.NewDumper(&b, yaml.WithV3Defaults(), yaml.WithIndent(2), yaml.WithLineWidth(-1))
	if err != nil {
		return nil, err
	}
	for _, v := range values {
		if err := d.Dump(v); err != nil {
			return nil, errors.Join(err, d.Close())
		}
	}
	if err := d.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// EachYAML gives what write makes of 0 to n-1, in that order, on all processors:
// the encoder is what an export to YAML spends its time on. The error is the first.
func EachYAML(n int, write func(i int) ([]byte, error)) ([][]byte, error) {
	out, errs := make([][]byte, n), make([]error, n)
	var next atomic.Int64
	var group sync.WaitGroup
	for range min(n, runtime.GOMAXPROCS(0)) {
		group.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				out[i], errs[i] = write(i)
			}
		})
	}
	group.Wait()
	return out, cmp.Or(errs...)
}
