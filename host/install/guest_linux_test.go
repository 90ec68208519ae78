package install_test

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// guestConfig is what the guest is to run: one service for each way to be run.
const guestConfig = `
[service.plain]
command = "./noop"
source = "bin"
isolation = "process"
instances = ["a", "b"]
health = "/"
env = { NOOP_TEXT = "plain " }

[service.walled]
command = "./noop"
source = "bin"
isolation = "namespace"
instances = ["a"]
health = "/"
env = { NOOP_TEXT = "walled " }

[service.alone]
command = "./noop"
source = "bin"
isolation = "namespace"
network = "none"
instances = ["a"]
health = "/"
env = { NOOP_TEXT = "alone " }

[service.limited]
command = "./noop"
source = "bin"
isolation = "namespace"
memory_limit_mb = 48
cpu_shares = 50
instances = ["a"]
health = "/"
env = { NOOP_TEXT = "limited " }

[service.stopped]
command = "./noop"
source = "bin"
isolation = "namespace"
idle_timeout = 3
startup_timeout = 60
instances = ["a"]
env = { NOOP_TEXT = "stopped " }

[service.frozen]
command = "./noop"
source = "bin"
isolation = "namespace"
idle_timeout = 3
sleep = "freeze"
startup_timeout = 60
instances = ["a"]
env = { NOOP_TEXT = "frozen ", NOOP_MEMORY = "32" }
`

// installed is how ten is installed in the guest.
var installed = []string{"install", "--domain", "example.com", "--repo", "/payload/services.git"}

// TestFirstBoot installs ten, and does to it what happens to daemons.
func TestFirstBoot(t *testing.T) {
	inGuest(t)
	for _, c := range []struct {
		name string
		test func(guest)
	}{
		{"dry run prints what install does", guest.install},
		{"installed again, on another port", guest.again},
		{"everything is up", guest.allUp},
		{"systemd finds no fault with the units", guest.verify},
		{"who may look, and who may act", guest.people},
		{"instances are not the daemon", guest.ordinary},
		{"limits outlive systemd's own reload", guest.limits},
		{"a frozen instance goes to swap and comes back", guest.swap},
		{"a frozen instance that is killed comes back", guest.killFrozen},
		{"restart under requests", guest.restart},
		{"kill -9 under requests", guest.kill},
		{"a daemon that hangs is replaced", guest.watchdog},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(guest{t}) })
	}
	diagnose(guest{t})
}

// TestSecondBoot looks at the same machine after it was booted again.
func TestSecondBoot(t *testing.T) {
	inGuest(t)
	for _, c := range []struct {
		name string
		test func(guest)
	}{
		{"everything is up", guest.allUp},
		{"down is down", guest.down},
		{"uninstall leaves nothing", guest.uninstall},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(guest{t}) })
	}
	diagnose(guest{t})
}

// install compares what a dry run prints with what install then does.
func (g guest) install() {
	said := g.must("/payload/ten", append(installed, "--dry-run")...)
	for _, path := range []string{"/etc/tenement", "/var/lib/tenement", "/usr/local/bin/ten", "/etc/systemd/system/tenement.service"} {
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			g.Errorf("a dry run made %s", path)
		}
	}
	var steps []string
	texts := map[string]string{}
	write := regexp.MustCompile(`^write (\S+) \((\d+)\)`)
	file := ""
	for line := range strings.Lines(said) {
		if text, ok := strings.CutPrefix(line, "    "); ok {
			texts[file] += text
			continue
		}
		steps = append(steps, line)
		file = ""
		if m := write.FindStringSubmatch(line); m != nil {
			file = m[1]
		}
	}
	did := g.steps("/payload/ten", installed...)
	if got := strings.Join(steps, ""); got != did {
		g.Errorf("a dry run says\n%sand install\n%s", got, did)
	}
	if len(texts) < 4 {
		g.Errorf("only %d files are shown", len(texts))
	}
	for path, want := range texts {
		if got, err := os.ReadFile(path); err != nil || strings.TrimSuffix(string(got), "\n") != strings.TrimSuffix(want, "\n") {
			g.Errorf("%s: %v, is %q, shown was %q", path, err, got, want)
		}
	}
}

// again moves ten to another port. What ran goes on, nothing listens where it did.
func (g guest) again() {
	g.steps("ten", append(installed, "--port", "80")...)
	g.until("port 80 answers", func() error {
		answer, err := http.Get("http://127.0.0.1/health")
		if err == nil {
			answer.Body.Close()
		}
		return err
	})
	if c, err := net.Dial("tcp", "127.0.0.1:8080"); err == nil {
		c.Close()
		g.Error("port 8080 is still open")
	}
}

// allUp waits until the host runs what the repository says, and asks everything.
func (g guest) allUp() {
	g.until("in sync", func() error {
		out, err := exec.Command("ten", "status").CombinedOutput()
		if err == nil && !strings.Contains(string(out), "in-sync") {
			err = errors.New(string(out))
		}
		return err
	})
	for _, service := range []string{"plain", "walled", "alone", "limited", "stopped", "frozen"} {
		if err := get(service + ".example.com"); err != nil {
			g.Error(err)
		}
	}
	if _, err := user.LookupGroup("tenement"); err != nil {
		g.Error(err)
	}
}

// verify has systemd judge the units.
func (g guest) verify() {
	units, err := filepath.Glob("/etc/systemd/system/tenement*")
	if err != nil || len(units) < 2 {
		g.Fatalf("units %v, %v", units, err)
	}
	if out, err := exec.Command("systemd-analyze", append([]string{"verify", "--man=no"}, units...)...).CombinedOutput(); err != nil || len(out) > 0 {
		g.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
	g.must("systemd-analyze", "security", "--no-pager", "--threshold=90", "tenement.service")
}

// restart replaces the daemon in the usual way.
func (g guest) restart() {
	before, daemon := g.pids(), g.mainPid()
	stop := g.asking()
	for range 2 {
		g.must("systemctl", "restart", "tenement.service")
	}
	g.same(before, daemon)
	stop()
}

// kill ends the daemon as a crash does.
func (g guest) kill() {
	before, daemon := g.pids(), g.mainPid()
	stop := g.asking()
	if err := syscall.Kill(daemon, syscall.SIGKILL); err != nil {
		g.Fatal(err)
	}
	g.same(before, daemon)
	stop()
}

// watchdog stops the daemon where it is. The unit's own limit is a minute, which
// is made shorter for this.
func (g guest) watchdog() {
	const dropIn = "/etc/systemd/system/tenement.service.d/watchdog.conf"
	if err := os.MkdirAll(filepath.Dir(dropIn), 0o755); err != nil {
		g.Fatal(err)
	}
	if err := os.WriteFile(dropIn, []byte("[Service]\nWatchdogSec=8\n"), 0o644); err != nil {
		g.Fatal(err)
	}
	g.must("systemctl", "daemon-reload")
	g.must("systemctl", "restart", "tenement.service")
	before, daemon := g.pids(), g.mainPid()
	stop := g.asking()
	if err := syscall.Kill(daemon, syscall.SIGSTOP); err != nil {
		g.Fatal(err)
	}
	g.same(before, daemon)
	stop()
	if err := os.RemoveAll(filepath.Dir(dropIn)); err != nil {
		g.Fatal(err)
	}
	g.must("systemctl", "daemon-reload")
	g.must("systemctl", "restart", "tenement.service")
}

// people are root, a member of the group, and somebody.
func (g guest) people() {
	g.must("useradd", "-G", "tenement", "ann")
	g.must("useradd", "bob")
	as := func(user, command string, args ...string) (string, error) {
		out, err := exec.Command("setpriv", append([]string{"--reuid", user, "--regid", user, "--init-groups", command}, args...)...).CombinedOutput()
		return string(out), err
	}
	if out, err := as("ann", "ten", "status"); err != nil || !strings.Contains(out, "in-sync") {
		g.Errorf("a member of the group looks: %v, %s", err, out)
	}
	if out, err := as("ann", "ten", "down", "--yes"); err == nil || !strings.Contains(out, "root") {
		g.Errorf("a member of the group acts: %v, %s", err, out)
	}
	if out, err := as("bob", "ten", "status"); err == nil || !strings.Contains(out, "group") {
		g.Errorf("somebody looks: %v, %s", err, out)
	}
}

// ordinary looks for what is the daemon's alone: to be spared when memory is
// short, to have a million files open, to speak to systemd.
func (g guest) ordinary() {
	for name, pid := range g.pids() {
		dir := fmt.Sprintf("/proc/%d/", pid)
		if score := g.read(dir + "oom_score_adj"); score != "0" {
			g.Errorf("%s: oom_score_adj is %s", name, score)
		}
		// The program may have asked for more itself, as those in Go do.
		init := fmt.Sprintf("/proc/%d/", number(g.read(dir+"status"), "PPid"))
		if limits := g.read(init + "limits"); !regexp.MustCompile(`Max open files +1024 +1048576`).MatchString(limits) {
			g.Errorf("%s: its limits are\n%s", name, limits)
		}
		if env := g.read(dir + "environ"); strings.Contains(env, "WATCHDOG_") || strings.Contains(env, "LISTEN_") || strings.Contains(env, "/run/systemd/notify") {
			g.Errorf("%s: environment %q", name, env)
		}
	}
	if score := g.read(fmt.Sprintf("/proc/%d/oom_score_adj", g.mainPid())); score != "-500" {
		g.Errorf("the daemon's oom_score_adj is %s", score)
	}
}

// limits looks at the control group of the instance that has limits. systemd may
// switch off controllers that it has no need of itself.
func (g guest) limits() {
	g.must("systemctl", "daemon-reload")
	g.must("systemctl", "daemon-reexec")
	_, group, _ := strings.Cut(g.read(fmt.Sprintf("/proc/%d/cgroup", g.pids()["limited:a"])), "::")
	for file, want := range map[string]string{"memory.max": "50331648", "memory.swap.max": "0", "cpu.weight": "50"} {
		if got := g.read("/sys/fs/cgroup" + group + "/" + file); got != want {
			g.Errorf("%s of %s is %s, want %s", file, group, got, want)
		}
	}
}

// swap gives the host somewhere to put the memory of what is frozen.
func (g guest) swap() {
	g.must("dd", "if=/dev/zero", "of=/swap", "bs=1M", "count=96", "status=none")
	if err := os.Chmod("/swap", 0o600); err != nil {
		g.Fatal(err)
	}
	g.must("mkswap", "-q", "/swap")
	g.must("swapon", "/swap")
	if err := get("frozen.example.com"); err != nil {
		g.Fatal(err)
	}
	before := g.instances()["frozen:a"].Pid
	pid := g.asleep("frozen:a")
	status := ""
	g.until("most of its 32 MB are in swap", func() error {
		status = g.read(fmt.Sprintf("/proc/%d/status", pid))
		if kb := number(status, "VmSwap"); kb < 24<<10 {
			return fmt.Errorf("%d KB are", kb)
		}
		return nil
	})
	began := time.Now()
	if err := get("frozen.example.com"); err != nil {
		g.Fatal(err)
	}
	g.Logf("asleep it had %d KB in memory; awake after %v", number(status, "VmRSS"), time.Since(began))
	if now := g.instances()["frozen:a"].Pid; now != pid || pid != before {
		g.Errorf("pid %d awake, %d asleep, %d again", before, pid, now)
	}
}

// killFrozen ends a frozen instance by hand. What the kernel froze can be killed.
func (g guest) killFrozen() {
	pid := g.asleep("frozen:a")
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		g.Fatal(err)
	}
	if err := get("frozen.example.com"); err != nil {
		g.Error(err)
	}
	if now := g.instances()["frozen:a"].Pid; now == pid || now == 0 {
		g.Errorf("pid %d, was %d", now, pid)
	}
}

// down ends everything, and nothing that comes by starts it again.
func (g guest) down() {
	g.must("ten", "down", "--yes")
	g.until("the unit is at rest", func() error {
		out, _ := exec.Command("systemctl", "is-active", "tenement.service", "tenement-http.socket", "tenement-api.socket").Output()
		if string(out) != "inactive\ninactive\ninactive\n" {
			return fmt.Errorf("it is %s", out)
		}
		return nil
	})
	if c, err := net.Dial("tcp", "127.0.0.1:80"); err == nil {
		c.Close()
		g.Error("port 80 is open")
	}
	if out, err := exec.Command("ten", "status").CombinedOutput(); err == nil || !strings.Contains(string(out), "no daemon answers") {
		g.Errorf("ten status: %v, %s", err, out)
	}
	g.must("systemctl", "start", "tenement.service")
	g.allUp()
}

// uninstall takes everything away again.
func (g guest) uninstall() {
	g.must("ten", "down", "--yes")
	g.must("ten", "uninstall")
	for _, pattern := range []string{"/etc/systemd/system/tenement*", "/etc/systemd/system/*/tenement*", "/etc/sysusers.d/*", "/sys/fs/cgroup/ten*", "/run/ten*"} {
		if left, err := filepath.Glob(pattern); err != nil || len(left) > 0 {
			g.Errorf("left: %v, %v", left, err)
		}
	}
	if c, err := net.Dial("tcp", "127.0.0.1:80"); err == nil {
		c.Close()
		g.Error("port 80 is open")
	}
}
