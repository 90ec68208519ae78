package store

import (
	"path/filepath"
	"slices"
	"testing"
)

func TestRestsAreKept(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s, path := openTemp(t)
	must(t, s.SetRest(ctx, Rest{"web", "b", true}))
	must(t, s.SetRest(ctx, Rest{"web", "a", true}))
	must(t, s.SetRest(ctx, Rest{"api", "a", true}))
	must(t, s.SetRest(ctx, Rest{"web", "b", false}))
	must(t, s.Close())
	s = openAt(t, path)
	must(t, s.DropRests(ctx, []Rest{{Service: "api", Instance: "a"}, {Service: "never", Instance: "seen"}}))
	got, err := s.Rests(ctx)
	must(t, err)
	if want := []Rest{{"web", "a", true}, {"web", "b", false}}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// TestWantedOnesOfAnEarlierLayoutStayWanted: they were one value then.
func TestWantedOnesOfAnEarlierLayoutStayWanted(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	path := filepath.Join(t.TempDir(), "old.db")
	s := openAt(t, path)
	_, err := s.db.ExecContext(ctx, `DROP TABLE rest; DROP TABLE token; DROP TABLE audit; PRAGMA user_version=2;
		INSERT INTO value (key, json) VALUES ('awake', '[{"service":"web","id":"a"},{"service":"web","id":"b"}]')`)
	must(t, err)
	must(t, s.Close())
	got, err := openAt(t, path).Rests(ctx)
	must(t, err)
	if want := []Rest{{"web", "a", true}, {"web", "b", true}}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
