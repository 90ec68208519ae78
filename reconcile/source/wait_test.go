package source

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

func TestPause(t *testing.T) {
	t.Parallel()
	w := newWaiter(0)
	low, high := time.Hour, time.Duration(0)
	for range 1000 {
		d := w.pause()
		low, high = min(low, d), max(high, d)
	}
	if low < 24*time.Second || high > 36*time.Second || high-low < 5*time.Second {
		t.Errorf("from %s to %s", low, high)
	}
	failure := &FetchError{Class: ClassNetwork}
	for i := range 40 {
		w.done(failure)
		d, want := w.pause(), min(30*time.Second<<min(i+1, 10), maxBackoff)
		if d < want*8/10 || d > want*12/10 {
			t.Errorf("after %d failures %s", i+1, d)
		}
	}
	w.done(&RefusedError{})
	if d := w.pause(); d > 36*time.Second {
		t.Errorf("a refusal is an answer, yet the pause is %s", d)
	}
	w.done(failure)
	w.done(context.Canceled)
	if d := w.pause(); d < 48*time.Second {
		t.Errorf("a cancelled look ended the backoff: %s", d)
	}
}

func TestWaitPollsAndTakesHints(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g, err := NewGit(GitConfig{URL: "git://host/x", MirrorDir: "/none", Poll: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		if err := g.Wait(t.Context()); err != nil || time.Since(start) < 48*time.Second || time.Since(start) > 72*time.Second {
			t.Errorf("waited %s, %v", time.Since(start), err)
		}
		start = time.Now()
		g.Hint()
		g.Hint()
		if err := g.Wait(t.Context()); err != nil || time.Since(start) != 0 {
			t.Errorf("a hint took %s, %v", time.Since(start), err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := g.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("two hints were not one, or the context wasn't heeded: %s, %v", time.Since(start), err)
		}
	})
}

// noticed waits for a change, failing when only the poll would bring it.
func noticed(t *testing.T, what string, wait func(context.Context) error) time.Duration {
	t.Helper()
	start := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := wait(ctx); err != nil {
		t.Fatalf("%s went unnoticed: %v", what, err)
	}
	return time.Since(start)
}

func quiet(t *testing.T, what string, wait func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 150*time.Millisecond)
	defer cancel()
	if err := wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%s: %v", what, err)
	}
}

func TestLocalPushIsNoticed(t *testing.T) {
	t.Parallel()
	s := newServed(t)
	s.write("f", "0")
	s.push("zero")
	g := follow(t, GitConfig{URL: s.bare, Host: "alpha", Poll: time.Hour})
	latest(t, g, "")
	quiet(t, "nothing", g.Wait)

	s.write("f", "1")
	s.push("one")
	t.Logf("a push was noticed %s after git returned", noticed(t, "a push", g.Wait))
	latest(t, g, "")
	s.git("push", "-q", "origin", "HEAD:host/alpha") // in a directory that was not there
	noticed(t, "a push to a new branch", g.Wait)
	runGit(t, s.bare, "pack-refs", "--all")
	noticed(t, "packed refs", g.Wait)
	s.write("f", "2")
	two := s.push("two")
	noticed(t, "a push after packing", g.Wait)
	if got := latest(t, g, ""); got.Anchor != two {
		t.Error(got)
	}
	// The repository is replaced by another at the same place.
	os.Rename(s.bare, s.bare+".old")
	runGit(t, filepath.Dir(s.bare), "clone", "-q", "--bare", s.bare+".old", s.bare)
	latest(t, g, "")
	for g.Wait(func() context.Context {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		t.Cleanup(cancel)
		return ctx
	}()) == nil {
	}
	s.write("f", "3")
	s.push("three")
	noticed(t, "a push to the new repository", g.Wait)
}

func TestCommitInAWorkTreeIsNoticed(t *testing.T) {
	t.Parallel()
	r := newRepo(t)
	r.write("f", "0")
	r.commit("zero")
	g := follow(t, GitConfig{URL: r.dir, Poll: time.Hour})
	latest(t, g, "")
	r.write("f", "1")
	one := r.commit("one")
	noticed(t, "a commit", g.Wait)
	if got := latest(t, g, ""); got.Revision != one {
		t.Error(got)
	}
	linked := filepath.Join(t.TempDir(), "linked")
	r.git("worktree", "add", "-q", linked, "-b", "side")
	if got := latest(t, follow(t, GitConfig{URL: linked, Branch: "side"}), ""); got.Revision != one {
		t.Error(got)
	}
}

func TestBorrowedObjects(t *testing.T) {
	t.Parallel()
	s := newServed(t)
	_, second, want := sample(s)
	shared := filepath.Join(t.TempDir(), "shared.git")
	runGit(t, s.dir, "clone", "-q", "--bare", "--shared", s.bare, shared)
	a := latest(t, follow(t, GitConfig{URL: shared}), "")
	if a.Revision != second {
		t.Fatal(a)
	}
	same(t, a.Tree, want)
}

// TestMaintainedRepository follows one that git repacks meanwhile, into packs of
// names that go-git's own store doesn't see.
func TestMaintainedRepository(t *testing.T) {
	t.Parallel()
	s := newServed(t)
	_, second, want := sample(s)
	g := follow(t, GitConfig{URL: s.bare})
	latest(t, g, "")
	s.write("more", "1")
	want["more"] = "1"
	third := s.push("three")
	runGit(t, s.bare, "maintenance", "run", "--task=loose-objects")
	runGit(t, s.bare, "maintenance", "run", "--task=loose-objects") // deletes what the first one packed
	got := latest(t, g, second)
	if got.Revision != third {
		t.Fatal(got)
	}
	same(t, got.Tree, want)
	same(t, latest(t, follow(t, GitConfig{URL: s.bare}), "").Tree, want)
	runGit(t, s.bare, "gc", "-q", "--prune=now")
	same(t, latest(t, follow(t, GitConfig{URL: s.bare}), "").Tree, want)
}

func TestShallowRemote(t *testing.T) {
	t.Parallel()
	s := newServed(t)
	_, second, want := sample(s)
	for i, url := range []string{"local", "daemon"} {
		base := t.TempDir()
		shallow := filepath.Join(base, "s.git")
		runGit(t, s.dir, "clone", "-q", "--bare", "--depth=1", "file://"+s.bare, shallow)
		if url = shallow; i == 1 {
			url = gitDaemon(t, base) + "/s.git"
		}
		g := follow(t, GitConfig{URL: url})
		a := latest(t, g, "")
		if a.Revision != second {
			t.Fatal(a)
		}
		same(t, a.Tree, want)
		s.write("more", "1")
		third := s.commit("three")
		s.git("push", "-q", shallow, "HEAD:main")
		if b := latest(t, g, second); b.Revision != third || b.Ahead != 1 {
			t.Errorf("%+v", b)
		}
		s.git("reset", "-q", "--hard", second)
	}
}

// TestNoGitBinary follows a local repository where no program can be found.
func TestNoGitBinary(t *testing.T) {
	s := newServed(t)
	first, second, want := sample(s)
	t.Setenv("PATH", "")
	g := follow(t, GitConfig{URL: "file://" + s.bare})
	a := latest(t, g, first)
	if a.Revision != second || a.Ahead != 1 {
		t.Errorf("%+v", a)
	}
	same(t, a.Tree, want)
}
