package namespace

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tenement/ten/runtimes"
	"github.com/tenement/ten/runtimes/launch/wire"
)

func TestExplain(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name         string
		step         string
		err          error
		settings     settings
		reason, hint string
	}{
		{"off", "clone", unix.ENOSPC, settings{maxUser: "0"}, "user.max_user_namespaces = 0", "sysctl -w user.max_user_namespaces"},
		{"used up", "clone", unix.ENOSPC, settings{maxUser: "100"}, "as many namespaces", "raise the limit"},
		{"debian", "clone", unix.EPERM, settings{maxUser: "100", userClone: "0"}, "unprivileged_userns_clone = 0", "sysctl -w kernel.unprivileged_userns_clone=1"},
		{"apparmor", "private", unix.EACCES, settings{maxUser: "100", userClone: "1", appArmor: "1"}, "AppArmor", "userns"},
		{"old", "private", unix.ENOSYS, settings{privileged: true}, "too old", "5.12"},
		{"masked proc", "proc", unix.EPERM, settings{maxUser: "100"}, "/proc", "unmasked"},
		{"container", "clone", unix.EPERM, settings{maxUser: "100"}, "refused (clone ten-init: operation not permitted)", "privileged"},
		{"root's own limits do not count for it", "clone", unix.EPERM, settings{privileged: true, maxUser: "0"}, "refused", "privileged"},
		{"anything else is told as it is", "tmpfs", unix.ENODEV, settings{privileged: true}, "no such device", ""},
	}
	for _, c := range cases {
		object := map[string]string{"clone": "ten-init", "proc": "/proc"}[c.step]
		u := explain(&runtimes.StartError{Step: c.step, Object: object, Err: c.err}, c.settings)
		if u.Level != runtimes.Namespace || !strings.Contains(u.Reason, c.reason) || !strings.Contains(u.Hint, c.hint) {
			t.Errorf("%s: %q, %q; want %q, %q in them", c.name, u.Reason, u.Hint, c.reason, c.hint)
		}
	}
}

func TestPlaces(t *testing.T) {
	t.Parallel()
	spec := &runtimes.Spec{Mounts: []runtimes.Mount{{Path: "/data/web/a", Writable: true}, {Path: "/data/src"}, {Path: "/tmp/s/1", Writable: true}}}
	places, err := placesOf(spec, []string{"/tmp", "/dev/shm"}, []string{"/data/.ten/run", "/data"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := []wire.Place{
		{Kind: wire.Cover, Path: "/data"},
		{Kind: wire.ReadOnly, Path: "/data/src"},
		{Kind: wire.Writable, Path: "/data/web/a"},
		{Kind: wire.Scratch, Path: "/dev/shm"},
		{Kind: wire.Scratch, Path: "/tmp"},
		{Kind: wire.Writable, Path: "/tmp/s/1"},
	}
	if len(places) != len(want) {
		t.Fatalf("places are %v, want %v", places, want)
	}
	for i, p := range places {
		if p != want[i] {
			t.Errorf("place %d is %v, want %v", i, p, want[i])
		}
	}
}

func TestHostname(t *testing.T) {
	t.Parallel()
	if name := hostname(runtimes.ID{Service: strings.Repeat("s", 60), Instance: "prod"}); len(name) != 64 {
		t.Errorf("host name %q has %d bytes, the kernel takes 64", name, len(name))
	}
}
