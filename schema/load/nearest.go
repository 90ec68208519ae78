package load

import (
	"strings"

	"github.com/tenement/ten/schema"
)

// nearest gives the candidate that a word most likely was meant to be, or "":
// at most two edits away, and at most a third of the word. The first of equally
// near ones wins.
func nearest(word string, candidates []string) string {
	best, bestDistance := "", 3
	lower := strings.ReplaceAll(strings.ToLower(word), "-", "_")
	for _, c := range candidates {
		d := distance(lower, strings.ReplaceAll(strings.ToLower(c), "-", "_"), bestDistance)
		if d < bestDistance && 3*d <= max(len(c), 3) {
			best, bestDistance = c, d
		}
	}
	return best
}

// nearestChoice is nearest among the values of a field.
func nearestChoice(text string, choices []string) string {
	for _, c := range choices {
		if strings.EqualFold("SIG"+text, c) {
			return c
		}
	}
	return nearest(text, choices)
}

// distance counts the insertions, deletions, replacements and swaps of
// neighbours between two words; from limit on it is not exact.
func distance(a, b string, limit int) int {
	if len(a)-len(b) >= limit || len(b)-len(a) >= limit {
		return limit
	}
	before := make([]int, len(b)+1)
	row := make([]int, len(b)+1)
	next := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		next[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			next[j] = min(row[j]+1, next[j-1]+1, row[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				next[j] = min(next[j], before[j-2]+1)
			}
		}
		before, row, next = row, next, before
	}
	return row[len(b)]
}

// synonym gives our word for one that other tools use, or "".
func synonym(word string) string {
	switch word {
	case "cmd", "run", "exec", "entrypoint", "start":
		return "command"
	case "arguments":
		return "args"
	case "environment":
		return "env"
	case "cwd", "dir", "directory", "working_dir", "work_dir":
		return "workdir"
	case "healthcheck", "health_check", "health_path":
		return "health"
	case "ports", "listen":
		return "port"
	case "memory", "mem_limit", "memory_mb_limit", "memory_limit":
		return "memory_limit_mb"
	case "cpu", "cpu_weight":
		return "cpu_shares"
	case "after", "requires", "needs":
		return "depends_on"
	case "restart_policy":
		return "restart"
	case "stop_grace_period", "kill_timeout", "grace":
		return "stop_timeout"
	case "kill_signal":
		return "stop_signal"
	}
	return ""
}

// nameHint offers a legal name of a service made of an illegal one.
func nameHint(name string) string { return legalHint(name, "_-", schema.ValidServiceName) }

// idHint does the same for an instance's id.
func idHint(name string) string { return legalHint(name, "-", schema.ValidInstanceID) }

func legalHint(name, marks string, valid func(string) bool) string {
	legal := strings.Map(func(c rune) rune {
		if 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || strings.ContainsRune(marks, c) {
			return c
		}
		return '-'
	}, strings.ToLower(name))
	legal = strings.Trim(legal[:min(len(legal), 63)], "-_")
	if !valid(legal) {
		return ""
	}
	return "for example " + legal
}

// isolationHint names the nearest level for one of another program.
func isolationHint(value string) string {
	switch value {
	case "litebox", "gvisor", "runsc", "seccomp":
		return "sandbox is the nearest"
	case "quark", "firecracker", "qemu", "kvm", "microvm":
		return "vm is the nearest"
	case "none", "host":
		return "process is the nearest"
	case "docker", "container", "runc", "chroot":
		return "namespace is the nearest"
	case "wasmtime", "wasmer", "wasi":
		return "wasm is the nearest"
	}
	return ""
}

func wantsName() string { return schema.ConfigFields()[1].WantsKey }

func wantsID() string { return schema.ConfigFields()[4].Wants }
