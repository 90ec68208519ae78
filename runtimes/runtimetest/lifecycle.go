package runtimetest

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/tenement/ten/runtimes"
)

// Run holds a Runtime to the contract that callers rely on, whatever runs
// behind it.
func Run(t *testing.T, level runtimes.Level, open Open) {
	cases := []struct {
		name string
		test func(*bench)
	}{
		{"start_shows_it_running", startShowsItRunning},
		{"start_twice_is_one_instance", startTwice},
		{"start_over_an_ended_one", startOverEnded},
		{"stop_removes_it", stopRemoves},
		{"stop_of_nothing_is_fine", stopNothing},
		{"stop_kills_after_the_grace", stopKillsStubborn},
		{"stop_kills_when_the_context_ends", stopContextEnds},
		{"exit_codes_are_kept", exitCodes},
		{"wait_overlaps_stop", waitOverlapsStop},
		{"wait_ends_with_its_context", waitContext},
		{"wait_for_nothing_is_not_found", waitNothing},
		{"generations_run_side_by_side", sideBySide},
		{"list_is_sorted", listSorted},
		{"restarted_daemon_adopts", adopts},
		{"failed_start_leaves_nothing", failedStart},
		{"update_changes_the_record", updateRecord},
		{"suspend_and_resume", suspendsAndResumes},
		{"suspend_of_nothing_is_not_found", suspendNothing},
		{"suspended_stays_so_over_a_restart", suspendedStaysSo},
		{"suspended_is_waited_for_and_stopped", suspendedIsWaitedFor},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.test(newBench(t, open, level))
		})
	}
}

func startShowsItRunning(b *bench) {
	spec := b.spec(Forever...)
	in := b.start(spec)
	if in.Phase != runtimes.Running || in.Pid <= 0 || in.StartedAt.IsZero() || in.Exit != nil {
		b.Errorf("Start returned %+v, want it running with a pid and a start time", in)
	}
	got := b.only()
	if !reflect.DeepEqual(got.Spec, spec) {
		b.Errorf("List gives back another spec:\n%+v\nwant\n%+v", got.Spec, spec)
	}
	if got.Phase != runtimes.Running || got.Pid != in.Pid {
		b.Errorf("List shows phase %s pid %d, want running %d", got.Phase, got.Pid, in.Pid)
	}
}

func startTwice(b *bench) {
	first := b.start(b.spec(Forever...))
	second := b.start(b.spec(Forever...))
	if first.Pid != second.Pid {
		b.Errorf("the second start made pid %d beside %d", second.Pid, first.Pid)
	}
	b.only()
}

func startOverEnded(b *bench) {
	spec := b.spec(ExitWith(4)...)
	b.start(spec)
	b.wait(spec.Key)
	spec.Command = Forever
	b.start(spec)
	if in := b.only(); in.Phase != runtimes.Running || in.Exit != nil {
		b.Errorf("after a new start: %+v, want it running", in)
	}
}

func stopRemoves(b *bench) {
	spec := b.spec(Forever...)
	b.start(spec)
	began := time.Now()
	b.stop(spec.Key)
	if took := time.Since(began); took > spec.StopTimeout {
		b.Errorf("a program that ends on SIGTERM took %v to stop", took)
	}
	if list := b.list(); len(list) != 0 {
		b.Errorf("List after Stop shows %+v", list)
	}
	b.stop(spec.Key)
}

func stopNothing(b *bench) { b.stop(b.spec("x").Key) }

func stopKillsStubborn(b *bench) {
	spec := b.spec(Stubborn...)
	spec.StopTimeout = 300 * time.Millisecond
	b.start(spec)
	time.Sleep(50 * time.Millisecond) // let it set its trap
	began := time.Now()
	b.stop(spec.Key)
	if took := time.Since(began); took < spec.StopTimeout {
		b.Errorf("stopped after %v, before its grace of %v was over", took, spec.StopTimeout)
	}
	if list := b.list(); len(list) != 0 {
		b.Errorf("List after Stop shows %+v", list)
	}
}

func stopContextEnds(b *bench) {
	spec := b.spec(Stubborn...)
	spec.StopTimeout = time.Hour
	b.start(spec)
	time.Sleep(50 * time.Millisecond)
	ctx, cancel := context.WithTimeout(b.ctx(), 100*time.Millisecond)
	defer cancel()
	if err := b.r.Stop(ctx, spec.Key); err != nil {
		b.Errorf("stop: %v", err)
	}
	if list := b.list(); len(list) != 0 {
		b.Errorf("List after Stop shows %+v", list)
	}
}

func exitCodes(b *bench) {
	for i, code := range []int{0, 1, 3, 255} {
		spec := b.spec(ExitWith(code)...)
		spec.Key.Generation = uint64(i + 1)
		b.start(spec)
		exit := b.wait(spec.Key)
		if !exit.Known || exit.Code != code || exit.Signal != 0 || exit.OOM || time.Since(exit.At) > time.Minute {
			b.Errorf("exit %d became %+v", code, exit)
		}
		again := b.wait(spec.Key)
		if again != exit {
			b.Errorf("a second Wait says %+v, the first said %+v", again, exit)
		}
		want := runtimes.Failed
		if code == 0 {
			want = runtimes.Stopped
		}
		in := b.only()
		if in.Phase != want || in.Exit == nil || *in.Exit != exit {
			b.Errorf("List shows %s %+v, want %s %+v", in.Phase, in.Exit, want, exit)
		}
		b.stop(spec.Key)
	}
}

func waitOverlapsStop(b *bench) {
	spec := b.spec(Forever...)
	b.start(spec)
	type result struct {
		exit runtimes.Exit
		err  error
	}
	ended := make(chan result, 3)
	for range cap(ended) {
		go func() {
			exit, err := b.r.Wait(b.Context(), spec.Key)
			ended <- result{exit, err}
		}()
	}
	time.Sleep(100 * time.Millisecond) // Wait must find it before Stop removes it
	b.stop(spec.Key)
	for range cap(ended) {
		select {
		case got := <-ended:
			if got.err != nil || !got.exit.Known || got.exit.Signal != 15 || got.exit.Code != 128+15 {
				b.Errorf("Wait says %+v, %v; want signal 15", got.exit, got.err)
			}
		case <-time.After(patience):
			b.Fatal("Wait did not return")
		}
	}
}

func waitContext(b *bench) {
	spec := b.spec(Forever...)
	b.start(spec)
	ctx, cancel := context.WithTimeout(b.ctx(), 30*time.Millisecond)
	defer cancel()
	if _, err := b.r.Wait(ctx, spec.Key); !errors.Is(err, context.DeadlineExceeded) {
		b.Errorf("Wait returned %v, want the context's error", err)
	}
	if in := b.only(); in.Phase != runtimes.Running {
		b.Errorf("a Wait that gave up changed the phase to %s", in.Phase)
	}
}

func waitNothing(b *bench) {
	if _, err := b.r.Wait(b.ctx(), b.spec("x").Key); !errors.Is(err, runtimes.ErrNotFound) {
		b.Errorf("Wait returned %v, want ErrNotFound", err)
	}
}

func sideBySide(b *bench) {
	old, new := b.spec(Forever...), b.spec(Forever...)
	new.Key.Generation = 2
	first := b.start(old)
	second := b.start(new)
	if first.Pid == second.Pid {
		b.Fatalf("two generations share pid %d", first.Pid)
	}
	b.stop(old.Key)
	if in := b.only(); in.Spec.Key != new.Key || in.Pid != second.Pid || in.Phase != runtimes.Running {
		b.Errorf("after the old one was stopped: %+v", in)
	}
}

func listSorted(b *bench) {
	want := []string{"api:b#1", "web:a#2", "web:a#10", "web:b#1"}
	for _, i := range []int{2, 0, 3, 1} {
		spec := b.spec(Forever...)
		id, gen, _ := cutLast(want[i], '#')
		spec.Key.ID, _ = runtimes.ParseID(id)
		spec.Key.Generation = gen
		b.start(spec)
	}
	var got []string
	for _, in := range b.list() {
		got = append(got, in.Spec.Key.String())
	}
	if !slices.Equal(got, want) {
		b.Errorf("List order is %v, want %v", got, want)
	}
}

func cutLast(s string, sep byte) (string, uint64, bool) {
	for i := len(s) - 1; i >= 0; i-- {
		if s[i] == sep {
			var n uint64
			for _, c := range s[i+1:] {
				n = n*10 + uint64(c-'0')
			}
			return s[:i], n, true
		}
	}
	return s, 0, false
}

func adopts(b *bench) {
	spec := b.spec(Forever...)
	in := b.start(spec)
	b.reopen()
	if got := b.only(); got.Pid != in.Pid || got.Phase != runtimes.Running || !reflect.DeepEqual(got.Spec, spec) {
		b.Fatalf("the second daemon sees %+v, want what the first started: %+v", got, in)
	}
	done := make(chan runtimes.Exit, 1)
	go func() {
		exit, _ := b.r.Wait(b.Context(), spec.Key)
		done <- exit
	}()
	time.Sleep(100 * time.Millisecond) // Wait must find it before Stop removes it
	b.stop(spec.Key)
	select {
	case exit := <-done:
		if !exit.Known || exit.Signal != 15 {
			b.Errorf("the second daemon's Wait says %+v", exit)
		}
	case <-time.After(patience):
		b.Error("the second daemon's Wait did not return")
	}
	if list := b.list(); len(list) != 0 {
		b.Errorf("List after Stop shows %+v", list)
	}
}

func failedStart(b *bench) {
	spec := b.spec("/nonexistent/program")
	_, err := b.r.Start(b.ctx(), spec)
	var s *runtimes.StartError
	if !errors.As(err, &s) || s.Key != spec.Key || s.Step == "" || s.Object == "" || s.Err == nil {
		b.Fatalf("Start returned %#v, want a StartError that says step and object", err)
	}
	if list := b.list(); len(list) != 0 {
		b.Errorf("List after a failed start shows %+v", list)
	}
	if _, err := b.r.Wait(b.ctx(), spec.Key); !errors.Is(err, runtimes.ErrNotFound) {
		b.Errorf("Wait after a failed start returned %v, want ErrNotFound", err)
	}
	spec.Command = Forever
	b.start(spec)
}

func updateRecord(b *bench) {
	u, ok := b.r.(runtimes.Updater)
	if !ok {
		b.Skip("this level changes nothing in place")
	}
	spec := b.spec(Forever...)
	if err := u.Update(b.ctx(), spec); !errors.Is(err, runtimes.ErrNotFound) {
		b.Errorf("Update of nothing returned %v, want ErrNotFound", err)
	}
	in := b.start(spec)
	spec.Revision, spec.Digest = "fedcba9876543210fedcba9876543210fedcba98", "v1:other"
	spec.Fields = map[string]string{"command": `"sleep"`, "stop_timeout": "7"}
	spec.StopSignal, spec.StopTimeout = "SIGINT", 7*time.Second
	if err := u.Update(b.ctx(), spec); err != nil {
		b.Fatalf("update: %v", err)
	}
	b.reopen()
	got := b.only()
	if !reflect.DeepEqual(got.Spec, spec) || got.Pid != in.Pid {
		b.Errorf("after Update List shows pid %d %+v, want pid %d %+v", got.Pid, got.Spec, in.Pid, spec)
	}
}
