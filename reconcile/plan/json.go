package plan

import (
	"encoding/json"
	"io"
)

// JSON writes the plan as indented JSON, secrets masked. The form is versioned
// by format_version: fields are added within a version and never change meaning.
// Equal plans give equal bytes.
func (p Plan) JSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(p.Masked())
}
