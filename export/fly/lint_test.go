package fly

import (
	"strconv"
	"strings"
	"testing"

	"github.com/google/shlex"
)

const good = `app = 'shop-web-prod'
primary_region = 'fra'
kill_signal = 'SIGTERM'
kill_timeout = '10s'
[build]
dockerfile = '../web.Dockerfile'
[deploy]
strategy = 'rolling'
[env]
LOG = 'debug'
[processes]
app = "./web --port 8080"
[http_service]
internal_port = 8080
auto_stop_machines = 'stop'
auto_start_machines = true
min_machines_running = 0
processes = ['app']
[[http_service.checks]]
interval = '10s'
timeout = '5s'
grace_period = '10s'
method = 'GET'
path = '/health'
[checks.alive]
type = 'tcp'
port = 8080
interval = '10s'
timeout = '5s'
grace_period = '10s'
processes = ['app']
[[vm]]
cpu_kind = 'shared'
cpus = 1
memory = '256mb'
processes = ['app']
[[mounts]]
source = 'web_data'
destination = '/data'
initial_size = '1gb'
processes = ['app']
[[restart]]
policy = 'on-failure'
retries = 3
processes = ['app']
`

// TestLintCatchesWhatFlyctlLetsThrough changes one line of a good file each.
func TestLintCatchesWhatFlyctlLetsThrough(t *testing.T) {
	t.Parallel()
	if faults := Lint([]byte(good)); len(faults) > 0 {
		t.Fatalf("the good file: %q", faults)
	}
	tests := map[string]struct{ old, with, want string }{
		"typo":                    {"min_machines_running", "min_machines_runnin", "unknown field"},
		"bad autostop":            {"'stop'", "'sometimes'", `auto_stop_machines "sometimes"`},
		"boolean autostop":        {"'stop'", "true", "AutoStopMachines"},
		"bare interval":           {"interval = '10s'", "interval = 10000", "Check.Interval"},
		"bare kill_timeout":       {"kill_timeout = '10s'", "kill_timeout = 10", "Config.KillTimeout"},
		"long kill_timeout":       {"kill_timeout = '10s'", "kill_timeout = '10m'", "want 1s to 5m0s"},
		"no kill_signal":          {"kill_signal = 'SIGTERM'\n", "", "default is SIGINT"},
		"bad kill_signal":         {"SIGTERM", "SIGHUP", `kill_signal "SIGHUP"`},
		"canary and mounts":       {"'rolling'", "'canary'", "does not go with mounts"},
		"bluegreen and mounts":    {"'rolling'", "'bluegreen'", "does not go with mounts"},
		"bad strategy":            {"'rolling'", "'slowly'", `strategy "slowly"`},
		"FLY_ variable":           {"LOG =", "FLY_LOG =", "Fly's own"},
		"two builds":              {"[build]\n", "[build]\nimage = 'x'\n", "one of image and dockerfile"},
		"unbalanced quote":        {`"./web --port 8080"`, `"./web '--port"`, "does not split"},
		"unknown group":           {"processes = ['app']\n[[http", "processes = ['web']\n[[http", "there is no group web"},
		"no processes on restart": {"retries = 3\nprocesses = ['app']", "retries = 3", "restart: processes not written"},
		"no processes on mounts":  {"initial_size = '1gb'\nprocesses = ['app']", "initial_size = '1gb'", "mounts: processes not written"},
		"three processors":        {"cpus = 1", "cpus = 3", "no Machine has 3"},
		"nine processors":         {"cpus = 1", "cpus = 9", "no Machine has 9"},
		"100 MB":                  {"'256mb'", "'100mb'", "100 MB"},
		"300 MB":                  {"'256mb'", "'300mb'", "300 MB"},
		"port-less check":         {"type = 'tcp'\nport = 8080", "type = 'tcp'", "checks.alive.port 0"},
		"bad check type":          {"'tcp'", "'udp'", `type "udp"`},
		"slow check":              {"timeout = '5s'", "timeout = '90s'", `timeout "90s"`},
		"quick check":             {"interval = '10s'", "interval = '1s'", `interval "1s"`},
		"path without slash":      {"'/health'", "'health'", `path "health"`},
		"destination /":           {"'/data'", "'/'", "and not /"},
		"volume name":             {"web_data", "Bad-Name", `source "Bad-Name"`},
		"small volume":            {"'1gb'", "'0gb'", "at least 1gb"},
		"restart no":              {"'on-failure'", "'no'", `restart.policy "no"`},
		"app name":                {"shop-web-prod", "shop_web", `app "shop_web"`},
		"no toml":                 {"[build]", "[build", "toml"},
	}
	for name, tt := range tests {
		if !strings.Contains(good, tt.old) {
			t.Fatalf("%s: %q is not in the good file", name, tt.old)
		}
		faults := strings.Join(Lint([]byte(strings.Replace(good, tt.old, tt.with, 1))), "\n")
		if !strings.Contains(faults, tt.want) {
			t.Errorf("%s: got %q, want %q", name, faults, tt.want)
		}
	}
	if faults := Lint([]byte(strings.Replace(strings.Replace(good, "'rolling'", "'bluegreen'", 1), "mounts", "files", 1))); len(faults) == 0 {
		t.Error("a section that ten does not write went through")
	}
}

func TestJoinComesBack(t *testing.T) {
	t.Parallel()
	for _, words := range [][]string{
		{"sh", "-c", "a 'b' \"c\" $d `e` \\ # f\n\tg"}, {"", "#x", "\\", "'", "é\u2028"}, {"a b", "c'd'", `"`},
	} {
		got, err := shlex.Split(join(words))
		if err != nil || strings.Join(got, "|") != strings.Join(words, "|") || len(got) != len(words) {
			t.Errorf("%q came back as %q, %v", words, got, err)
		}
	}
}

func TestSizes(t *testing.T) {
	t.Parallel()
	for mb, want := range map[int]VM{
		0: {CPUKind: shared, CPUs: 1, Memory: "256"}, 256: {CPUKind: shared, CPUs: 1, Memory: "256"}, 257: {CPUKind: shared, CPUs: 1, Memory: "512"},
		2049: {CPUKind: shared, CPUs: 2, Memory: "2304"}, 16384: {CPUKind: shared, CPUs: 8, Memory: "16384"},
		16385: {CPUKind: performance, CPUs: 4, Memory: "18432"}, 131072: {CPUKind: performance, CPUs: 16, Memory: "131072"},
	} {
		kind, cpus, memory, ok := sizeFor(mb)
		if !ok || kind != want.CPUKind || cpus != want.CPUs || want.Memory != itoa(memory) {
			t.Errorf("%d MB: %s %d %d %v", mb, kind, cpus, memory, ok)
		}
	}
	for mb := range 131073 {
		kind, cpus, memory, ok := sizeFor(mb)
		if !ok || memory < mb || !kinds()[kind].holds(cpus, memory) {
			t.Fatalf("%d MB: %s %d %d %v", mb, kind, cpus, memory, ok)
		}
	}
	if _, _, _, ok := sizeFor(131073); ok {
		t.Error("a Machine that is too large")
	}
}

func itoa(n int) string { return strconv.Itoa(n) }
