package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/tenement/ten/host/api"
	"github.com/tenement/ten/host/tokens"
	"github.com/tenement/ten/reconcile/plan"
	"github.com/tenement/ten/reconcile/store"
	"github.com/tenement/ten/runtimes"
)

// daemon is a host whose answers a test sets, behind a real socket.
type daemon struct {
	status    api.Status
	instances []api.Instance
	observed  plan.Observed
	why       api.Why
	history   []api.Entry
	logs      string
	events    []api.Event
	err       error

	failure error         // of an apply
	hold    chan struct{} // when set, an apply ends only after it was closed

	commands []api.Command
	applied  []api.ApplyRequest
	query    api.LogQuery
	limit    int
}

func (d *daemon) Status(context.Context) (api.Status, error) { return d.status, d.err }

func (d *daemon) Instances(_ context.Context, all bool) ([]api.Instance, error) {
	if all {
		return d.instances, d.err
	}
	var alive []api.Instance
	for _, i := range d.instances {
		if i.Phase.Alive() {
			alive = append(alive, i)
		}
	}
	return alive, d.err
}

func (d *daemon) Observe(context.Context, api.Ask) (plan.Observed, error) { return d.observed, d.err }

func (d *daemon) Why(_ context.Context, service string) (api.Why, error) {
	if service != d.why.Service {
		return api.Why{}, &api.Error{Code: api.CodeNotFound, Message: "no service " + service, Hint: "ten ps -a"}
	}
	return d.why, d.err
}

func (d *daemon) History(_ context.Context, limit int) ([]api.Entry, error) {
	d.limit = limit
	return d.history, d.err
}

func (d *daemon) Changed() <-chan struct{} { return nil }

func (d *daemon) Plan(context.Context) (plan.Plan, error) { return plan.Plan{}, d.err }

func (d *daemon) Probe(context.Context, runtimes.ID) (runtimes.Health, error) {
	return runtimes.Healthy, d.err
}

func (d *daemon) Storage(context.Context, bool, ...runtimes.ID) (map[runtimes.ID]api.Storage, error) {
	return nil, d.err
}

func (d *daemon) Do(_ context.Context, c api.Command) (string, error) {
	c.By = "" // depends on who runs the test
	d.commands = append(d.commands, c)
	return string(c.Verb) + " done", d.err
}

func (d *daemon) Apply(_ context.Context, r api.ApplyRequest, report func(api.Event)) error {
	r.By = ""
	d.applied = append(d.applied, r)
	for _, e := range d.events {
		report(e)
	}
	if d.hold != nil {
		<-d.hold
	}
	return d.failure
}

func (d *daemon) Write(_ context.Context, w io.Writer, q api.LogQuery) error {
	d.query = q
	if d.err == nil {
		io.WriteString(w, d.logs)
	}
	return d.err
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

// serveDaemon opens the socket of a new data directory for d.
func serveDaemon(t *testing.T, d *daemon) (dataDir string) {
	t.Helper()
	dataDir = t.TempDir()
	l, err := api.Listen(dataDir)
	if err != nil {
		t.Fatal(err)
	}
	st, err := store.Open(t.Context(), filepath.Join(dataDir, "ten.db"))
	if err != nil {
		t.Fatal(err)
	}
	known, err := tokens.New(t.Context(), tokenKeeper{st})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- api.NewServer(api.Config{Viewer: d, Inspector: d, Actor: d, Logs: d, Tokens: known, Audit: auditLog{st}, Herald: d, Log: discard()}).Serve(ctx, l)
	}()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-done, st.Close()); err != nil {
			t.Error(err)
		}
	})
	return dataDir
}

// ten runs one command line as main would.
func ten(t *testing.T, dir string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errs strings.Builder
	e := &env{
		stdin: strings.NewReader(""), stdout: &output{w: &out}, stderr: &errs,
		dir: dir, log: discard(), getenv: func(string) string { return "" },
	}
	code = run(t.Context(), e, args)
	return out.String(), errs.String(), code
}

func TestPs(t *testing.T) {
	t.Parallel()
	d := &daemon{instances: []api.Instance{
		{Service: "web", ID: "prod", Phase: runtimes.Running, Health: runtimes.Healthy, Address: "127.0.0.1:31200", Isolation: runtimes.Namespace, Weight: 100, StartedAt: time.Now().Add(-3*time.Hour - time.Minute)},
		{Service: "worker", ID: "main", Phase: runtimes.Starting, Health: runtimes.Unknown, Isolation: runtimes.Process, StartedAt: time.Now().Add(-5 * time.Second), Restarts: 2},
		{Service: "old", ID: "x", Phase: runtimes.Failed, Health: runtimes.Unknown, Isolation: runtimes.Process, Note: "exited 1, restart in 4s"},
	}}
	dir := serveDaemon(t, d)
	where := "unix://" + api.SocketPath(dir)
	stdout, stderr, code := ten(t, dir, "ls", "--data-dir", dir)
	want := `INSTANCE             LISTEN               UPTIME     IDLE       HEALTH    WEIGHT PHASE    ISOLATION NOTE
web:prod             127.0.0.1:31200      3h         3h         healthy   100    running  namespace
worker:main          -                    5s         5s         unknown   0      starting process   restarted 2 times

2 instance(s) running on ` + where + "\n"
	if stdout != want || stderr != "" || code != 0 {
		t.Errorf("ls = %d, %q\n got:\n%s\nwant:\n%s", code, stderr, stdout, want)
	}
	stdout, _, _ = ten(t, dir, "ps", "-a", "--data-dir", dir)
	if !strings.Contains(stdout, "old:x") || !strings.Contains(stdout, "exited 1, restart in 4s\n") || !strings.Contains(stdout, "\n2 instance(s) running") {
		t.Errorf("ps -a:\n%s", stdout)
	}
	d.instances = nil
	stdout, _, code = ten(t, dir, "ps", "--data-dir", dir)
	if want := "No running instances\nServer: " + where + "\n"; stdout != want || code != 0 {
		t.Errorf("ps of nothing = %d, %q, want %q", code, stdout, want)
	}
	stdout, _, _ = ten(t, dir, "ps", "--json", "--data-dir", dir)
	if want := "{\n  \"instances\": []\n}\n"; stdout != want {
		t.Errorf("ps --json of nothing = %q, want %q", stdout, want)
	}
}

func TestStatusSaysFirstWhatMatters(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	a, b := strings.Repeat("a", 40), strings.Repeat("b", 40)
	base := api.Status{
		Host: "web1", State: api.InSync, Source: "https://example.com/r", Subject: "bump api", Signer: "ana",
		Since: now.Add(-time.Hour), StartedAt: now.Add(-48 * time.Hour), Version: "1.2", Pid: 7,
		Revision: api.Revisions{Applied: a, Attempted: a}, Instances: api.Counts{Declared: 3, Running: 3, Healthy: 3},
	}
	held := base
	held.State, held.Message, held.Hint = api.Held, "api unhealthy after 60s", "ten retry api"
	held.Revision.Attempted = b
	held.Problems = []string{"a.toml:1:2: error: x: bad\n  caret"}
	held.Pauses = map[string]string{"*": "night", "web": "lunch"}
	held.Instances = api.Counts{Declared: 4, Running: 4, Healthy: 2, Degraded: 1, Unhealthy: 1, Sleeping: 1, Failed: 1}
	tests := []struct {
		name string
		s    api.Status
		want string
	}{
		{"in sync", base, `state      in-sync for 1h
host       web1
source     https://example.com/r
applied    aaaaaaa "bump api" (signed: ana)
instances  3 declared, 3 running, 3 healthy
daemon     ten 1.2, pid 7, up 2d
`},
		{"held", held, `state      held for 1h
           api unhealthy after 60s
next       ten retry api
host       web1
source     https://example.com/r
applied    aaaaaaa
attempted  bbbbbbb "bump api" (signed: ana)
instances  4 declared, 4 running, 2 healthy, 1 sleeping, 1 degraded, 1 unhealthy, 1 failed
paused     the host: night
paused     web: lunch
daemon     ten 1.2, pid 7, up 2d

Problems in bbbbbbb:
  a.toml:1:2: error: x: bad
    caret
`},
	}
	for _, tt := range tests {
		if got := statusText(tt.s, paint{}, now); got != tt.want {
			t.Errorf("%s:\n got:\n%s\nwant:\n%s", tt.name, got, tt.want)
		}
	}
}

func TestWhyAndHistory(t *testing.T) {
	t.Parallel()
	now := time.Now()
	past := []api.Entry{
		{At: now.Add(-90 * time.Second), Revision: strings.Repeat("c", 40), Instance: "web:prod", Action: "restart", Reason: "command changed", Result: "ok", Took: 840 * time.Millisecond},
		{At: now.Add(-3 * time.Hour), Action: "failed", Subject: "bump", Result: "unhealthy\nafter 60s", Took: 61 * time.Second},
	}
	d := &daemon{history: past, why: api.Why{
		Service:   "web",
		Instances: []api.Instance{{Service: "web", ID: "prod", Phase: runtimes.Running, Health: runtimes.Unhealthy, StartedAt: now.Add(-time.Minute), Note: "GET /up = 503"}},
		Pending: []plan.Action{{
			ID: runtimes.ID{Service: "web", Instance: "prod"}, Op: plan.OpRestart, Reason: plan.Reason{Code: "changed", Text: "env.KEY changed"},
			Changes: []plan.Change{
				{Path: "env.KEY", Before: `"a"`, After: `"b"`, Sensitive: true, Effect: plan.EffectRestart, Decides: true},
				{Path: "health", After: `"/up"`, Effect: plan.EffectLive},
			},
			Blocked: &plan.Block{Code: "port-taken", Text: "port 80 is held by nginx", Hint: "stop nginx"},
		}},
		Past: past,
	}}
	dir := serveDaemon(t, d)
	table := `WHEN     REVISION WHAT         ACTION    TOOK   WHY
1m ago   ccccccc  web:prod     restart   840ms  command changed
3h ago   -        host         failed    1m1s   "bump": unhealthy after 60s
`
	stdout, stderr, code := ten(t, dir, "why", "web", "--data-dir", dir)
	want := `web:prod  running, unhealthy for 1m: GET /up = 503

Due:
  restart web:prod: env.KEY changed; blocked: port 80 is held by nginx (stop nginx)
      ~ env.KEY  (sensitive) -> (sensitive)    # forces restart
      + health  "/up"

Past:
` + table
	if stdout != want || stderr != "" || code != 0 {
		t.Errorf("why = %d %q\n got:\n%s\nwant:\n%s", code, stderr, stdout, want)
	}
	stdout, _, code = ten(t, dir, "history", "--limit", "2", "--data-dir", dir)
	if stdout != table || code != 0 || d.limit != 2 {
		t.Errorf("history = %d, limit %d\n got:\n%s\nwant:\n%s", code, d.limit, stdout, table)
	}
	stdout, stderr, code = ten(t, dir, "why", "wbe", "--data-dir", dir)
	if want := "ten: error: no service wbe\nten: hint: ten ps -a\n"; stderr != want || stdout != "" || code != 1 {
		t.Errorf("why wbe = %d %q %q, want %q", code, stdout, stderr, want)
	}
}

func TestActingVerbs(t *testing.T) {
	t.Parallel()
	until := time.Now().Add(24 * time.Hour).UTC().Truncate(time.Second)
	tests := []struct {
		args []string
		want api.Command
	}{
		{[]string{"pause"}, api.Command{Verb: api.VerbPause}},
		{[]string{"pause", "web", "--reason", "lunch", "--until", until.Format(time.RFC3339)}, api.Command{Verb: api.VerbPause, Service: "web", Reason: "lunch", Until: until}},
		{[]string{"resume", "web"}, api.Command{Verb: api.VerbResume, Service: "web"}},
		{[]string{"approve", "1234567"}, api.Command{Verb: api.VerbApprove, Revision: "1234567"}},
		{[]string{"accept-rewind", "1234567"}, api.Command{Verb: api.VerbAcceptRewind, Revision: "1234567"}},
		{[]string{"retry", "web"}, api.Command{Verb: api.VerbRetry, Service: "web"}},
		{[]string{"wake", "web:a:b"}, api.Command{Verb: api.VerbWake, Service: "web", Instance: "a:b"}},
		{[]string{"sync"}, api.Command{Verb: api.VerbSync}},
		{[]string{"down", "--yes"}, api.Command{Verb: api.VerbDown}},
	}
	for _, tt := range tests {
		t.Run(strings.Join(tt.args, " "), func(t *testing.T) {
			t.Parallel()
			d := &daemon{}
			dir := serveDaemon(t, d)
			stdout, stderr, code := ten(t, dir, append(tt.args, "--data-dir", dir)...)
			if code != 0 || stderr != "" || stdout != string(tt.want.Verb)+" done\n" {
				t.Errorf("= %d %q %q", code, stdout, stderr)
			}
			if len(d.commands) != 1 || d.commands[0] != tt.want {
				t.Errorf("the daemon got %+v, want %+v", d.commands, tt.want)
			}
		})
	}
}

func TestDownNeedsAYes(t *testing.T) {
	t.Parallel()
	d := &daemon{}
	dir := serveDaemon(t, d)
	_, stderr, code := ten(t, dir, "down", "--data-dir", dir)
	if code != 1 || !strings.Contains(stderr, "--yes") || len(d.commands) > 0 {
		t.Errorf("down without a terminal = %d %q, commands %v", code, stderr, d.commands)
	}
}

func TestLogs(t *testing.T) {
	t.Parallel()
	d := &daemon{logs: "2026-03-04T05:06:07.123456789Z stdout web:prod hello  two spaces\n" +
		"2026-03-04T05:06:08Z stderr web:prod\n" +
		"2026-03-04T05:06:09Z stderr web:prod \x1b[31mred\x1b[0m \x1b]52;evil\a\n"}
	dir := serveDaemon(t, d)
	stdout, stderr, code := ten(t, dir, "logs", "web:prod", "--level", "stderr", "--search", "x y", "--limit", "5", "--data-dir", dir)
	want := "05:06:07 [OUT] web:prod hello  two spaces\n05:06:08 [ERR] web:prod \n05:06:09 [ERR] web:prod \x1b[31mred\x1b[0m \x1b]52;evil\a\n"
	if stdout != want || stderr != "" || code != 0 {
		t.Errorf("logs = %d %q\n got %q\nwant %q", code, stderr, stdout, want)
	}
	if want := (api.LogQuery{Service: "web", Instance: "prod", Level: "stderr", Search: "x y", Limit: 5}); d.query != want {
		t.Errorf("query %+v, want %+v", d.query, want)
	}
	stdout, _, _ = ten(t, dir, "logs", "web", "--json", "--data-dir", dir)
	if want := `{"at":"2026-03-04T05:06:07.123456789Z","level":"stdout","instance":"web:prod","text":"hello  two spaces"}` + "\n"; !strings.HasPrefix(stdout, want) {
		t.Errorf("logs --json = %q, want it to begin with %q", stdout, want)
	}
}

func TestTameLeavesOnlyColours(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"plain\ttext é":             "plain\ttext é",
		"\x1b[1;31mred\x1b[m":       "\x1b[1;31mred\x1b[m",
		"\x1b]0;title\x07":          `\x1b]0;title\x07`,
		"\x1b[2J\x1b[":              `\x1b[2J\x1b[`,
		"a\rb\x00\x7f":              `a\x0db\x00\x7f`,
		"\x1b[31":                   `\x1b[31`,
		"\x1b[?25l\x1b[0mafter\x1b": `\x1b[?25l` + "\x1b[0mafter" + `\x1b`,
	} {
		if got := tame(in); got != want {
			t.Errorf("tame(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestDurationsAreShort(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration][2]string{
		-time.Second:            {"0s", "0ms"},
		84 * time.Millisecond:   {"0s", "84ms"},
		6234 * time.Millisecond: {"6s", "6.2s"},
		59 * time.Second:        {"59s", "59s"},
		190 * time.Second:       {"3m", "3m10s"},
		2 * time.Minute:         {"2m", "2m"},
		25 * time.Hour:          {"1d", "25h0m"},
	} {
		if a, k := ago(d), took(max(d, 0)); a != want[0] || k != want[1] {
			t.Errorf("%v: ago %q, took %q; want %q, %q", d, a, k, want[0], want[1])
		}
	}
}

func TestDoctorShowsTheDaemonsView(t *testing.T) {
	t.Parallel()
	d := &daemon{}
	dir := serveDaemon(t, d)
	d.observed.Host = plan.Host{DataDir: dir, Levels: map[runtimes.Level]plan.Support{
		runtimes.Process:   {OK: true},
		runtimes.Namespace: {Reason: "user namespaces are switched off", Hint: "run ten as root"},
	}}
	stdout, stderr, code := ten(t, dir, "doctor", "--data-dir", dir)
	for _, want := range []string{
		"ok machine ",
		"ok daemon answers at unix://" + api.SocketPath(dir) + "\n",
		"ok process works\nno namespace user namespaces are switched off\n fix: run ten as root\n",
		"ok data directory " + dir + ", ",
	} {
		// The width of the columns is that of the longest name on this machine.
		if !strings.Contains(regexp.MustCompile(` +`).ReplaceAllString(stdout, " "), want) {
			t.Errorf("doctor lacks %q:\n%s", want, stdout)
		}
	}
	if stderr != "" || code != 0 {
		t.Errorf("doctor = %d %q", code, stderr)
	}
	stdout, _, _ = ten(t, dir, "doctor", "--json", "--data-dir", dir)
	if flat := strings.Join(strings.Fields(stdout), ""); !strings.Contains(flat, `{"name":"namespace","ok":false,"detail":"usernamespacesareswitchedoff","hint":"runtenasroot"}`) {
		t.Errorf("doctor --json:\n%s", stdout)
	}
}

func TestEveryHelpTellsTheExitStatuses(t *testing.T) {
	t.Parallel()
	var look func(*cobra.Command)
	look = func(cmd *cobra.Command) {
		for _, sub := range cmd.Commands() {
			look(sub)
		}
		if cmd.Short == "" || !strings.Contains(cmd.Long, "\nExit status\n") {
			t.Errorf("%s: help %q has no exit statuses", cmd.CommandPath(), cmd.Long)
		}
		if cmd.HasParent() && !cmd.Parent().HasParent() && cmd.GroupID == "" {
			t.Errorf("%s stands in no group of the help", cmd.CommandPath())
		}
	}
	look(newRootCommand(&env{stdin: strings.NewReader(""), stdout: io.Discard, stderr: io.Discard}))
}
