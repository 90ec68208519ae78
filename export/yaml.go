package export

import (
	"bytes"
	"errors"

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
