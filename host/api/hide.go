package api

import (
	"maps"
	"slices"
	"strings"

	"github.com/tenement/ten/reconcile/plan"
	"github.com/tenement/ten/runtimes"
)

// Hidden stands for the value of an environment variable wherever it goes to a
// caller who may look but not act.
const Hidden = "(hidden)"

// What an instance was told in its environment is for those who could have told
// it. The functions change copies.

func hideObserved(o plan.Observed) plan.Observed {
	o.Instances = slices.Clone(o.Instances)
	for i := range o.Instances {
		o.Instances[i].Spec = hideSpec(o.Instances[i].Spec)
	}
	return o
}

func hidePlan(p plan.Plan) plan.Plan {
	p.Actions = hideActions(p.Actions)
	return p
}

func hideActions(list []plan.Action) []plan.Action {
	list = slices.Clone(list)
	for i, a := range list {
		list[i].Changes = slices.Clone(a.Changes)
		for j, c := range list[i].Changes {
			if !strings.HasPrefix(c.Path, envPath) {
				continue
			}
			if c.Before != "" {
				list[i].Changes[j].Before = Hidden
			}
			if c.After != "" {
				list[i].Changes[j].After = Hidden
			}
		}
		if a.Spec != nil {
			spec := hideSpec(*a.Spec)
			list[i].Spec = &spec
		}
	}
	return list
}

// envPath begins the name of every field that is a variable.
const envPath = "env."

func hideSpec(spec runtimes.Spec) runtimes.Spec {
	spec.Env = slices.Clone(spec.Env)
	for i, entry := range spec.Env {
		name, _, _ := strings.Cut(entry, "=")
		spec.Env[i] = name + "=" + Hidden
	}
	spec.Fields = maps.Clone(spec.Fields)
	for path := range spec.Fields {
		if strings.HasPrefix(path, envPath) {
			spec.Fields[path] = Hidden
		}
	}
	return spec
}
