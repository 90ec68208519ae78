package facts

import (
	"strings"
	"testing"
)

// Whatever the host, every fact has a name of its own and says what was found,
// and what is missing has a way to get it.
func TestHost(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, f := range Host() {
		if f.Name == "" || seen[f.Name] || f.Detail == "" || (!f.OK && f.Hint == "") {
			t.Errorf("incomplete or twice: %+v", f)
		}
		seen[f.Name] = true
		t.Logf("%+v", f)
	}
	for _, name := range []string{"kernel", "cgroups", "memory_limit_mb", "cpu_shares", "user namespaces", "seccomp", "landlock", "kvm"} {
		if !seen[name] {
			t.Errorf("nothing about %s", name)
		}
	}
}

func TestAtLeast(t *testing.T) {
	t.Parallel()
	for release, want := range map[string]bool{
		"5.12.0": true, "5.11.22": false, "6.1.0-13-amd64": true, "4.19.0": false, "6.18": true, "10.0-rc1": true, "": false, "x.y": false,
	} {
		if atLeast(release, 5, 12) != want {
			t.Errorf("%q at least 5.12: want %v", release, want)
		}
	}
}

func TestUserNamespaces(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name   string
		sysctl map[string]string
		ok     bool
		hint   string
	}{
		{"open", map[string]string{"user.max_user_namespaces": "100"}, true, ""},
		{"debian open", map[string]string{"user.max_user_namespaces": "100", "kernel.unprivileged_userns_clone": "1"}, true, ""},
		{"off", map[string]string{"user.max_user_namespaces": "0"}, false, "user.max_user_namespaces"},
		{"root only", map[string]string{"user.max_user_namespaces": "100", "kernel.unprivileged_userns_clone": "0"}, false, "unprivileged_userns_clone=1"},
		{"apparmor", map[string]string{"user.max_user_namespaces": "100", "kernel.apparmor_restrict_unprivileged_userns": "1"}, false, "AppArmor"},
		{"none", nil, false, "root does not"},
	}
	for _, c := range cases {
		f := userNamespaces(func(name string) string { return c.sysctl[name] })
		if f.OK != c.ok || !strings.Contains(f.Hint, c.hint) {
			t.Errorf("%s: %+v", c.name, f)
		}
	}
}
