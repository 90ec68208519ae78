package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tenement/ten/host/api"
	"github.com/tenement/ten/reconcile/plan"
)

// deskAt is a directory with one service, and the data directory of a daemon
// whose host runs nothing.
func deskAt(t *testing.T, d *daemon) (dir, dataDir string) {
	t.Helper()
	dataDir = serveDaemon(t, d)
	d.observed = plan.Observed{Now: time.Now(), Host: plan.Host{Name: "web1", DataDir: dataDir}}
	dir = t.TempDir()
	writeFile(t, filepath.Join(dir, configName), "[service.web]\ncommand = \"sleep 9\"\nisolation = \"process\"\ninstances = [\"prod\"]\n")
	return dir, dataDir
}

func writeFile(t *testing.T, name, content string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestApplySendsWhatWasSeen(t *testing.T) {
	t.Parallel()
	d := &daemon{events: []api.Event{
		{Instance: "web:prod", Text: "web:prod: created and healthy in 84ms"},
		{Text: "applied dir-x in 0.1s: 1 created", Done: true},
	}}
	dir, dataDir := deskAt(t, d)
	stdout, stderr, code := ten(t, dir, "apply", "--yes", "--data-dir", dataDir)
	if code != 0 || stderr != "" || !strings.HasSuffix(stdout, "web:prod: created and healthy in 84ms\napplied dir-x in 0.1s: 1 created\n") {
		t.Errorf("apply = %d %q\n%s", code, stderr, stdout)
	}
	file := filepath.Join(t.TempDir(), "saved plan")
	stdout, _, code = ten(t, dir, "plan", "--out", file, "--data-dir", dataDir)
	if code != 0 || !strings.Contains(stdout, "ten apply '"+file+"' --data-dir "+dataDir+"\n") {
		t.Errorf("plan --out = %d\n%s", code, stdout)
	}
	if _, stderr, code = ten(t, t.TempDir(), "apply", file, "--data-dir", dataDir); code != 0 {
		t.Errorf("apply of a saved plan = %d %q", code, stderr)
	}
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	saved, err := plan.Decode(f)
	if err != nil {
		t.Fatal(err)
	}
	want := api.ApplyRequest{Dir: dir, Expect: saved.Fingerprint}
	if len(d.applied) != 2 || d.applied[0] != want || d.applied[1] != want {
		t.Errorf("the daemon got %+v, want twice %+v", d.applied, want)
	}
}

func TestApplyThatFails(t *testing.T) {
	t.Parallel()
	d := &daemon{
		events:  []api.Event{{Instance: "web:prod", Text: "web:prod: failed", Error: "exited 3", Logs: []string{"line one", "line two"}}},
		failure: &api.Error{Code: api.CodeRefused, Message: "held at none", Hint: "ten retry"},
	}
	dir, dataDir := deskAt(t, d)
	stdout, stderr, code := ten(t, dir, "apply", "--yes", "--data-dir", dataDir)
	if code != 1 || !strings.HasSuffix(stdout, "web:prod: failed\n    exited 3\n    | line one\n    | line two\n") ||
		stderr != "ten: error: held at none\nten: hint: ten retry\n" {
		t.Errorf("apply = %d\n%s\n%s", code, stdout, stderr)
	}
}

func TestApplyThatIsLeftGoesOn(t *testing.T) {
	t.Parallel()
	d := &daemon{}
	dir, dataDir := deskAt(t, d)
	ctx, cancel := context.WithCancel(t.Context())
	// The person leaves as soon as the first line of progress shows.
	out := &trigger{at: "working", do: cancel}
	var errs strings.Builder
	e := &env{
		stdin: strings.NewReader(""), stdout: out, stderr: &errs, dir: dir,
		log: discard(), getenv: func(string) string { return "" },
	}
	release := make(chan struct{})
	d.events = []api.Event{{Text: "working"}}
	d.hold = release
	code := run(ctx, e, []string{"apply", "--yes", "--data-dir", dataDir})
	close(release)
	if code != exitInterrupted || !strings.Contains(errs.String(), "the daemon goes on: ten status") || strings.Contains(errs.String(), "error") {
		t.Errorf("apply = %d %q", code, errs.String())
	}
}

// trigger is a writer that calls do once a text was written.
type trigger struct {
	mu   sync.Mutex
	seen strings.Builder
	at   string
	do   func()
}

func (w *trigger) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen.Write(p)
	if strings.Contains(w.seen.String(), w.at) {
		w.do()
	}
	return len(p), nil
}

func TestSilenceIsToldToBeWork(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		p := newPulse(&out, "applying", 10*time.Second)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			p.run(ctx)
		}()
		time.Sleep(5 * time.Second)
		p.beat()
		time.Sleep(9 * time.Second)
		synctest.Wait()
		if out.Len() > 0 {
			t.Errorf("after 9 s of silence: %q", out.String())
		}
		time.Sleep(12 * time.Second)
		cancel()
		<-done
		if want := "still applying, 15s\nstill applying, 25s\n"; out.String() != want {
			t.Errorf("printed %q, want %q", out.String(), want)
		}
	})
}

func TestQuotedWordsReachTheCommandWhole(t *testing.T) {
	t.Parallel()
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("no sh: ", err)
	}
	for _, word := range []string{"plain-1.plan", "", "two words", "it's", `"$HOME" \ *`, "~/x", "a\nb", "é"} {
		got, err := exec.Command(sh, "-c", "printf %s "+quote(word)).Output()
		if err != nil || string(got) != word {
			t.Errorf("quote(%q) = %s: a shell reads %q, %v", word, quote(word), got, err)
		}
	}
	if q := quote("plain-1.plan"); q != "plain-1.plan" {
		t.Errorf("a plain word is quoted: %s", q)
	}
}

func TestPauseUntil(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	for text, want := range map[string]time.Time{
		"":                          {},
		"90m":                       now.Add(90 * time.Minute),
		"2026-03-05T00:00:00Z":      time.Date(2026, 3, 5, 0, 0, 0, 0, time.UTC),
		"2026-03-05T00:00:00+02:00": time.Date(2026, 3, 4, 22, 0, 0, 0, time.UTC),
	} {
		if got, err := parseUntil(text, now); err != nil || !got.Equal(want) {
			t.Errorf("parseUntil(%q) = %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"tomorrow", "-5m", "0s", "2026-03-04T05:06:07Z", "2025-01-01T00:00:00Z"} {
		if got, err := parseUntil(text, now); err == nil {
			t.Errorf("parseUntil(%q) = %v, want an error", text, got)
		}
	}
}

func TestErrorsBecomeMessageHintAndStatus(t *testing.T) {
	t.Parallel()
	cmd := newRootCommand(&env{stdin: strings.NewReader(""), stdout: &strings.Builder{}, stderr: &strings.Builder{}})
	for _, tt := range []struct {
		err           error
		message, hint string
		code          int
	}{
		{nil, "", "", 0},
		{errOutputClosed, "", "", 0},
		{exitError(2), "", "", 2},
		{errors.New("disk"), "disk", "", 1},
		{&usageError{errors.New("what")}, "what", "see: ten --help", 2},
		{&hintError{errors.New("no"), "do this"}, "no", "do this", 1},
		{&api.RunningError{DataDir: "/d", Pid: 7}, "a daemon is already running on /d (pid 7)", "use it: ten status, or give this one its own: --data-dir DIR", 1},
		{&api.NotRunningError{Where: "w"}, "no daemon answers at w", "start it: ten serve, or say where it is: --data-dir DIR", 1},
	} {
		message, hint, code := explain(cmd, tt.err)
		if message != tt.message || hint != tt.hint || code != tt.code {
			t.Errorf("%v: %q, %q, %d; want %q, %q, %d", tt.err, message, hint, code, tt.message, tt.hint, tt.code)
		}
	}
}
