package runtimetest

import (
	"context"
	"errors"
	"time"

	"github.com/tenement/ten/runtimes"
)

// suspender gives the level's ability to freeze.
func (b *bench) suspender() runtimes.Suspender {
	b.Helper()
	s, ok := b.r.(runtimes.Suspender)
	if !ok {
		b.Skip("this level freezes nothing")
	}
	return s
}

// suspend freezes, or skips with what the level says where the host has no way to.
func (b *bench) suspend(key runtimes.Key) {
	b.Helper()
	err := b.suspender().Suspend(b.ctx(), key)
	var u *runtimes.UnsupportedError
	if errors.As(err, &u) {
		if u.Level != b.level || u.Reason == "" || u.Hint == "" {
			b.Errorf("freezing is refused with %#v", u)
		}
		if in := b.only(); in.Phase != runtimes.Running {
			b.Errorf("a refused Suspend left it %s", in.Phase)
		}
		b.Skipf("%v; %s", err, u.Hint)
	}
	if err != nil {
		b.Fatalf("suspend: %v", err)
	}
}

func (b *bench) resume(key runtimes.Key) {
	b.Helper()
	if err := b.suspender().Resume(b.ctx(), key); err != nil {
		b.Fatalf("resume: %v", err)
	}
}

func suspendsAndResumes(b *bench) {
	spec := b.spec(Forever...)
	in := b.start(spec)
	if err := b.suspender().Resume(b.ctx(), spec.Key); err != nil {
		b.Errorf("Resume of what runs: %v", err)
	}
	for range 3 {
		b.suspend(spec.Key)
		b.suspend(spec.Key)
		if got := b.only(); got.Phase != runtimes.Sleeping || got.Pid != in.Pid || got.Exit != nil {
			b.Errorf("suspended, List shows %s pid %d exit %v, want sleeping %d", got.Phase, got.Pid, got.Exit, in.Pid)
		}
		if again := b.start(spec); again.Pid != in.Pid || again.Phase != runtimes.Sleeping {
			b.Errorf("Start of a suspended one returned %s pid %d, want it as it is: %d", again.Phase, again.Pid, in.Pid)
		}
		b.resume(spec.Key)
		b.resume(spec.Key)
		if got := b.only(); got.Phase != runtimes.Running || got.Pid != in.Pid {
			b.Errorf("resumed, List shows %s pid %d, want running %d", got.Phase, got.Pid, in.Pid)
		}
	}
}

func suspendNothing(b *bench) {
	s, key := b.suspender(), b.spec("x").Key
	if err := s.Suspend(b.ctx(), key); !errors.Is(err, runtimes.ErrNotFound) {
		b.Errorf("Suspend of nothing returned %v, want ErrNotFound", err)
	}
	if err := s.Resume(b.ctx(), key); !errors.Is(err, runtimes.ErrNotFound) {
		b.Errorf("Resume of nothing returned %v, want ErrNotFound", err)
	}
}

// suspendedStaysSo is for a daemon that is restarted meanwhile.
func suspendedStaysSo(b *bench) {
	spec := b.spec(Forever...)
	in := b.start(spec)
	b.suspend(spec.Key)
	b.reopen()
	if got := b.only(); got.Phase != runtimes.Sleeping || got.Pid != in.Pid {
		b.Errorf("the second daemon sees %s pid %d, want sleeping %d", got.Phase, got.Pid, in.Pid)
	}
	b.resume(spec.Key)
	if got := b.only(); got.Phase != runtimes.Running || got.Pid != in.Pid {
		b.Errorf("resumed by the second daemon: %s pid %d", got.Phase, got.Pid)
	}
}

// suspendedIsWaitedFor stops a suspended one: its Wait, which outlasts the
// sleep, says how it ended, and the stop signal is what ended it.
func suspendedIsWaitedFor(b *bench) {
	spec := b.spec(Forever...)
	b.start(spec)
	b.suspend(spec.Key)
	short, cancel := context.WithTimeout(b.ctx(), 50*time.Millisecond)
	defer cancel()
	if _, err := b.r.Wait(short, spec.Key); !errors.Is(err, context.DeadlineExceeded) {
		b.Errorf("Wait on a suspended one returned %v, want it to wait", err)
	}
	done := make(chan runtimes.Exit, 1)
	waiting := make(chan struct{})
	go func() {
		close(waiting)
		exit, _ := b.r.Wait(b.Context(), spec.Key)
		done <- exit
	}()
	<-waiting
	time.Sleep(50 * time.Millisecond) // Wait must find it before Stop removes it
	began := time.Now()
	b.stop(spec.Key)
	if took := time.Since(began); took > spec.StopTimeout {
		b.Errorf("stopping a suspended one took %v", took)
	}
	select {
	case exit := <-done:
		if !exit.Known || exit.Signal != 15 {
			b.Errorf("Wait says %+v, want signal 15", exit)
		}
	case <-time.After(patience):
		b.Error("Wait did not return")
	}
	if list := b.list(); len(list) != 0 {
		b.Errorf("List after Stop shows %+v", list)
	}
}
