// Package export says the model in the words of other tools: fly.toml, Compose,
// Pulumi, Terraform and plain files for systemd, Kubernetes and Nomad. A target
// is a pure function of the model. What it can't say it never drops in silence:
// it is a Loss, or, where the result would be something else than was asked for,
// a RefusedError.
package export

import (
	"fmt"
	"io/fs"
	"strings"

	"github.com/tenement/ten/schema"
)

// Target is one export: its name as people type it, and the function.
type Target struct {
	Name  string // "fly"
	Short string // one line of help: what files it writes
	// Export is pure and leaves the model as it was. Its Bundle is sorted and
	// byte-stable. An error is a *RefusedError or an *InvalidError. Callers go
	// through Run, which checks the options, adds the Losses that follow from
	// Uses, and sorts.
	Export func(m *schema.Model, o Options) (Bundle, []Loss, error)
	// Uses says of every field of the config what becomes of it. docs/EXPORT.md is
	// made of it, and Run makes a Loss of every written field that it calls Lost.
	Uses []Use
}

// Options are what a model does not say. The zero value of all but Project is good.
type Options struct {
	// Project names the whole: the prefix of app names and resources. Lower-case
	// letters, digits and -, at most 30.
	Project string
	// Tree is the repository, to find Dockerfiles and sources in; nil = none.
	Tree fs.FS
	// Region is where things are put, for targets that have places; "" = the
	// target's own default, and then a Loss says so.
	Region string
	// Root is the way from the output directory to the repository, a slash path:
	// "../..". "" = they are one. Build contexts are named by it.
	Root string
	// Registry is where images are pushed, without a slash at its end:
	// "registry.example.com/team". "" = images have local names.
	Registry string
}

// Bundle is a set of files for one target.
type Bundle struct {
	Files []File // sorted by Path, no duplicates
	// Steps are commands for a person to run after, in order: secrets to set,
	// volumes to make. Complete lines, ready to paste.
	Steps []string
}

// File is one file of a Bundle.
type File struct {
	Path string // slash path beneath the output directory, never outside it
	Data []byte
}

// Kind says how much of a value got across.
type Kind string

// The kinds, as docs/EXPORT.md prints them. A value that is carried exactly is
// no Loss.
const (
	Carried   Kind = "carried"   // said with the same meaning
	Converted Kind = "converted" // said in another form, with the same or a near meaning
	Lost      Kind = "lost"      // not said at all
)

// Loss is one value that a target can't say as it was written.
type Loss struct {
	Service string `json:"service"`           // "" = the settings, routing or slum.toml
	Field   string `json:"field"`             // as in the config: "idle_timeout", "env.PORT"
	Value   string `json:"value"`             // as the user wrote it, or the default in words
	Kind    Kind   `json:"kind"`              // Converted or Lost
	Why     string `json:"why"`               // why the target can't say it
	Instead string `json:"instead,omitempty"` // what stands in for it, or what to do
}

// RefusedError is a model that a target can't hold at all.
type RefusedError struct {
	Target  string
	Service string          // "" = the fault is in slum.toml
	Field   string          // the field that stands in the way
	Value   string          // its value
	At      schema.Position // where the service or host is declared
	Why     string
	Nearest string // the target that can, or what to change
}

func (e *RefusedError) Error() string {
	var b strings.Builder
	if e.At.File != "" {
		fmt.Fprintf(&b, "%s: ", e.At)
	}
	fmt.Fprintf(&b, "%s can't hold ", e.Target)
	if e.Service != "" {
		fmt.Fprintf(&b, "service %s: ", e.Service)
	}
	fmt.Fprintf(&b, "%s = %s: %s", e.Field, e.Value, e.Why)
	return b.String()
}

// Hint says what to do instead.
func (e *RefusedError) Hint() string { return e.Nearest }

// InvalidError is an option that can't be used, or a config with nothing in it.
type InvalidError struct {
	Option string // "project"
	Value  string // "" = the fault is not in a value
	Why    string
}

func (e *InvalidError) Error() string {
	if e.Value == "" {
		return e.Option + ": " + e.Why
	}
	return fmt.Sprintf("%s %q: %s", e.Option, e.Value, e.Why)
}
