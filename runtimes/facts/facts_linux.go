package facts

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/tenement/ten/runtimes"
	"github.com/tenement/ten/runtimes/cgroup"
)

// Host looks at this machine with the rights of this process.
func Host() []Fact {
	facts := []Fact{kernel(), openFiles()}
	facts = append(facts, groups()...)
	return append(facts, userNamespaces(readSysctl), seccomp(), landlock(), kvm())
}

func kernel() Fact {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return Fact{Name: "kernel", Detail: err.Error()}
	}
	release := unix.ByteSliceToString(u.Release[:])
	f := Fact{Name: "kernel", OK: atLeast(release, 5, 12), Detail: "Linux " + release}
	if !f.OK {
		f.Hint = "walls need Linux 5.12 or newer"
	} else if !atLeast(release, 6, 15) {
		f.Detail += "; how an instance ended whose init was killed is told from Linux 6.15 on"
	}
	return f
}

// atLeast compares the front of a release such as "6.1.0-13-amd64".
func atLeast(release string, major, minor int) bool {
	var a, b int
	if n, _ := fmt.Sscanf(release, "%d.%d", &a, &b); n != 2 {
		return false
	}
	return a > major || (a == major && b >= minor)
}

// perInstance is how many files a daemon holds open for one running instance:
// two pipes, its record twice, and the process.
const perInstance = 5

func openFiles() Fact {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return Fact{Name: "open files", Detail: err.Error()}
	}
	room := l.Max / perInstance
	f := Fact{Name: "open files", OK: room >= 1000, Detail: fmt.Sprintf("%d, enough for some %d running instances", l.Max, room)}
	if !f.OK {
		f.Hint = "raise the limit of the daemon (systemd: LimitNOFILE=524288)"
	}
	return f
}

func groups() []Fact {
	host, err := cgroup.FindHost()
	if err != nil {
		return []Fact{{Name: "cgroups", Detail: err.Error()}}
	}
	facts := []Fact{{Name: "cgroups", OK: host.Mode() != "none", Detail: groupDetail(host)}}
	if !facts[0].OK {
		facts[0].Hint = "mount cgroup2, or run ten as root or with systemd's Delegate=yes"
	}
	for name, limits := range map[string]runtimes.Limits{"memory_limit_mb": {MemoryMB: 1}, "cpu_shares": {CPUShares: 1}} {
		f := Fact{Name: name, OK: true, Detail: "can be enforced"}
		var u *cgroup.UnsupportedError
		if err := host.Enforces(limits); errors.As(err, &u) {
			f.OK, f.Detail, f.Hint = false, u.Reason, u.Hint
		}
		facts = append(facts, f)
	}
	if facts[1].Name > facts[2].Name {
		facts[1], facts[2] = facts[2], facts[1]
	}
	return facts
}

func groupDetail(h *cgroup.Host) string {
	switch h.Mode() {
	case "none":
		return h.Why
	case "v1":
		return "v1; " + h.Why
	case "hybrid":
		return "v1 and v2, groups in " + h.Unified
	}
	return "v2, groups in " + h.Unified
}

// readSysctl gives "" for one that this kernel does not have.
func readSysctl(name string) string {
	b, _ := os.ReadFile("/proc/sys/" + strings.ReplaceAll(name, ".", "/"))
	return strings.TrimSpace(string(b))
}

func userNamespaces(sysctl func(string) string) Fact {
	f := Fact{Name: "user namespaces"}
	limit, err := strconv.Atoi(sysctl("user.max_user_namespaces"))
	switch {
	case err != nil:
		f.Detail, f.Hint = "the kernel was built without them", "ordinary users need them for walls; root does not"
	case limit == 0:
		f.Detail, f.Hint = "switched off", "sysctl -w user.max_user_namespaces=15000; root does not need them"
	case sysctl("kernel.unprivileged_userns_clone") == "0":
		f.Detail, f.Hint = "for root only", "sysctl -w kernel.unprivileged_userns_clone=1"
	case sysctl("kernel.apparmor_restrict_unprivileged_userns") == "1":
		f.Detail, f.Hint = "restricted by AppArmor", "an AppArmor profile for ten with the rule userns, or: sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"
	default:
		f.OK, f.Detail = true, fmt.Sprintf("for everybody, at most %d", limit)
	}
	return f
}

func seccomp() Fact {
	actions := readSysctl("kernel.seccomp.actions_avail")
	if actions == "" {
		return Fact{Name: "seccomp", Detail: "the kernel was built without it", Hint: "use a kernel with CONFIG_SECCOMP_FILTER"}
	}
	return Fact{Name: "seccomp", OK: true, Detail: actions}
}

func landlock() Fact {
	const askVersion = 1 // LANDLOCK_CREATE_RULESET_VERSION
	version, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, askVersion)
	if errno != 0 {
		return Fact{Name: "landlock", Detail: errno.Error(), Hint: "use Linux 5.13 or newer with landlock among the security modules (lsm=landlock,...)"}
	}
	return Fact{Name: "landlock", OK: true, Detail: fmt.Sprintf("ABI %d", version)}
}

func kvm() Fact {
	const getVersion, wanted = 0xAE00, 12
	fd, err := unix.Open("/dev/kvm", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return Fact{Name: "kvm", Detail: "/dev/kvm: " + err.Error(), Hint: "switch on virtualisation, and let the daemon's user open /dev/kvm (group kvm)"}
	}
	defer unix.Close(fd)
	version, err := unix.IoctlRetInt(fd, getVersion)
	if err != nil || version != wanted {
		return Fact{Name: "kvm", Detail: fmt.Sprintf("speaks version %d (%v)", version, err), Hint: "use a kernel with KVM"}
	}
	return Fact{Name: "kvm", OK: true, Detail: "/dev/kvm opens"}
}
