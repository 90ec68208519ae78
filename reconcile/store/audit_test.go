package store

import (
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func openAudit(t *testing.T) *Store {
	t.Helper()
	s, err := Open(t.Context(), filepath.Join(t.TempDir(), "ten.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestTheAuditLogIsAppendOnly(t *testing.T) {
	t.Parallel()
	s := openAudit(t)
	ctx := t.Context()
	id, err := s.BeginAct(ctx, Act{Who: "ana", Source: "socket", Action: "stop", Target: "web:prod"})
	if err != nil {
		t.Fatal(err)
	}
	if acts, _, err := s.Acts(ctx, 10); err != nil || len(acts) != 1 || acts[0].Result != "" || acts[0].At.IsZero() {
		t.Fatalf("under way: %+v, %v", acts, err)
	}
	if err := s.EndAct(ctx, id, "ok", time.Second); err != nil {
		t.Fatal(err)
	}
	if err := s.EndAct(ctx, id, "it never was", 0); err == nil || !strings.Contains(err.Error(), "append-only") {
		t.Errorf("a second end: %v", err)
	}
	for _, change := range []string{"who = 'bob'", "action = 'spawn'", "target = ''", "at = 1", "source = 'x'", "detail = 'x'"} {
		if _, err := s.db.ExecContext(ctx, "UPDATE audit SET "+change); err == nil {
			t.Errorf("%s was written", change)
		}
	}
	acts, dropped, err := s.Acts(ctx, 10)
	if err != nil || len(acts) != 1 || acts[0].Who != "ana" || acts[0].Result != "ok" || acts[0].Took != time.Second || dropped.Count != 0 {
		t.Errorf("%+v, %+v, %v", acts, dropped, err)
	}
}

// TestTheAuditLogSaysWhatItDropped makes acts that are too old; the ones after
// them push them out.
func TestTheAuditLogSaysWhatItDropped(t *testing.T) {
	t.Parallel()
	s := openAudit(t)
	ctx := t.Context()
	old := time.Now().Add(-KeepActsFor - time.Hour)
	if _, err := s.db.ExecContext(ctx, `INSERT INTO audit (at, who, source, action, target, detail)
		WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) SELECT ?, 'ana', 's', 'stop', '', '' FROM n`,
		trimActs-2, toNanos(old)); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second one is the one that trims
		if _, err := s.BeginAct(ctx, Act{Who: "bob"}); err != nil {
			t.Fatal(err)
		}
	}
	acts, dropped, err := s.Acts(ctx, 1000)
	if err != nil || len(acts) != 2 || dropped.Count != trimActs-2 || dropped.Before.Before(old.Add(time.Minute)) {
		t.Errorf("%d acts, %+v, %v", len(acts), dropped, err)
	}
}

// TestRefusedActsPushOutNoOthers: the newest of either kind stay, and of those
// that were refused there may be as many as somebody likes to make.
func TestRefusedActsPushOutNoOthers(t *testing.T) {
	t.Parallel()
	s := openAudit(t)
	ctx := t.Context()
	fill := func(n int, who string, refused int) {
		t.Helper()
		if _, err := s.db.ExecContext(ctx, `INSERT INTO audit (at, who, source, action, target, detail, refused)
			WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) SELECT ?, ?, 's', 'stop', '', '', ? FROM n`,
			n, toNanos(time.Now()), who, refused); err != nil {
			t.Fatal(err)
		}
	}
	count := func(who string) (n int) {
		t.Helper()
		if err := s.db.QueryRowContext(ctx, "SELECT count(*) FROM audit WHERE who = ?", who).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if _, err := s.BeginAct(ctx, Act{Who: "first"}); err != nil {
		t.Fatal(err)
	}
	fill(3*KeepRefused, "flood", 1)
	for range trimActs { // one of them trims
		if err := s.Refused(ctx, Act{At: time.Now(), Who: "flood", Result: "no token"}); err != nil {
			t.Fatal(err)
		}
	}
	if first, flood := count("first"), count("flood"); first != 1 || flood > KeepRefused+trimActs {
		t.Errorf("%d that was done and %d refused are left", first, flood)
	}
	fill(KeepActs, "ana", 0)
	for range trimActs {
		if _, err := s.BeginAct(ctx, Act{Who: "bob"}); err != nil {
			t.Fatal(err)
		}
	}
	acts, dropped, err := s.Acts(ctx, trimActs+1)
	if err != nil || len(acts) != trimActs+1 || acts[0].Who != "bob" || acts[trimActs].Who != "ana" || count("first") != 0 || dropped.Count == 0 || dropped.Count > trimActs+1 {
		t.Errorf("%d acts, %d of the first, %+v, %v", len(acts), count("first"), dropped, err)
	}
	if count("flood") == 0 {
		t.Error("those that were done pushed out what was refused")
	}
	if _, err := s.db.ExecContext(ctx, "UPDATE audit SET refused = 0 WHERE who = 'flood'"); err == nil {
		t.Error("what was refused could be changed to have been done")
	}
}

func TestTokensAreKept(t *testing.T) {
	t.Parallel()
	s := openAudit(t)
	ctx := t.Context()
	at := time.Now()
	list := []Token{
		{ID: "a", Tenant: "acme", Description: "ci", Prefix: "12345678", Hash: "h", Created: at, Expires: at.Add(time.Hour)},
		{ID: "b", Created: at.Add(1)}, {ID: "c", Created: at.Add(2)}, {ID: "d", Tenant: "acme", Created: at.Add(3)},
	}
	for _, k := range list {
		if err := s.PutToken(ctx, k); err != nil {
			t.Fatal(err)
		}
	}
	got, err := s.Tokens(ctx)
	if err != nil || len(got) != 3 || got[0].Description != "ci" || !got[0].Expires.Equal(at.Add(time.Hour)) || got[1].ID != "c" || !got[1].Expires.IsZero() {
		t.Errorf("%+v, %v", got, err)
	}
	if ok, err := s.RevokeToken(ctx, "a"); !ok || err != nil {
		t.Error(ok, err)
	}
	if ok, err := s.RevokeToken(ctx, "a"); ok || err != nil {
		t.Error(ok, err)
	}
}
