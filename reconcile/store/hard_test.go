package store

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestFullDiskIsAnErrorAndPasses(t *testing.T) {
	t.Parallel()
	s, path := openTemp(t)
	ctx := t.Context()
	must(t, s.SetAnchor(ctx, "kept"))
	var pages int
	must(t, s.db.QueryRowContext(ctx, "PRAGMA page_count").Scan(&pages))
	_, err := s.db.ExecContext(ctx, fmt.Sprintf("PRAGMA max_page_count=%d", pages))
	must(t, err)
	big := strings.Repeat("x", 1<<20)
	if err := s.SetValue(ctx, "big", big); err == nil || !strings.Contains(err.Error(), "full") {
		t.Fatalf("a full disk: %v", err)
	}
	if rev, err := s.Anchor(ctx); err != nil || rev != "kept" {
		t.Errorf("anchor = %q, %v", rev, err)
	}
	_, err = s.db.ExecContext(ctx, "PRAGMA max_page_count=1000000")
	must(t, err)
	must(t, s.SetValue(ctx, "big", big))
	must(t, s.Close())
	openAt(t, path)
}

func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	s, _ := openTemp(t)
	ctx := t.Context()
	const workers, each = 8, 30
	var all sync.WaitGroup
	for w := range workers {
		all.Go(func() {
			service := fmt.Sprint("s", w)
			for i := range each {
				id, err := s.Begin(ctx, Intent{Service: service, Op: "start"})
				if err != nil {
					t.Error(err)
					return
				}
				if err := s.End(ctx, id, "ok", time.Duration(i)); err != nil {
					t.Error(err)
				}
				if past, err := s.Journal(ctx, service, 1); err != nil || len(past) != 1 || past[0].ID != id {
					t.Errorf("journal of %s = %+v, %v", service, past, err)
				}
				if err := s.Pause(ctx, Pause{Service: service}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	entries, err := s.Journal(ctx, "", 10*workers*each)
	if err != nil || len(entries) != workers*each {
		t.Errorf("%d entries, want %d (%v)", len(entries), workers*each, err)
	}
}

func TestGivingUpHarmsNobodyElse(t *testing.T) {
	t.Parallel()
	s, _ := openTemp(t)
	var given int
	for i := range 200 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*5*time.Microsecond)
		if err := s.SetAnchor(ctx, fmt.Sprint(i)); err != nil {
			given++
		} else if rev, err := s.Anchor(t.Context()); err != nil || rev != fmt.Sprint(i) {
			t.Errorf("anchor = %q, %v, want %d", rev, err, i)
		}
		cancel()
		must(t, s.SetValue(t.Context(), "after", i))
	}
	if given == 0 {
		t.Error("nothing was given up: the test shows nothing")
	}
	var n int
	if ok, err := s.Value(t.Context(), "after", &n); !ok || err != nil || n != 199 {
		t.Errorf("value = %d, %v, %v", n, ok, err)
	}
}
