package api

import (
	"context"
	"encoding/json"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tenement/ten/reconcile/plan"
	"github.com/tenement/ten/runtimes"
)

// telling is a host whose instances were told a secret.
type telling struct{ *world }

const told = "the-value-of-it"

func tellingSpec() runtimes.Spec {
	return runtimes.Spec{
		Key: runtimes.Key{ID: runtimes.ID{Service: "web", Instance: "prod"}},
		Env: []string{"GREETING=" + told}, Fields: map[string]string{"env.GREETING": `"` + told + `"`, "health": `"/up"`},
	}
}

func tellingActions() []plan.Action {
	spec := tellingSpec()
	return []plan.Action{{Spec: &spec, Changes: []plan.Change{
		{Path: "env.GREETING", Before: `"old ` + told + `"`, After: `"` + told + `"`}, {Path: "health", Before: `"/old"`, After: `"/up"`},
	}}}
}

func (telling) Observe(context.Context, Ask) (plan.Observed, error) {
	return plan.Observed{Instances: []plan.Instance{{Instance: runtimes.Instance{Spec: tellingSpec()}}}}, nil
}

func (telling) Why(context.Context, string) (Why, error) { return Why{Pending: tellingActions()}, nil }

func (telling) Plan(context.Context) (plan.Plan, error) {
	return plan.Plan{Actions: tellingActions()}, nil
}

// TestEnvironmentValuesAreForThoseWhoMayAct asks everything that shows a spec.
func TestEnvironmentValuesAreForThoseWhoMayAct(t *testing.T) {
	t.Parallel()
	v := telling{&world{}}
	config := v.config(t)
	config.Viewer, config.Inspector = v, v
	h := NewServer(config).Handler()
	for _, ask := range []struct{ method, target, body string }{
		{"POST", "/v1/observe", "{}"}, {"GET", "/v1/why?service=web", ""}, {"GET", "/api/plan", ""},
	} {
		for _, who := range []caller{{look: true, act: true}, {look: true}} {
			req := httptest.NewRequest(ask.method, ask.target, strings.NewReader(ask.body))
			who.serving = req.Context()
			rec := httptest.NewRecorder()
			h.ServeHTTP(rec, req.WithContext(context.WithValue(req.Context(), callerKey{}, who)))
			body := rec.Body.String()
			if rec.Code != 200 || !json.Valid(rec.Body.Bytes()) || !strings.Contains(body, "GREETING") || !strings.Contains(body, "/up") {
				t.Errorf("%s = %d %s", ask.target, rec.Code, body)
			}
			if strings.Contains(body, told) != who.act {
				t.Errorf("%s to a caller who may act: %v:\n%s", ask.target, who.act, body)
			}
		}
	}
	if o, _ := v.Observe(t.Context(), Ask{}); hideObserved(o).Instances[0].Spec.Env[0] == o.Instances[0].Spec.Env[0] {
		t.Error("nothing was hidden")
	} else if o.Instances[0].Spec.Env[0] != "GREETING="+told {
		t.Error("what was observed was changed")
	}
}
