package plan

import (
	"maps"
	"slices"
	"strings"

	"github.com/tenement/ten/runtimes"
)

// hidden stands for a secret value wherever a plan leaves the daemon.
const hidden = "(sensitive)"

// Masked gives the plan without the values of variables whose names look like
// secrets: in changes, in the environment and in the fields of what is started.
// It is what may be printed, served or saved. p is not changed.
func (p Plan) Masked() Plan {
	p.Actions = slices.Clone(p.Actions)
	for i, a := range p.Actions {
		p.Actions[i] = a.Masked()
	}
	return p
}

// Masked is Plan.Masked for one action.
func (a Action) Masked() Action {
	a.Changes = slices.Clone(a.Changes)
	for i, c := range a.Changes {
		a.Changes[i] = c.masked()
	}
	if a.Spec != nil {
		spec := maskSpec(*a.Spec)
		a.Spec = &spec
	}
	return a
}

func (c Change) masked() Change {
	if !c.Sensitive {
		return c
	}
	if c.Before != "" {
		c.Before = hidden
	}
	if c.After != "" {
		c.After = hidden
	}
	return c
}

func maskSpec(spec runtimes.Spec) runtimes.Spec {
	spec.Env = slices.Clone(spec.Env)
	for i, entry := range spec.Env {
		if name, value, _ := strings.Cut(entry, "="); sensitive("env."+name, value) {
			spec.Env[i] = name + "=" + hidden
		}
	}
	fields := spec.Fields
	for path, value := range fields {
		if sensitive(path, value) {
			spec.Fields = maps.Clone(fields)
			break
		}
	}
	for path, value := range fields {
		if sensitive(path, value) {
			spec.Fields[path] = hidden
		}
	}
	return spec
}
