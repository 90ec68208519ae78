package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/user"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tenement/ten/host/tokens"
	"github.com/tenement/ten/reconcile/plan"
	"github.com/tenement/ten/runtimes"
)

// world is a Viewer, Actor and Logs whose answers a test sets.
type world struct {
	mu       sync.Mutex
	commands []Command
	tokens   []tokens.Record
	acts     []Act
	gone     bool // web:prod is no more
	looks    int
	news     chan struct{} // closed when something changes
	asks     []Ask
	limits   []int
	queries  []LogQuery
	err      error
	apply    func(ctx context.Context, r ApplyRequest, report func(Event)) error
	write    func(ctx context.Context, w io.Writer, q LogQuery) error
}

var started = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

func (v *world) Status(context.Context) (Status, error) {
	return Status{Host: "web1", State: Held, Revision: Revisions{Applied: "a", Attempted: "b"}, Problems: []string{"x:1"}, StartedAt: started}, v.err
}

// Changed implements Herald.
func (v *world) Changed() <-chan struct{} {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.news == nil {
		v.news = make(chan struct{})
	}
	return v.news
}

// change does something to the world and says so.
func (v *world) change(how func()) {
	v.mu.Lock()
	defer v.mu.Unlock()
	how()
	if v.news != nil {
		close(v.news)
		v.news = nil
	}
}

func (v *world) Instances(_ context.Context, all bool) ([]Instance, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.looks++
	if v.gone {
		return []Instance{{Service: "web", ID: "old", Phase: runtimes.Failed}}, v.err
	}
	rows := []Instance{{Service: "web", ID: "prod", Phase: runtimes.Running, Health: runtimes.Healthy, StartedAt: started, Address: "127.0.0.1:31200"}}
	if all {
		rows = append(rows, Instance{Service: "web", ID: "old", Phase: runtimes.Failed})
	}
	return rows, v.err
}

func (v *world) Observe(_ context.Context, ask Ask) (plan.Observed, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.asks = append(v.asks, ask)
	return plan.Observed{
		Now:     started,
		Host:    plan.Host{Levels: map[runtimes.Level]plan.Support{runtimes.Process: {OK: true}}, Ports: map[int]plan.Holder{9100: {Pid: 811, Command: "exporter"}}},
		Unknown: map[runtimes.Level]string{runtimes.VM: "no answer"},
	}, v.err
}

func (v *world) Why(_ context.Context, service string) (Why, error) {
	return Why{Service: service, Past: []Entry{{Action: "applied", Took: time.Second}}}, v.err
}

func (v *world) History(_ context.Context, limit int) ([]Entry, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.limits = append(v.limits, limit)
	return []Entry{{At: started, Action: "restart", Result: "ok"}}, v.err
}

func (v *world) Do(_ context.Context, c Command) (string, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.commands = append(v.commands, c)
	return "done: " + string(c.Verb), v.err
}

func (v *world) Apply(ctx context.Context, r ApplyRequest, report func(Event)) error {
	return v.apply(ctx, r, report)
}

func (v *world) Write(ctx context.Context, w io.Writer, q LogQuery) error {
	v.mu.Lock()
	v.queries = append(v.queries, q)
	v.mu.Unlock()
	return v.write(ctx, w, q)
}

// start serves v on the socket of a new data directory until the test ends.
func start(t *testing.T, v *world) (c *Client, dataDir string) {
	t.Helper()
	dataDir = t.TempDir()
	l, err := Listen(dataDir)
	if err != nil {
		t.Fatal(err)
	}
	serve(t, v, l)
	c = NewLocalClient(dataDir)
	t.Cleanup(c.Close)
	return c, dataDir
}

func (v *world) config(t testing.TB) Config {
	t.Helper()
	known, err := tokens.New(t.Context(), v)
	if err != nil {
		t.Fatal(err)
	}
	return Config{Viewer: v, Inspector: v, Actor: v, Logs: v, Tokens: known, Audit: v, Herald: v, Log: discard()}
}

func (v *world) Plan(context.Context) (plan.Plan, error) {
	return plan.Plan{FormatVersion: 1, Host: "web1", Actions: []plan.Action{}}, v.err
}

func (v *world) Probe(_ context.Context, id runtimes.ID) (runtimes.Health, error) {
	if id.Instance == "prod" {
		return runtimes.Unhealthy, v.err
	}
	return runtimes.Unknown, v.err
}

func (v *world) Storage(_ context.Context, fresh bool, ids ...runtimes.ID) (map[runtimes.ID]Storage, error) {
	all := map[runtimes.ID]Storage{}
	for _, id := range ids {
		if id.Instance == "none" && fresh {
			return nil, fs.ErrNotExist
		}
		all[id] = Storage{Path: "/data/" + id.Service + "/" + id.Instance, Used: 512, Quota: 1024}
	}
	return all, v.err
}

func (v *world) Tokens(context.Context) ([]tokens.Record, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Clone(v.tokens), nil
}

func (v *world) PutToken(_ context.Context, r tokens.Record) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.tokens = append(v.tokens, r)
	return nil
}

func (v *world) RevokeToken(_ context.Context, id string) (bool, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	n := len(v.tokens)
	v.tokens = slices.DeleteFunc(v.tokens, func(r tokens.Record) bool { return r.ID == id })
	return len(v.tokens) < n, nil
}

func (v *world) BeginAct(_ context.Context, a Act) (int64, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	a.ID = int64(len(v.acts) + 1)
	v.acts = append(v.acts, a)
	return a.ID, nil
}

func (v *world) Refused(_ context.Context, a Act) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.acts = append(v.acts, a)
	return nil
}

func (v *world) EndAct(_ context.Context, id int64, result string, took time.Duration) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.acts[id-1].Result, v.acts[id-1].Took = result, took
	return nil
}

func (v *world) Acts(_ context.Context, limit int) (AuditLog, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	list := slices.Clone(v.acts)
	slices.Reverse(list)
	return AuditLog{Acts: list[:min(limit, len(list))]}, nil
}

func serve(t *testing.T, v *world, l net.Listener) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	s := NewServer(v.config(t))
	go func() { done <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve = %v", err)
		}
	})
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

func TestClientGivesWhatTheViewerSays(t *testing.T) {
	t.Parallel()
	v := &world{}
	c, _ := start(t, v)
	ctx := t.Context()
	same := func(what string, want any, err error, got any, gerr error) {
		t.Helper()
		if err != nil || gerr != nil {
			t.Fatalf("%s: %v, %v", what, err, gerr)
		}
		if !reflect.DeepEqual(want, got) {
			t.Errorf("%s over the wire:\n got %+v\nwant %+v", what, got, want)
		}
	}
	ask := Ask{Commands: []CommandAsk{{Service: "web", Level: runtimes.Process, Command: "python3"}}, Ports: []int{9100}}
	{
		want, err := v.Status(ctx)
		got, gerr := c.Status(ctx)
		same("Status", want, err, got, gerr)
	}
	for _, all := range []bool{false, true} {
		want, err := v.Instances(ctx, all)
		got, gerr := c.Instances(ctx, all)
		same(fmt.Sprintf("Instances(%v)", all), want, err, got, gerr)
	}
	{
		want, err := v.Observe(ctx, ask)
		got, gerr := c.Observe(ctx, ask)
		same("Observe", want, err, got, gerr)
		same("Ask", ask, nil, v.asks[1], nil)
	}
	{
		want, err := v.Why(ctx, "web")
		got, gerr := c.Why(ctx, "web")
		same("Why", want, err, got, gerr)
	}
	{
		want, err := v.History(ctx, 7)
		got, gerr := c.History(ctx, 7)
		same("History", want, err, got, gerr)
		same("limit", []int{7, 7}, nil, v.limits, nil)
	}
}

func TestCommandIsSignedByTheServer(t *testing.T) {
	t.Parallel()
	v := &world{}
	c, _ := start(t, v)
	sent := Command{Verb: VerbPause, Service: "web", Reason: "lunch", Until: started, By: "somebody else"}
	text, err := c.Do(t.Context(), sent)
	if err != nil || text != "done: pause" {
		t.Fatalf("Do = %q, %v", text, err)
	}
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	sent.By = me.Username
	if !reflect.DeepEqual(v.commands, []Command{sent}) {
		t.Errorf("the actor got %+v, want %+v", v.commands, sent)
	}
}

func TestErrorsKeepTheirTypeAndHint(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		err  error
		want Error
	}{
		{"own", &Error{Code: CodeStale, Message: "moved", Hint: "plan again"}, Error{CodeStale, "moved", "plan again"}},
		{"wrapped", fmt.Errorf("apply: %w", &Error{Code: CodeRefused, Message: "guard", Hint: "approve"}), Error{CodeRefused, "apply: guard", "approve"}},
		{"unsupported", &runtimes.UnsupportedError{Level: runtimes.VM, Reason: "no kvm", Hint: "modprobe"}, Error{CodeRefused, `isolation "vm" does not work here: no kvm`, "modprobe"}},
		{"not found", fmt.Errorf("web:x: %w", runtimes.ErrNotFound), Error{CodeNotFound, "web:x: no such instance", ""}},
		{"other", errors.New("disk"), Error{CodeInternal, "disk", ""}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c, _ := start(t, &world{err: tt.err})
			_, err := c.Do(t.Context(), Command{Verb: VerbSync})
			if e, ok := errors.AsType[*Error](err); !ok || *e != tt.want {
				t.Errorf("got %#v, want %#v", err, tt.want)
			}
		})
	}
}

func TestRequestsThatMakeNoSense(t *testing.T) {
	t.Parallel()
	v := &world{write: func(context.Context, io.Writer, LogQuery) error { return nil }}
	c, _ := start(t, v)
	tests := []struct {
		method, target, body string
		want                 int
	}{
		{"GET", "/v1/nothing", "", 404},
		{"GET", "/v1/command", "", 404},
		{"GET", "/v1/why", "", 400},
		{"GET", "/v1/history?limit=0", "", 400},
		{"GET", "/v1/history?limit=many", "", 400},
		{"GET", "/v1/logs?level=debug", "", 400},
		{"POST", "/v1/command", "", 400},
		{"POST", "/v1/command", `{"verb":"pause","who":"me"}`, 400},
		{"POST", "/v1/command", `{"verb":"pause"}{}`, 400},
		{"POST", "/v1/command", `{"verb":"` + strings.Repeat("x", maxCommand) + `"}`, 400},
	}
	for _, tt := range tests {
		req, err := http.NewRequestWithContext(t.Context(), tt.method, "http://ten"+tt.target, strings.NewReader(tt.body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := c.http.Do(req)
		if err != nil {
			t.Fatalf("%s %s: %v", tt.method, tt.target, err)
		}
		e, ok := errors.AsType[*Error](c.readError(resp))
		resp.Body.Close()
		if resp.StatusCode != tt.want || !ok || e.Code.status() != tt.want {
			t.Errorf("%s %s %.40s = %s %v, want %d", tt.method, tt.target, tt.body, resp.Status, e, tt.want)
		}
	}
	if len(v.commands) > 0 {
		t.Errorf("commands reached the actor: %+v", v.commands)
	}
}

func TestHandlerWithoutAKnownCallerRefuses(t *testing.T) {
	t.Parallel()
	v := &world{}
	srv := httptest.NewServer(NewServer(v.config(t)).Handler())
	defer srv.Close()
	c, err := NewClient(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Status(t.Context())
	if e, ok := errors.AsType[*Error](err); !ok || e.Code != CodeNoToken {
		t.Errorf("Status = %v, want no-token", err)
	}
	_, err = c.Do(t.Context(), Command{Verb: VerbDown})
	if e, ok := errors.AsType[*Error](err); !ok || e.Code != CodeNoToken {
		t.Errorf("Do = %v, want no-token", err)
	}
}

func TestPermit(t *testing.T) {
	t.Parallel()
	act, look := caller{look: true, act: true}, caller{look: true, name: "ana"}
	tenant, nobody := caller{tenant: "acme"}, caller{}
	for _, tt := range []struct {
		who  caller
		need need
		want Code
	}{
		{act, needAct, ""}, {act, needLook, ""}, {act, needOwnAct, ""}, {act, needOwnLook, ""},
		{look, needLook, ""}, {look, needOwnLook, ""}, {look, needAct, CodeForbidden}, {look, needOwnAct, CodeForbidden},
		{tenant, needOwnAct, ""}, {tenant, needOwnLook, ""}, {tenant, needAct, CodeForbidden}, {tenant, needLook, CodeForbidden},
		{nobody, needLook, CodeNoToken}, {nobody, needAct, CodeNoToken}, {nobody, needOwnAct, CodeNoToken}, {nobody, needOwnLook, CodeNoToken},
		{nobody, needNothing, ""}, {nobody, need(99), CodeNoToken}, {nobody, route{}.need, CodeNoToken},
	} {
		ctx := context.WithValue(t.Context(), callerKey{}, tt.who)
		err := permit(httptest.NewRequestWithContext(ctx, "GET", "/", nil), tt.need)
		e, _ := errors.AsType[*Error](err)
		if (err == nil) != (tt.want == "") || (e != nil && e.Code != tt.want) {
			t.Errorf("permit(%+v, %v) = %v, want %q", tt.who, tt.need, err, tt.want)
		}
	}
}

func TestNewClientReadsServerURLs(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for server, want := range map[string]string{
		"unix://" + dir:                "unix://" + filepath.Join(dir, SocketName),
		"unix:///run/other.sock":       "unix:///run/other.sock",
		"http://localhost:8080":        "http://localhost:8080",
		"https://ten.example.com/base": "https://ten.example.com/base",
		"localhost:8080":               "",
		"unix://relative/path":         "",
		"http://":                      "",
		"":                             "",
	} {
		c, err := NewClient(server)
		if (err != nil) != (want == "") || (c != nil && c.Where() != want) {
			t.Errorf("NewClient(%q) = %+v, %v; want %q", server, c, err, want)
		}
	}
}

func TestNobodyAnswers(t *testing.T) {
	t.Parallel()
	dead := t.TempDir()
	l, err := Listen(dead)
	if err != nil {
		t.Fatal(err)
	}
	// A daemon that was killed leaves its socket but not its lock.
	l.(*listener).Listener.Close()
	l.(*listener).lock.Close()
	for _, dir := range []string{dead, t.TempDir(), filepath.Join(t.TempDir(), "missing"), filepath.Join(t.TempDir(), strings.Repeat("long/", 40))} {
		_, err := NewLocalClient(dir).Status(t.Context())
		e, ok := errors.AsType[*NotRunningError](err)
		if !ok || !strings.Contains(e.Error(), dir) {
			t.Errorf("%s: %v, want NotRunningError naming the directory", dir, err)
		}
	}
	again, err := Listen(dead)
	if err != nil {
		t.Fatalf("a stale socket was not replaced: %v", err)
	}
	again.Close()
	if _, err := os.Stat(SocketPath(dead)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Close left the socket: %v", err)
	}
}
