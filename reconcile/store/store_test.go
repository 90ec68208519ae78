package store

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

func openTemp(t *testing.T) (*Store, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tenement.db")
	return openAt(t, path), path
}

func openAt(t *testing.T, path string) *Store {
	t.Helper()
	s, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestFileIsPrivateAndWholeFromTheStart(t *testing.T) {
	t.Parallel()
	s, path := openTemp(t)
	must(t, s.SetAnchor(t.Context(), "a"))
	entries, err := os.ReadDir(filepath.Dir(path))
	must(t, err)
	for _, e := range entries {
		info, err := e.Info()
		must(t, err)
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %o", e.Name(), info.Mode().Perm())
		}
		if !strings.HasPrefix(e.Name(), "tenement.db") {
			t.Errorf("%s was left behind", e.Name())
		}
	}
	must(t, s.Close())
	must(t, os.Chmod(path, 0o644))
	openAt(t, path)
	info, err := os.Stat(path)
	must(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("a readable file stayed at mode %o", info.Mode().Perm())
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name   string
		damage func(t *testing.T, path string)
		want   error
		text   string
	}{
		{"empty file", func(t *testing.T, path string) { must(t, os.WriteFile(path, nil, 0o600)) }, ErrDamaged, "move it away"},
		{"garbage", func(t *testing.T, path string) {
			must(t, os.WriteFile(path, bytes.Repeat([]byte("no database "), 1000), 0o600))
		}, ErrDamaged, "it is not a database"},
		{"cut short", func(t *testing.T, path string) { must(t, os.Truncate(path, 5000)) }, ErrDamaged, "move it away"},
		{"page overwritten", func(t *testing.T, path string) {
			f, err := os.OpenFile(path, os.O_WRONLY, 0)
			must(t, err)
			_, err = f.WriteAt(bytes.Repeat([]byte{0xa5}, 3*4096), 4096)
			must(t, errors.Join(err, f.Close()))
		}, ErrDamaged, "no instance is touched"},
		{"newer layout", func(t *testing.T, path string) {
			db, err := connect(path)
			must(t, err)
			_, err = db.ExecContext(t.Context(), "PRAGMA user_version=99")
			must(t, errors.Join(err, db.Close()))
		}, ErrNewer, "layout 99"},
		{"somebody else's database", func(t *testing.T, path string) {
			db, err := connect(path)
			must(t, err)
			_, err = db.ExecContext(t.Context(), "PRAGMA application_id=7")
			must(t, errors.Join(err, db.Close()))
		}, ErrDamaged, "but not a state file of ten"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s, path := openTemp(t)
			must(t, s.Close())
			c.damage(t, path)
			before, err := os.ReadFile(path)
			must(t, err)
			s, err = Open(t.Context(), path)
			if err == nil {
				s.Close()
				t.Fatal("opened")
			}
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) || !strings.Contains(err.Error(), path) {
				t.Errorf("error %q", err)
			}
			after, err := os.ReadFile(path)
			must(t, err)
			if !bytes.Equal(before, after) {
				t.Error("the file was changed")
			}
		})
	}
}

func TestLogOfAMovedFileIsNotReplayed(t *testing.T) {
	t.Parallel()
	s, path := openTemp(t)
	must(t, s.SetAnchor(t.Context(), "old"))
	wal, err := os.ReadFile(path + "-wal")
	must(t, err)
	if len(wal) == 0 {
		t.Fatal("the test needs a write-ahead log")
	}
	must(t, s.Close())
	must(t, os.Rename(path, path+".away"))
	must(t, os.WriteFile(path+"-wal", wal, 0o600))
	fresh := openAt(t, path)
	if rev, err := fresh.Anchor(t.Context()); err != nil || rev != "" {
		t.Errorf("anchor of a new file = %q, %v", rev, err)
	}
}

func TestRevisions(t *testing.T) {
	t.Parallel()
	s, path := openTemp(t)
	ctx := t.Context()
	if _, ok, err := s.Applied(ctx); ok || err != nil {
		t.Fatalf("a new store has a good revision (%v)", err)
	}
	at := time.Unix(1700000000, 5)
	good := Revision{Hash: "aaa", Subject: "one", Author: "ann", Signer: "key", Source: "/repo", At: at}
	id, err := s.Attempt(ctx, good)
	must(t, err)
	if a, ok, err := s.Attempted(ctx); err != nil || !ok || a.Outcome != "" || a.Revision != good {
		t.Fatalf("attempt under way = %+v, %v, %v", a, ok, err)
	}
	must(t, s.Finish(ctx, id, Applied, "", 3*time.Second))
	bad, err := s.Attempt(ctx, Revision{Hash: "bbb"})
	must(t, err)
	must(t, s.Finish(ctx, bad, Reverted, "web:prod unhealthy", time.Second))
	must(t, s.Close())

	s = openAt(t, path)
	if r, ok, err := s.Applied(ctx); err != nil || !ok || r != good {
		t.Errorf("last good = %+v, %v, %v", r, ok, err)
	}
	all, err := s.Revisions(ctx, 10)
	must(t, err)
	if len(all) != 2 || all[0].Hash != "bbb" || all[0].Outcome != Reverted || all[0].Message != "web:prod unhealthy" ||
		all[1].Took != 3*time.Second || all[0].At.IsZero() {
		t.Errorf("revisions = %+v", all)
	}
	if err := s.Finish(ctx, 77, Applied, "", 0); err == nil {
		t.Error("an attempt that never was can be finished")
	}
}

func TestHistoryIsBoundedButKeepsTheLastGood(t *testing.T) {
	t.Parallel()
	s, _ := openTemp(t)
	ctx := t.Context()
	id, err := s.Attempt(ctx, Revision{Hash: "good"})
	must(t, err)
	must(t, s.Finish(ctx, id, Applied, "", 0))
	if _, err := s.db.ExecContext(ctx, `INSERT INTO revision (hash, subject, author, signer, source, at, outcome)
		SELECT 'bad', '', '', '', '', 1, 'failed' FROM (WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < 3000) SELECT i FROM n)`); err != nil {
		t.Fatal(err)
	}
	_, err = s.Attempt(ctx, Revision{Hash: "newest"})
	must(t, err)
	all, err := s.Revisions(ctx, 1<<20)
	must(t, err)
	if len(all) != keepRevisions+1 || all[0].Hash != "newest" || all[len(all)-1].Hash != "good" {
		t.Errorf("%d revisions, from %s to %s", len(all), all[0].Hash, all[len(all)-1].Hash)
	}
	if r, ok, err := s.Applied(ctx); err != nil || !ok || r.Hash != "good" {
		t.Errorf("last good = %+v, %v, %v", r, ok, err)
	}
}

func TestJournal(t *testing.T) {
	t.Parallel()
	s, path := openTemp(t)
	ctx := t.Context()
	in := Intent{Revision: "aaa", Service: "web", Instance: "prod", Generation: 1<<63 + 7, Op: "restart", Reason: "env.A changed", At: time.Unix(1, 2)}
	web, err := s.Begin(ctx, in)
	must(t, err)
	db, err := s.Begin(ctx, Intent{Service: "db", Instance: "main", Op: "create"})
	must(t, err)
	must(t, s.End(ctx, db, "exited 1", time.Second))
	if open, err := s.Interrupted(ctx); err != nil || len(open) != 0 {
		t.Errorf("this run's own operations count as interrupted: %+v, %v", open, err)
	}
	must(t, s.Close())

	s = openAt(t, path)
	open, err := s.Interrupted(ctx)
	must(t, err)
	if len(open) != 1 || open[0].ID != web || open[0].Intent != in || open[0].Ended {
		t.Fatalf("interrupted = %+v", open)
	}
	must(t, s.End(ctx, web, "interrupted", 0))
	if open, err := s.Interrupted(ctx); err != nil || len(open) != 0 {
		t.Errorf("still interrupted: %+v, %v", open, err)
	}
	all, err := s.Journal(ctx, "", 10)
	must(t, err)
	if len(all) != 2 || all[0].ID != db || all[0].Result != "exited 1" || !all[0].Ended || all[0].Took != time.Second {
		t.Errorf("journal = %+v", all)
	}
	some, err := s.Journal(ctx, "web", 10)
	must(t, err)
	if len(some) != 1 || some[0].ID != web {
		t.Errorf("journal of web = %+v", some)
	}
}

func TestJournalIsBounded(t *testing.T) {
	t.Parallel()
	s, _ := openTemp(t)
	ctx := t.Context()
	if _, err := s.db.ExecContext(ctx, `INSERT INTO journal (at, revision, service, instance, generation, op, reason)
		SELECT i, '', 'web', 'prod', i, 'restart', ''
		FROM (WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < 25000) SELECT i FROM n)`); err != nil {
		t.Fatal(err)
	}
	for range trimEvery {
		_, err := s.Begin(ctx, Intent{Service: "web", Op: "start"})
		must(t, err)
	}
	all, err := s.Journal(ctx, "", 1<<20)
	must(t, err)
	if len(all) < keepEntries || len(all) > keepEntries+trimEvery {
		t.Errorf("%d entries kept", len(all))
	}
}

func TestDecisions(t *testing.T) {
	t.Parallel()
	s, path := openTemp(t)
	ctx := t.Context()
	must(t, s.SetAnchor(ctx, "aaa"))
	must(t, s.AcceptRewind(ctx, "old", "uid 0"))
	must(t, s.Approve(ctx, "bbb", "uid 0"))
	must(t, s.Approve(ctx, "bbb", "uid 7"))
	hold := Hold{Revision: "bbb", Reason: "web:prod unhealthy", Logs: []string{"boom"}, At: time.Unix(9, 0).UTC()}
	must(t, s.Hold(ctx, hold))
	must(t, s.Close())

	s = openAt(t, path)
	if rev, err := s.Anchor(ctx); err != nil || rev != "aaa" {
		t.Errorf("anchor = %q, %v", rev, err)
	}
	must(t, s.SetAnchor(ctx, "other"))
	if rev, err := s.RewindAccepted(ctx); err != nil || rev != "old" {
		t.Errorf("accepted rewind = %q, %v", rev, err)
	}
	must(t, s.SetAnchor(ctx, "old"))
	if rev, err := s.RewindAccepted(ctx); err != nil || rev != "" {
		t.Errorf("the rewind was used and is still accepted: %q, %v", rev, err)
	}
	for rev, want := range map[string]bool{"bbb": true, "ccc": false} {
		if ok, err := s.Approved(ctx, rev); err != nil || ok != want {
			t.Errorf("approved %s = %v, %v", rev, ok, err)
		}
	}
	h, held, err := s.Held(ctx)
	if err != nil || !held || h.Revision != "bbb" || h.Logs[0] != "boom" || !h.At.Equal(hold.At) {
		t.Errorf("hold = %+v, %v, %v", h, held, err)
	}
	if was, err := s.ClearHoldOf(ctx, "another"); was || err != nil {
		t.Errorf("the hold of another revision: %v, %v", was, err)
	}
	must(t, s.ClearHold(ctx))
	if _, held, err := s.Held(ctx); err != nil || held {
		t.Errorf("held after ClearHold (%v)", err)
	}
	for i := range 3 * keepApprovals {
		must(t, s.Approve(ctx, strings.Repeat("x", i+1), "uid 0"))
	}
	var n int
	must(t, s.db.QueryRowContext(ctx, "SELECT count(*) FROM approval").Scan(&n))
	if n > keepApprovals {
		t.Errorf("%d approvals kept", n)
	}
}

func TestPauses(t *testing.T) {
	t.Parallel()
	s, path := openTemp(t)
	ctx := t.Context()
	now := time.Now()
	must(t, s.Pause(ctx, Pause{Service: "web", Reason: "first", By: "uid 7"}))
	must(t, s.Pause(ctx, Pause{Service: "web", Reason: "again", By: "uid 0"}))
	must(t, s.Pause(ctx, Pause{Service: "*", Reason: "holiday", Until: now.Add(time.Hour)}))
	must(t, s.Pause(ctx, Pause{Service: "db", Until: now.Add(-time.Second)}))
	must(t, s.Close())
	s = openAt(t, path)
	got, err := s.Pauses(ctx, now)
	must(t, err)
	if len(got) != 2 || got[0].Service != "*" || got[1].Reason != "again" || got[1].By != "uid 0" || got[1].Since.IsZero() || !got[1].Until.IsZero() {
		t.Errorf("pauses = %+v", got)
	}
	if got, err := s.Pauses(ctx, now.Add(2*time.Hour)); err != nil || len(got) != 1 {
		t.Errorf("pauses in two hours = %+v, %v", got, err)
	}
	for _, c := range []struct {
		service string
		want    bool
	}{{"web", true}, {"web", false}, {"db", false}, {"*", true}} {
		if ok, err := s.Resume(ctx, c.service); err != nil || ok != c.want {
			t.Errorf("resume %s = %v, %v", c.service, ok, err)
		}
	}
}

func TestValues(t *testing.T) {
	t.Parallel()
	s, _ := openTemp(t)
	ctx := t.Context()
	var v map[string]string
	if ok, err := s.Value(ctx, "fields", &v); ok || err != nil {
		t.Errorf("a value that was never set: %v, %v", ok, err)
	}
	must(t, s.SetValue(ctx, "fields", map[string]string{"a": "1"}))
	must(t, s.SetValue(ctx, "fields", map[string]string{"a": "2"}))
	if ok, err := s.Value(ctx, "fields", &v); !ok || err != nil || v["a"] != "2" {
		t.Errorf("value = %v, %v, %v", v, ok, err)
	}
	must(t, s.SetValue(ctx, "fields", nil))
	if ok, err := s.Value(ctx, "fields", &v); ok || err != nil {
		t.Errorf("a forgotten value: %v, %v", ok, err)
	}
	for _, key := range []string{"", "store/anchor"} {
		if err := s.SetValue(ctx, key, 1); err == nil {
			t.Errorf("key %q was taken", key)
		}
	}
	if err := s.SetValue(ctx, "big", strings.Repeat("x", maxValue)); err == nil {
		t.Error("a value of 4 MB was taken")
	}
}

func TestGenerationsOnlyGrow(t *testing.T) {
	t.Parallel()
	s, path := openTemp(t)
	ctx := t.Context()
	var mu sync.Mutex
	seen := map[uint64]bool{}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			var last uint64
			for range 50 {
				n, err := s.NextGeneration(ctx)
				if err != nil || n <= last {
					t.Errorf("generation %d after %d, %v", n, last, err)
				}
				last = n
				mu.Lock()
				if seen[n] {
					t.Errorf("generation %d twice", n)
				}
				seen[n] = true
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	must(t, s.Close())
	s = openAt(t, path)
	n, err := s.NextGeneration(ctx)
	must(t, err)
	for old := range seen {
		if n <= old {
			t.Fatalf("generation %d after a restart, %d before", n, old)
		}
	}
	must(t, s.SawGeneration(ctx, 5))
	if m, err := s.NextGeneration(ctx); err != nil || m != n+1 {
		t.Errorf("a low generation that was seen moved %d to %d (%v)", n, m, err)
	}
	must(t, s.SawGeneration(ctx, 1_000_000))
	if m, err := s.NextGeneration(ctx); err != nil || m != 1_000_001 {
		t.Errorf("generation %d after 1000000 was seen (%v)", m, err)
	}
	gone, cancel := context.WithCancel(ctx)
	cancel()
	s.gens.next = s.gens.limit
	if _, err := s.NextGeneration(gone); err == nil {
		t.Error("a block was reserved for a context that has ended")
	}
}

func TestMigrationKeepsWhatWasThere(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	path := filepath.Join(t.TempDir(), "old.db")
	must(t, os.WriteFile(path, nil, 0o600))
	db, err := connect(path)
	must(t, err)
	defer db.Close()
	first := []string{"CREATE TABLE a (x INTEGER)"}
	must(t, migrate(ctx, db, first))
	_, err = db.ExecContext(ctx, "INSERT INTO a VALUES (7)")
	must(t, err)

	broken := append(first, "ALTER TABLE a ADD COLUMN y INTEGER DEFAULT 3; INSERT INTO missing VALUES (1)")
	if err := migrate(ctx, db, broken); err == nil || !strings.Contains(err.Error(), "layout 1 to 2") {
		t.Fatalf("a broken change: %v", err)
	}
	var version, x, y int
	must(t, db.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version))
	if version != 1 {
		t.Fatalf("version %d after a broken change", version)
	}
	must(t, migrate(ctx, db, append(first, "ALTER TABLE a ADD COLUMN y INTEGER DEFAULT 3")))
	must(t, db.QueryRowContext(ctx, "SELECT x, y FROM a").Scan(&x, &y))
	must(t, db.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version))
	if x != 7 || y != 3 || version != 2 {
		t.Errorf("x %d, y %d, version %d", x, y, version)
	}
}
