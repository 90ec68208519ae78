package main

import (
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tenement/ten/host/api"
	"github.com/tenement/ten/host/tokens"
	"github.com/tenement/ten/reconcile/plan"
	"github.com/tenement/ten/reconcile/store"
	"github.com/tenement/ten/runtimes"
	"github.com/tenement/ten/schema"
)

// serveRemote opens the API of d on the network, and makes a token of each kind.
func serveRemote(t *testing.T, d *daemon) (url, admin, tenant string) {
	t.Helper()
	st, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "ten.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	known, err := tokens.New(t.Context(), tokenKeeper{st})
	if err != nil {
		t.Fatal(err)
	}
	if admin, _, err = known.Create(t.Context(), tokens.Request{}); err != nil {
		t.Fatal(err)
	}
	if tenant, _, err = known.Create(t.Context(), tokens.Request{Tenant: "acme"}); err != nil {
		t.Fatal(err)
	}
	server := api.NewServer(api.Config{Viewer: d, Inspector: d, Actor: d, Logs: d, Tokens: known, Audit: auditLog{st}, Herald: d, Log: discard()})
	front := httptest.NewServer(api.NewFront(t.Context(), server, nil))
	t.Cleanup(front.Close)
	return front.URL, admin, tenant
}

// remote runs one command line with these variables.
func remote(t *testing.T, vars map[string]string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errs strings.Builder
	e := &env{
		stdin: strings.NewReader(""), stdout: &output{w: &out}, stderr: &errs,
		dir: t.TempDir(), log: discard(), getenv: func(name string) string { return vars[name] },
	}
	code = run(t.Context(), e, args)
	return out.String(), errs.String(), code
}

func TestVerbsWorkFromAfarWithAToken(t *testing.T) {
	t.Parallel()
	d := &daemon{
		instances: []api.Instance{
			{Service: "web", ID: "acme", Phase: runtimes.Running, Health: runtimes.Healthy, Address: "127.0.0.1:31200", StartedAt: time.Now()},
			{Service: "web", ID: "other", Phase: runtimes.Running, Health: runtimes.Healthy, Address: "127.0.0.1:31201", StartedAt: time.Now()},
		},
		logs: "2026-03-04T05:06:07Z stdout web:acme hello\n",
	}
	url, admin, tenant := serveRemote(t, d)
	saved := t.TempDir()
	if err := os.WriteFile(filepath.Join(saved, tokenFile), []byte(admin+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	empty := t.TempDir()
	if err := os.WriteFile(filepath.Join(empty, tokenFile), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	env := map[string]string{envServer: url, envToken: tenant}
	for _, tt := range []struct {
		name           string
		vars           map[string]string
		args           []string
		code           int
		stdout, stderr string // parts of them
	}{
		{"flags before the verb", nil, []string{"--server", url, "--token", admin, "ps"}, 0, "2 instance(s) running on " + url, ""},
		{"flags after the verb", nil, []string{"ps", "--token=" + admin, "--server=" + url + "/"}, 0, "web:other", ""},
		{"variables", map[string]string{envServer: url, envToken: admin}, []string{"ps"}, 0, "web:other", ""},
		{"a flag beats a variable", env, []string{"ps", "--token", admin}, 0, "web:other", ""},
		{"the saved token", map[string]string{envServer: url, envDataDir: saved}, []string{"ps"}, 0, "web:other", ""},
		{"an empty saved token", map[string]string{envServer: url, envDataDir: empty}, []string{"ps"}, 1, "", "api_token is empty"},
		{"no token", map[string]string{envServer: url}, []string{"ps"}, 1, "", "wants a token\nten: hint: --token TOKEN or TENEMENT_TOKEN"},
		{"a bad token", map[string]string{envServer: url, envToken: "nonsense"}, []string{"ps"}, 1, "", "does not know this token"},
		{"a tenant's ps", env, []string{"ps"}, 0, "1 instance(s) running", ""},
		{"a tenant's spawn", env, []string{"spawn", "web:acme"}, 0, "Spawned web:acme\nListening on 127.0.0.1:31200\n", ""},
		{"a tenant's health", env, []string{"health", "web:acme"}, 0, "web:acme: healthy\n", ""},
		{"a tenant's logs", env, []string{"logs"}, 0, "05:06:07 [OUT] web:acme hello\n", ""},
		{"a tenant elsewhere", env, []string{"stop", "web:other"}, 1, "", "only instance acme"},
		{"a tenant's deploy", env, []string{"deploy", "web:acme"}, 1, "", "only instance acme"},
		{"a tenant's status", env, []string{"status"}, 1, "", "this needs an admin token"},
		{"a tenant's tokens", env, []string{"tokens"}, 1, "", "this needs an admin token"},
		{"an admin's deploy", map[string]string{envServer: url, envToken: admin}, []string{"deploy", "web:acme", "-w", "5"}, 0, "Weight: 5\nStatus: healthy\n", ""},
		{"an admin's status", map[string]string{envServer: url, envToken: admin}, []string{"status"}, 0, "applied", ""},
		{"an admin's tokens", map[string]string{envServer: url, envToken: admin}, []string{"tokens"}, 0, "acme", ""},
		{"an admin's audit", map[string]string{envServer: url, envToken: admin}, []string{"audit"}, 0, "deploy", ""},
	} {
		stdout, stderr, code := remote(t, tt.vars, tt.args...)
		if code != tt.code || !strings.Contains(stdout, tt.stdout) || !strings.Contains(stderr, tt.stderr) {
			t.Errorf("%s: %v = %d\n%s%s\nwant %d %q %q", tt.name, tt.args, code, stdout, stderr, tt.code, tt.stdout, tt.stderr)
		}
		if strings.Contains(stdout+stderr, admin) || strings.Contains(stdout+stderr, tenant) {
			t.Errorf("%s: a token is printed", tt.name)
		}
	}
}

func TestHiddenVariablesAreNoChange(t *testing.T) {
	t.Parallel()
	spec := func(env string) runtimes.Spec {
		return runtimes.Spec{Key: runtimes.Key{ID: runtimes.ID{Service: "web", Instance: "a"}}, Fields: map[string]string{"env.A": env, "env.GONE": env, "health": `"/up"`}}
	}
	m := &schema.Model{Services: []*schema.Service{{Name: "web", Fields: map[string]string{"env.A": `"1"`, "health": `"/up"`}}}}
	o := plan.Observed{Instances: []plan.Instance{{Instance: runtimes.Instance{Spec: spec(api.Hidden)}}}}
	if !reveal(o, m) || len(o.Instances[0].Spec.Fields) != 2 || o.Instances[0].Spec.Fields["env.A"] != `"1"` {
		t.Errorf("revealed: %v", o.Instances[0].Spec.Fields)
	}
	o.Instances[0].Spec = spec(`"0"`)
	if reveal(o, m) || o.Instances[0].Spec.Fields["env.A"] != `"0"` {
		t.Errorf("what was shown is changed: %v", o.Instances[0].Spec.Fields)
	}
}
