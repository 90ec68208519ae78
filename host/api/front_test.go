package api

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/tenement/ten/host/tokens"
)

// front is the API on the network. Its tokens are made when they are first asked for.
type front struct {
	*httptest.Server
	world       *world
	server      *Server
	stopServing context.CancelFunc

	mu     sync.Mutex
	tokens map[string]NewToken
}

// token is that of the admin, or of the tenant of this name: prod owns web:prod,
// acme owns nothing.
func (f *front) token(t testing.TB, of string) string { return f.made(t, of).Secret }

func (f *front) id(t testing.TB, of string) string { return f.made(t, of).ID }

func (f *front) made(t testing.TB, of string) NewToken {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if made, ok := f.tokens[of]; ok {
		return made
	}
	q := tokens.Request{Tenant: of}
	if of == "admin" {
		q.Tenant = ""
	}
	secret, r, err := f.server.Tokens.Create(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	f.tokens[of] = NewToken{ShowToken(r), secret}
	return f.tokens[of]
}

func openFront(t testing.TB, v *world) *front {
	t.Helper()
	if v.write == nil {
		v.write = func(_ context.Context, w io.Writer, _ LogQuery) error {
			_, err := fmt.Fprintln(w, "2026-03-04T05:06:07.5Z stderr web:prod hello  you")
			return err
		}
	}
	if v.apply == nil {
		v.apply = func(_ context.Context, _ ApplyRequest, report func(Event)) error {
			report(Event{At: started, Text: "web:prod restarted"})
			return nil
		}
	}
	f := &front{world: v, server: NewServer(v.config(t)), tokens: map[string]NewToken{}}
	ctx, cancel := context.WithCancel(context.Background())
	f.stopServing = cancel
	source := func(r *http.Request) netip.Addr {
		if from := r.Header.Get("Test-From"); from != "" {
			return netip.MustParseAddr(from)
		}
		return peerAddr(r)
	}
	f.Server = httptest.NewServer(NewFront(ctx, f.server, source))
	t.Cleanup(func() { cancel(); f.Server.Close() })
	return f
}

// ask makes one request; headers are "Name: value".
func (f *front) ask(t testing.TB, method, target, token, body string, headers ...string) (status int, answer string) {
	t.Helper()
	resp := f.open(t, method, target, token, body, headers...)
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(data)
}

func (f *front) open(t testing.TB, method, target, token, body string, headers ...string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, f.URL+target, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Add(name, value)
	}
	resp, err := f.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

// requests has one for every route, about the instance web:prod.
var requests = map[string]string{
	"GET /v1/status": "", "GET /v1/instances": "", "GET /v1/why": "?service=web", "GET /v1/history": "",
	"GET /v1/logs":     "?service=web&id=prod",
	"POST /v1/observe": "{}", "POST /v1/command": `{"verb":"stop","service":"web","instance":"prod"}`, "POST /v1/apply": "{}",
	"GET /health": "", "GET /api/openapi.json": "", "GET /api/instances": "",
	"POST /api/instances/spawn": `{"process":"web","id":"prod"}`, "DELETE /api/instances/{id}": "",
	"POST /api/instances/{id}/restart": "", "PUT /api/instances/{id}/weight": `{"weight":30}`,
	"GET /api/instances/{id}/health": "", "GET /api/instances/{id}/storage": "",
	"POST /api/deploy": `{"process":"web","version":"prod"}`, "POST /api/route": `{"process":"web","from":"old","to":"prod"}`,
	"GET /api/logs": "?process=web&id=prod", "GET /api/logs/stream": "?process=web&id=prod",
	"GET /api/telemetry": "", "GET /api/tls/status": "", "GET /api/plan": "", "POST /api/apply": "{}", "GET /api/events": "",
	"GET /api/tokens": "", "POST /api/tokens": `{"tenant":"beta"}`, "DELETE /api/tokens/{id}": "", "GET /api/audit": "",
}

// request fills in a route.
func (f *front) request(t testing.TB, pattern string) (method, target, body string) {
	t.Helper()
	rest, ok := requests[pattern]
	if !ok {
		t.Fatalf("no test asks %s", pattern)
	}
	method, target, _ = strings.Cut(pattern, " ")
	id := "web:prod"
	if strings.Contains(target, "tokens") {
		id = f.id(t, "spare")
	}
	target = strings.Replace(target, "{id}", id, 1)
	if strings.HasPrefix(rest, "?") {
		return method, target + rest, ""
	}
	return method, target, rest
}

// TestEveryRouteIsClosed walks every route with every kind of caller: what is
// not its business is refused whatever the body, and nothing of it is told.
func TestEveryRouteIsClosed(t *testing.T) {
	t.Parallel()
	f := openFront(t, &world{})
	for i, rt := range f.server.routes() {
		if rt.pattern == "/" {
			continue
		}
		from := fmt.Sprintf("Test-From: 192.0.2.%d", i) // or the guesses would be limited
		t.Run(rt.pattern, func(t *testing.T) {
			method, target, body := f.request(t, rt.pattern)
			long := strings.HasSuffix(target, "/events") || strings.Contains(target, "/stream")
			for _, tt := range []struct {
				who, token string
				want       [4]int // for public, own, look and act
			}{
				{"nobody", "", [4]int{200, 401, 401, 401}},
				{"a guess", strings.Repeat("A", 43), [4]int{200, 401, 401, 401}},
				{"another tenant", f.token(t, "acme"), [4]int{200, 403, 403, 403}},
				{"the tenant", f.token(t, "prod"), [4]int{200, 200, 403, 403}},
				{"the admin", f.token(t, "admin"), [4]int{200, 200, 200, 200}},
			} {
				want := tt.want[map[need]int{needNothing: 0, needOwnLook: 1, needOwnAct: 1, needLook: 2, needAct: 3}[rt.need]]
				resp := f.open(t, method, target, tt.token, body, from)
				got, text := resp.StatusCode, ""
				if !long || got != 200 {
					data, _ := io.ReadAll(resp.Body)
					text = string(data)
				}
				resp.Body.Close()
				shared := tt.who == "another tenant" && rt.need == needOwnLook && !strings.Contains(target, "prod")
				switch {
				case shared: // it gets an answer, with nothing of others in it
					if got != 200 || strings.Contains(text, "prod") && !strings.Contains(target, "openapi") {
						t.Errorf("another tenant gets %d %q", got, text)
					}
				case want == 200 && got/100 != 2, want != 200 && got != want:
					t.Errorf("%s %s by %s = %d %q, want %d", method, target, tt.who, got, text, want)
				case got == 401 && text != "", got == 403 && strings.Contains(text, "web"):
					t.Errorf("%s is told %q", tt.who, text)
				}
			}
		})
	}
}

func TestATenantSeesAndTouchesItsOwnAlone(t *testing.T) {
	t.Parallel()
	f := openFront(t, &world{})
	for _, tt := range []struct {
		name, method, target, body string
		want                       int
		contains                   string
	}{
		{"spawn in the body", "POST", "/api/instances/spawn", `{"process":"web","id":"prod"}`, 403, "only instance acme"},
		{"stop in a path", "DELETE", "/api/instances/web:prod", "", 403, "only instance acme"},
		{"the id cut at the first colon", "DELETE", "/api/instances/web:prod:acme", "", 403, ""},
		{"an encoded slash", "GET", "/api/instances/web%3Aprod%2F..%2Facme/health", "", 403, ""},
		{"logs of another", "GET", "/api/logs?process=web&id=prod", "", 403, ""},
		{"stream of another", "GET", "/api/logs/stream?id=prod", "", 403, ""},
		{"storage of another", "GET", "/api/instances/web:prod/storage", "", 403, ""},
		{"deploy whatever the body", "POST", "/api/deploy", `{"process":"web","version":"acme","tenant":"x"}`, 403, "admin token"},
		{"deploy of nonsense", "POST", "/api/deploy", `{`, 403, ""},
		{"route", "POST", "/api/route", `{"process":"web","from":"prod","to":"acme"}`, 403, "admin token"},
		{"command of the host", "POST", "/v1/command", `{"verb":"down"}`, 403, ""},
		{"command that deploys", "POST", "/v1/command", `{"verb":"deploy","service":"web","instance":"acme"}`, 403, ""},
		{"command that routes", "POST", "/v1/command", `{"verb":"route","service":"web","instance":"acme","from":"prod"}`, 403, ""},
		{"command on a service", "POST", "/v1/command", `{"verb":"pause","service":"web"}`, 403, ""},
		{"a token for itself", "POST", "/api/tokens", `{"tenant":"acme"}`, 403, ""},
		{"its own", "POST", "/api/instances/spawn", `{"process":"web","id":"acme"}`, 200, `"web:acme"`},
		{"its own by command", "POST", "/v1/command", `{"verb":"wake","service":"web","instance":"acme"}`, 200, ""},
		{"an unknown address", "GET", "/api/nothing", "", 404, ""},
		{"HEAD of another's storage", "HEAD", "/api/instances/web:prod/storage", "", 403, ""},
		{"HEAD of the plan", "HEAD", "/api/plan", "", 403, ""},
		{"HEAD of the audit log", "HEAD", "/api/audit", "", 403, ""},
		{"HEAD of another's stream", "HEAD", "/api/logs/stream?id=prod", "", 403, ""},
		{"the plan by an encoded path", "GET", "/api/%70lan", "", 403, ""},
		{"the audit log by an encoded path", "GET", "/%61pi/audit", "", 403, ""},
		{"the audit log through ten's own path", "GET", "/api/v1/../audit", "", 404, ""},
		{"the history under ten's own path", "GET", "/api/v1/history", "", 403, ""},
		{"why under ten's own path, encoded", "GET", "/api/v1%2fwhy?service=web", "", 403, ""},
		{"a doubled slash", "GET", "//api//audit", "", 403, ""},
		{"out of an instance's path", "GET", "/api/instances/web:acme/../web:prod/storage", "", 403, ""},
		{"out of it, encoded", "GET", "/api/instances/web:acme%2f..%2fweb:prod/storage", "", 403, ""},
		{"an id in two ways", "GET", "/api/logs?id=prod&id=acme", "", 403, ""},
		{"an id in the body of a GET", "GET", "/api/instances/web:prod/health", `{"id":"acme"}`, 403, ""},
		{"in capitals", "GET", "/api/instances/web:ACME/storage", "", 403, ""},
		{"with NUL behind it", "GET", "/api/instances/web:acme%00/storage", "", 403, ""},
		{"logs by a path", "GET", "/api/logs?process=../../web&id=../prod", "", 403, ""},
	} {
		got, text := f.ask(t, tt.method, tt.target, f.token(t, "acme"), tt.body)
		if got != tt.want || !strings.Contains(text, tt.contains) {
			t.Errorf("%s: %s %s = %d %q, want %d %q", tt.name, tt.method, tt.target, got, text, tt.want, tt.contains)
		}
	}
	f.ask(t, "GET", "/api/logs", f.token(t, "acme"), "")
	f.world.mu.Lock()
	defer f.world.mu.Unlock()
	for _, c := range f.world.commands {
		if c.Instance != "acme" || c.From != "" || !strings.HasPrefix(c.By, "tenant acme (token ") {
			t.Errorf("the actor was told %+v", c)
		}
	}
	if q := f.world.queries[len(f.world.queries)-1]; q.Instance != "acme" {
		t.Errorf("logs without an id ask for %+v", q)
	}
}

func TestAuthorizationHeader(t *testing.T) {
	t.Parallel()
	f := openFront(t, &world{})
	for header, want := range map[string]int{
		"Bearer " + f.token(t, "admin"): 200, "bearer " + f.token(t, "admin"): 200, "BEARER " + f.token(t, "admin"): 200,
		"Bearer  " + f.token(t, "admin"): 401, "Basic " + f.token(t, "admin"): 401, f.token(t, "admin"): 401, "Bearer": 401, "Bearer " + f.token(t, "admin")[:42]: 401,
		"Bearer " + f.token(t, "admin") + "A": 401,
	} {
		if got, body := f.ask(t, "GET", "/api/instances", "", "", "Authorization: "+header, "Test-From: 192.0.2.9"); got != want || got == 401 && body != "" {
			t.Errorf("%.10q... = %d %q, want %d", header, got, body, want)
		}
	}
	if got, _ := f.ask(t, "GET", "/api/instances", f.token(t, "admin"), "", "Authorization: Bearer "+f.token(t, "acme")); got != 401 {
		t.Errorf("two tokens = %d, want 401", got)
	}
	if got, _ := f.ask(t, "GET", "/api/instances?token="+f.token(t, "admin"), "", ""); got != 401 {
		t.Errorf("a token in the address = %d, want 401", got)
	}
	for target, want := range map[string][2]int{"/api/nothing": {401, 404}, "/": {401, 404}, "/v1/x": {401, 404}, "/health/x": {401, 404}, "/metrics": {401, 404}} {
		without, _ := f.ask(t, "GET", target, "", "")
		with, _ := f.ask(t, "GET", target, f.token(t, "admin"), "")
		if without != want[0] || with != want[1] {
			t.Errorf("%s = %d without a token, %d with; want %v", target, without, with, want)
		}
	}
	if got, body := f.ask(t, "GET", "/health", "", ""); got != 200 || strings.TrimSpace(body) != `{"status":"ok"}` {
		t.Errorf("/health = %d %q", got, body)
	}
}

func TestAFloodOfBadTokensDoesNotLockAnybodyOut(t *testing.T) {
	t.Parallel()
	f := openFront(t, &world{})
	limited := 0
	for i := range 10_000 {
		bad := base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "%032d", i))
		rec := httptest.NewRecorder()
		req := httptest.NewRequest("GET", "/api/instances", nil)
		req.RemoteAddr = "192.0.2.1:1234"
		req.Header.Set("Authorization", "Bearer "+bad)
		f.Config.Handler.ServeHTTP(rec, req)
		if rec.Code == 429 {
			limited++
		}
		if rec.Code != 401 && rec.Code != 429 || rec.Body.Len() > 0 {
			t.Fatalf("a bad token = %d %q", rec.Code, rec.Body)
		}
		if i%500 != 499 {
			continue
		}
		for _, from := range []string{"192.0.2.1", "192.0.2.2"} {
			if got, _ := f.ask(t, "GET", "/api/instances", f.token(t, "admin"), "", "Test-From: "+from); got != 200 {
				t.Fatalf("after %d bad ones the good token from %s = %d", i+1, from, got)
			}
		}
	}
	if limited < 9_000 {
		t.Errorf("%d of 10,000 guesses were limited", limited)
	}
}

func TestEveryActIsAudited(t *testing.T) {
	t.Parallel()
	f := openFront(t, &world{})
	for _, rt := range f.server.routes() {
		if rt.need != needAct && rt.need != needOwnAct || rt.pattern == "GET /api/tokens" {
			continue
		}
		before := len(f.world.acts)
		method, target, body := f.request(t, rt.pattern)
		if got, text := f.ask(t, method, target, f.token(t, "admin"), body, "Test-From: 192.0.2.7"); got/100 != 2 {
			t.Fatalf("%s = %d %s", rt.pattern, got, text)
		}
		if len(f.world.acts) != before+1 {
			t.Errorf("%s left %d acts", rt.pattern, len(f.world.acts)-before)
			continue
		}
		a := f.world.acts[before]
		if a.Source != "192.0.2.7" || !strings.HasPrefix(a.Who, "admin (token ") || a.Result != "ok" || a.Action == "" {
			t.Errorf("%s is audited as %+v", rt.pattern, a)
		}
	}
	f.ask(t, "POST", "/v1/command", f.token(t, "acme"), `{"verb":"down"}`)
	if a := f.world.acts[len(f.world.acts)-1]; a.Action != "down" || !strings.HasPrefix(a.Who, "tenant acme") || !strings.Contains(a.Result, "only instance acme") {
		t.Errorf("a refusal is audited as %+v", a)
	}
	if got, text := f.ask(t, "GET", "/api/audit?limit=2", f.token(t, "admin"), ""); got != 200 || !strings.Contains(text, `"action":"down"`) {
		t.Errorf("/api/audit = %d %s", got, text)
	}
}

// BenchmarkToken shows what a good token costs: the same request through the
// front and through what is behind it. The bar is 50 us.
func BenchmarkToken(b *testing.B) {
	f := openFront(b, &world{})
	for name, h := range map[string]http.Handler{"none": f.server.Handler(), "valid": f.Config.Handler} {
		b.Run(name, func(b *testing.B) {
			req := httptest.NewRequest("GET", "/api/tls/status", nil)
			req.Header.Set("Authorization", "Bearer "+f.token(b, "admin"))
			if name == "none" {
				req = req.WithContext(context.WithValue(req.Context(), callerKey{}, caller{look: true, act: true, serving: req.Context()}))
			}
			b.ReportAllocs()
			for b.Loop() {
				rec := httptest.NewRecorder()
				h.ServeHTTP(rec, req)
				if rec.Code != 200 {
					b.Fatal(rec.Code)
				}
			}
		})
	}
}
