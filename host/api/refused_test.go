package api

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestWhatIsRefusedIsAudited: whoever is refused, and wherever on the way, it is
// noted who it was as far as that is known, what it was, and why.
func TestWhatIsRefusedIsAudited(t *testing.T) {
	t.Parallel()
	f := openFront(t, &world{})
	for _, tt := range []struct {
		name, method, target, token, body string
		act, who                          string // of the line; "" = there is none
		result                            string
	}{
		{"no token", "DELETE", "/api/instances/web:prod", "", "", "request DELETE /api/instances/web:prod", "nobody known", "no token"},
		{"no token, and nothing to be done", "GET", "/api/instances", "", "", "", "", ""},
		{"a bad token", "GET", "/api/instances", "nonsense", "", "request GET /api/instances", "nobody known", "a token that nobody knows"},
		{"a tenant's stop of another", "DELETE", "/api/instances/web:prod", "acme", "", "request DELETE /api/instances/web:prod", "tenant acme (token ", "only instance acme"},
		{"a tenant's look at another", "GET", "/api/instances/web:prod/storage", "acme", "", "request GET /api/instances/web:prod/storage", "tenant acme (token ", "only instance acme"},
		{"a tenant's logs of another", "GET", "/api/logs?id=prod", "acme", "", "request GET /api/logs", "tenant acme (token ", "only instance acme"},
		{"a tenant's spawn of another", "POST", "/api/instances/spawn", "acme", `{"process":"web","id":"prod"}`, "spawn web:prod", "tenant acme (token ", "only instance acme"},
		{"a tenant's deploy", "POST", "/api/deploy", "beta", "{}", "request POST /api/deploy", "tenant beta (token ", "needs an admin token"},
		{"a tenant's command", "POST", "/v1/command", "beta", `{"verb":"down"}`, "down ", "tenant beta (token ", "only instance beta"},
		{"an admin's mistake", "POST", "/api/instances/spawn", "admin", `{"process":"W","id":"prod"}`, "", "", ""},
		{"a very long address", "POST", "/api/" + strings.Repeat("x", 4000), "", "", "request POST /api/" + strings.Repeat("x", 190), "nobody known", "no token"},
	} {
		before := len(f.world.acts)
		token := tt.token
		if token != "" && token != "nonsense" {
			token = f.token(t, token)
		}
		f.ask(t, tt.method, tt.target, token, tt.body, "Test-From: 192.0.2.7")
		lines := f.world.acts[before:]
		if tt.act == "" {
			if len(lines) != 0 {
				t.Errorf("%s: %+v", tt.name, lines)
			}
			continue
		}
		if len(lines) != 1 {
			t.Errorf("%s: %d lines", tt.name, len(lines))
			continue
		}
		a := lines[0]
		if a.Action+" "+a.Target != tt.act || !strings.HasPrefix(a.Who, tt.who) || !strings.Contains(a.Result, tt.result) || a.Source != "192.0.2.7" || a.At.IsZero() {
			t.Errorf("%s: %+v", tt.name, a)
		}
	}
}

// TestAFloodOfRefusalsIsAFewLines: of bad tokens from everywhere, of a tenant that
// tries all there is, and it costs a line a second at most; none is uncounted.
func TestAFloodOfRefusalsIsAFewLines(t *testing.T) {
	t.Parallel()
	var f refusals
	began := time.Now()
	lines, sent := 0, 0
	counted := 0
	take := func(list []Act) {
		for _, a := range list {
			lines++
			n, of := 0, 0
			if _, err := fmt.Sscanf(a.Detail, "and %d more", &n); err == nil {
				counted += n
			} else if _, err := fmt.Sscanf(a.Detail, "%d requests of at least %d", &n, &of); err == nil {
				counted += n
			} else {
				counted++
			}
		}
	}
	const minutes = 10
	for second := range minutes * 60 {
		for n := range 500 {
			source := "192.0.2.1"
			if n > 0 {
				source = fmt.Sprintf("2001:db8:%x:%x::%d", second, n, n)
			}
			sent++
			take(f.add(Act{At: began.Add(time.Duration(second) * time.Second), Who: "nobody known", Source: source, Action: refusedAction, Target: fmt.Sprint("GET /", n)}))
		}
		if len(f.by) > refusedCallers+1 {
			t.Fatalf("%d callers in memory", len(f.by))
		}
	}
	take(f.flush(began, true))
	if counted != sent {
		t.Errorf("%d of %d were counted", counted, sent)
	}
	if most := minutes * 60; lines > most {
		t.Errorf("%d lines in %d minutes, want at most %d", lines, minutes, most)
	}
	if list := f.flush(began.Add(time.Hour), true); list != nil {
		t.Errorf("twice: %v", list)
	}
}

// TestOneOfManyIsNotLost: a caller who is refused once amid a flood of another is
// still told apart from it.
func TestOneOfManyIsNotLost(t *testing.T) {
	t.Parallel()
	var f refusals
	began := time.Now()
	for range 10_000 {
		f.add(Act{At: began, Who: "nobody known", Source: "192.0.2.1"})
	}
	got := f.add(Act{At: began, Who: "tenant acme", Source: "192.0.2.2", Action: "down"})
	if len(got) != 1 || got[0].Action != "down" {
		t.Errorf("%+v", got)
	}
	sums := f.flush(began.Add(2*refusedWindow), false)
	if len(sums) != 1 || sums[0].Detail != "and 9995 more like it within a minute" || sums[0].Source != "192.0.2.1" {
		t.Errorf("%+v", sums)
	}
}
