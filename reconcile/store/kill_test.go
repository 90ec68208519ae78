package store

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// killedEnv names the state file for the child of TestKillLosesNothingAcknowledged.
const killedEnv = "STORE_TEST_KILLED"

func TestMain(m *testing.M) {
	if path := os.Getenv(killedEnv); path != "" {
		if err := writeUntilKilled(context.Background(), path); err != nil {
			fmt.Println("error", err)
		}
		return
	}
	os.Exit(m.Run())
}

// writeUntilKilled acknowledges on standard output what the store has taken.
func writeUntilKilled(ctx context.Context, path string) error {
	s, err := Open(ctx, path)
	if err != nil {
		return err
	}
	for i := 0; ; i++ {
		generation, err := s.NextGeneration(ctx)
		if err != nil {
			return err
		}
		id, err := s.Begin(ctx, Intent{Service: "web", Op: "start", Generation: generation})
		if err != nil {
			return err
		}
		fmt.Println("begun", id, generation)
		if err := s.End(ctx, id, "ok", 0); err != nil {
			return err
		}
		if err := s.SetValue(ctx, "count", i); err != nil {
			return err
		}
		fmt.Println("ended", id, i)
		if i%20 != 0 {
			continue
		}
		attempt, err := s.Attempt(ctx, Revision{Hash: fmt.Sprint(i)})
		if err != nil {
			return err
		}
		if err := s.Finish(ctx, attempt, Applied, "", 0); err != nil {
			return err
		}
		fmt.Println("applied", i, 0)
	}
}

func TestKillLosesNothingAcknowledged(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	must(t, err)
	path := filepath.Join(t.TempDir(), "tenement.db")
	rounds := 20
	if testing.Short() {
		rounds = 4
	}
	var generation uint64
	for round := range rounds {
		acks := runAndKill(t, self, path, time.Duration(20+round*7)*time.Millisecond)
		s := openAt(t, path)
		generation = acks.check(t, s, generation)
		must(t, s.Close())
	}
}

// acks is what a child said it had written.
type acks struct {
	begun, ended, count, applied int64
	generation                   uint64
}

func runAndKill(t *testing.T, self, path string, after time.Duration) (a acks) {
	t.Helper()
	child := exec.Command(self)
	child.Env = append(os.Environ(), killedEnv+"="+path)
	out, err := child.StdoutPipe()
	must(t, err)
	must(t, child.Start())
	a.applied = -1
	lines := bufio.NewScanner(out)
	var killer *time.Timer
	for lines.Scan() {
		if killer == nil && strings.HasPrefix(lines.Text(), "ended") { // not before the child is in the midst of it
			killer = time.AfterFunc(after, func() { child.Process.Kill() })
		}
		var word string
		var x, y int64
		if n, _ := fmt.Sscan(lines.Text(), &word, &x, &y); n != 3 {
			if strings.HasPrefix(lines.Text(), "error") {
				t.Error(lines.Text())
			}
			continue // the line that the kill cut
		}
		switch word {
		case "begun":
			a.begun, a.generation = x, uint64(y)
		case "ended":
			a.ended, a.count = x, y
		case "applied":
			a.applied = x
		}
	}
	child.Wait()
	if a.ended == 0 {
		t.Fatal("the child wrote nothing")
	}
	return a
}

// check compares a reopened store with the acknowledgements and returns the
// highest generation that was handed out.
func (a acks) check(t *testing.T, s *Store, before uint64) uint64 {
	t.Helper()
	ctx := t.Context()
	newest, err := s.Journal(ctx, "", 3)
	must(t, err)
	if newest[0].ID < a.begun {
		t.Errorf("journal ends at %d, %d was acknowledged", newest[0].ID, a.begun)
	}
	open, err := s.Interrupted(ctx)
	must(t, err)
	for _, e := range open {
		if e.ID <= a.ended {
			t.Errorf("operation %d was acknowledged as ended and is open", e.ID)
		}
		must(t, s.End(ctx, e.ID, "interrupted", 0))
	}
	if len(open) > 1 {
		t.Errorf("%d operations were interrupted, at most one was under way", len(open))
	}
	var count int64
	if _, err := s.Value(ctx, "count", &count); err != nil || count < a.count {
		t.Errorf("value %d, %d was acknowledged (%v)", count, a.count, err)
	}
	last, ok, err := s.Applied(ctx)
	if a.applied >= 0 && (err != nil || !ok || last.Hash < fmt.Sprint(a.applied) && len(last.Hash) <= len(fmt.Sprint(a.applied))) {
		t.Errorf("last good %q, %d was acknowledged (%v)", last.Hash, a.applied, err)
	}
	next, err := s.NextGeneration(ctx)
	if err != nil || next <= a.generation || a.generation <= before {
		t.Errorf("generations %d, then up to %d, then %d (%v)", before, a.generation, next, err)
	}
	return next
}
