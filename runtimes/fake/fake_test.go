package fake_test

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tenement/ten/runtimes"
	"github.com/tenement/ten/runtimes/fake"
	"github.com/tenement/ten/runtimes/runtimetest"
)

// The suite's programs, told apart by their command lines.
func shell(spec runtimes.Spec) fake.Program {
	line := strings.Join(spec.Command, " ")
	var code int
	switch _, err := fmt.Sscanf(line, "/bin/sh -c exit %d", &code); {
	case err == nil:
		return fake.Program{Exit: &runtimes.Exit{Known: true, Code: code}}
	case slices.Equal(spec.Command, runtimetest.Stubborn):
		return fake.Program{Stubborn: true}
	case strings.HasPrefix(line, "/nonexistent/"):
		return fake.Program{StartErr: syscall.ENOENT}
	}
	return fake.Program{}
}

func TestContract(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	worlds := map[string]*fake.World{}
	runtimetest.Run(t, runtimes.Process, func(dir string) (runtimes.Runtime, func() error, error) {
		mu.Lock()
		defer mu.Unlock()
		if worlds[dir] == nil {
			worlds[dir] = fake.NewWorld(shell)
		}
		return worlds[dir].Runtime(runtimes.Process), func() error { return nil }, nil
	})
}

func spec(generation uint64) runtimes.Spec {
	id := runtimes.ID{Service: "web", Instance: "prod"}
	return runtimes.Spec{Key: runtimes.Key{ID: id, Generation: generation}, Command: []string{"web"}}
}

func TestFaultsAreScripted(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	w := fake.NewWorld(func(s runtimes.Spec) fake.Program {
		if s.Key.Generation == 1 {
			return fake.Program{StartErr: broken}
		}
		return fake.Program{Stdout: "hello\n"}
	})
	r := w.Runtime(runtimes.Namespace)
	if _, err := r.Start(t.Context(), spec(1)); !errors.Is(err, broken) {
		t.Errorf("Start returned %v, want what the script says", err)
	}
	if _, err := r.Start(t.Context(), spec(2)); err != nil {
		t.Fatal(err)
	}
	stdout, _, err := r.Output(spec(2).Key)
	if err != nil {
		t.Fatal(err)
	}
	w.Fail(fake.List, broken)
	if _, err := r.List(t.Context()); !errors.Is(err, broken) {
		t.Errorf("List returned %v, want the fault", err)
	}
	if list, err := r.List(t.Context()); err != nil || len(list) != 1 {
		t.Errorf("the second List returned %v, %v", list, err)
	}
	if !w.End(runtimes.Namespace, spec(2).Key, runtimes.Exit{Known: true, Code: 3}) {
		t.Error("End found nothing to end")
	}
	if exit, err := r.Wait(t.Context(), spec(2).Key); err != nil || exit.Code != 3 {
		t.Errorf("Wait says %+v, %v", exit, err)
	}
	if text, err := io.ReadAll(stdout); err != nil || string(text) != "hello\n" {
		t.Errorf("output is %q, %v", text, err)
	}
	want := []string{"start web:prod#1", "start web:prod#2"}
	if calls := w.Calls(); !slices.Equal(calls, want) {
		t.Errorf("calls %v, want %v", calls, want)
	}
}

func TestTimeIsTheTests(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := fake.NewWorld(func(runtimes.Spec) fake.Program {
			return fake.Program{StartDelay: time.Hour, RunFor: 2 * time.Hour, Exit: &runtimes.Exit{Known: true, Code: 1}}
		})
		r := w.Runtime(runtimes.Process)
		began := time.Now()
		if _, err := r.Start(t.Context(), spec(1)); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took != time.Hour {
			t.Errorf("Start took %v, want 1h", took)
		}
		exit, err := r.Wait(t.Context(), spec(1).Key)
		if took := time.Since(began); err != nil || exit.Code != 1 || took != 3*time.Hour {
			t.Errorf("Wait says %+v, %v after %v, want exit 1 after 3h", exit, err, took)
		}
	})
}

func TestSuspendIsScripted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := fake.NewWorld(func(runtimes.Spec) fake.Program {
			return fake.Program{ResumeDelay: time.Millisecond, RunFor: time.Hour, Exit: &runtimes.Exit{Known: true, Code: 4}}
		})
		r := w.Runtime(runtimes.Process)
		if _, err := r.Start(t.Context(), spec(1)); err != nil {
			t.Fatal(err)
		}
		broken := errors.New("broken")
		w.Fail(fake.Suspend, broken)
		if err := r.Suspend(t.Context(), spec(1).Key); !errors.Is(err, broken) {
			t.Errorf("Suspend returned %v, want the fault", err)
		}
		if err := r.Suspend(t.Context(), spec(1).Key); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Hour) // past its end, which it sleeps through
		if list, err := r.List(t.Context()); err != nil || list[0].Phase != runtimes.Sleeping {
			t.Errorf("asleep, List shows %+v, %v", list, err)
		}
		began := time.Now()
		if err := r.Resume(t.Context(), spec(1).Key); err != nil || time.Since(began) != time.Millisecond {
			t.Errorf("Resume returned %v after %v, want 1ms", err, time.Since(began))
		}
		if exit, err := r.Wait(t.Context(), spec(1).Key); err != nil || exit.Code != 4 {
			t.Errorf("Wait says %+v, %v", exit, err)
		}
		want := []string{"start web:prod#1", "suspend web:prod#1", "resume web:prod#1"}
		if calls := w.Calls(); !slices.Equal(calls, want) {
			t.Errorf("calls %v, want %v", calls, want)
		}
	})
}
