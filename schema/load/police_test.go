package load_test

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/tenement/ten/schema/load"
)

// counting is an evaluator that counts its starts.
func counting(n *atomic.Int32) func(context.Context) *exec.Cmd {
	return func(ctx context.Context) *exec.Cmd {
		n.Add(1)
		return evalSelf(ctx)
	}
}

// TestPolicyIsAskedOnce: a child is started for what was not judged before, and
// for nothing else.
func TestPolicyIsAskedOnce(t *testing.T) {
	t.Parallel()
	files := many(30)
	files["policy.cue"] = "#Service: memory_limit_mb?: <=512\n"
	files["extra.cue"] = "service: extra: command: \"x\"\n"
	tree := newTree(files)
	var starts atomic.Int32
	cache := t.TempDir()
	l := load.New(load.Config{Eval: counting(&starts), CacheDir: cache})
	expect := func(what string, want int32) {
		t.Helper()
		if got := starts.Swap(0); got != want {
			t.Errorf("%s: %d children, want %d", what, got, want)
		}
	}
	mustModel(t, l, tree, 31)
	expect("first load", 1)
	mustModel(t, l, tree, 31)
	expect("nothing changed", 0)
	tree.set("services/svc-0003.toml", "command = \"x\"\nmemory_limit_mb = 512\n")
	mustModel(t, l, tree, 31)
	expect("one service changed", 1)
	tree.set("src/svc-0004/server", "x")
	mustModel(t, l, tree, 31)
	expect("one source changed", 0)

	mustModel(t, load.New(load.Config{Eval: counting(&starts), CacheDir: cache}), tree, 31)
	expect("another process: CUE is read again, nothing judged", 1)

	tree.set("services/svc-0003.toml", "command = \"x\"\nmemory_limit_mb = 513\n")
	for range 2 {
		if got := refused(t, l, tree); !strings.Contains(got, "services/svc-0003.toml:2:19: error: service.svc-0003.memory_limit_mb: 513 is above the maximum 512\n") {
			t.Error(got)
		}
		expect("a violation is found anew each time", 1)
	}
	tree.set("policy.cue", "#Service: memory_limit_mb?: <=600\n")
	mustModel(t, l, tree, 31)
	expect("the policy changed", 1)
	tree.remove("policy.cue")
	tree.remove("extra.cue")
	mustModel(t, l, tree, 30)
	expect("no CUE any more", 0)
}

// TestPolicies: what a policy can say, one rule a case, against one service.
func TestPolicies(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ policy, service, want string }{
		"a maximum kept":         {`#Service: memory_limit_mb: <=64`, "memory_limit_mb = 64", ""},
		"a maximum, not written": {`#Service: memory_limit_mb: <=64`, "", "memory_limit_mb: must be written: want <=64"},
		"a maximum, optional":    {`#Service: memory_limit_mb?: <=64`, "", ""},
		"required":               {`#Service: health!: _`, "", "health: must be written"},
		"a default that fits":    {`#Service: isolation: "namespace" | "vm"`, "", ""},
		"a default that doesn't": {`#Service: isolation: "vm"`, "", `isolation: "namespace", the default, is not "vm"`},
		"alias":                  {`#Service: isolation: "vm"`, "runtime = \"process\"", `isolation: "process" is not "vm"`},
		"a choice":               {`#Service: restart: "always" | "never"`, "restart = \"on-failure\"", `restart: "on-failure" is not one of "always", "never"`},
		"a pattern":              {`#Service: command: =~"^./"`, "", `command: "x" does not satisfy =~"^./"`},
		"not that":               {`#Service: command: !="x"`, "", `command: "x" does not satisfy !="x"`},
		"forbidden":              {`#Service: port?: _|_`, "port = 80", "port: 80 must not be written"},
		"env must hold":          {`#Service: env: TEAM: string`, "", "env.TEAM: must be written: want string"},
		"env holds":              {`#Service: env: TEAM: string`, "env = { TEAM = \"a\" }", ""},
		"env must not hold":      {`#Service: env?: [=~"^AWS_"]: _|_`, "env = { AWS_KEY = \"a\" }", "env.AWS_KEY: \"a\" must not be written"},
		"if":                     {"#Service: {\n\tisolation: string\n\tif isolation == \"process\" {health!: string}\n}", "isolation = \"process\"", "health: must be written"},
		"if not":                 {"#Service: {\n\tisolation: string\n\tif isolation == \"process\" {health!: string}\n}", "", ""},
		"sum":                    {"#Service: {\n\tmemory_limit_mb: int\n\tcpu_shares: int & <=memory_limit_mb\n}", "memory_limit_mb = 10\ncpu_shares = 11", "cpu_shares: 11 is above the maximum 10"},
		"count":                  {"import \"list\"\n#Service: instances?: list.MaxItems(1)", "instances = [\"a\", \"b\"]", `instances: ["a","b"] does not satisfy list.MaxItems(1)`},
		"ids":                    {`#Service: instances?: [...=~"^t-"]`, "instances = [\"t-1\", \"x\"]", `instances[1]: "x" does not satisfy =~"^t-"`},
		"by name":                {`service: [=~"^w"]: health!: string`, "", "health: must be written"},
		"by another name":        {`service: [=~"^x"]: health!: string`, "", ""},
		"settings":               {`#Settings: max_restarts: <=2`, "", "max_restarts: 3, the default, is above the maximum 2"},
		"routing":                {`#Routing: default!: string`, "", "default: must be written"},
		"own words":              {`#Service: {port?: int, if port != _|_ if port == 22 {port: error("22 is for people")}}`, "port = 22", "22 is for people"},
		"a value demanded":       {`#Service: stop_timeout: 5`, "", "stop_timeout: 10, the default, is not 5"},
		"hidden and helpers":     {"_max: 10\n_limits: memory_limit_mb: <=_max\n#Service: _limits", "memory_limit_mb = 11", "memory_limit_mb: 11 is above the maximum 10"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			doc := "[service.web]\ncommand = \"x\"\n" + c.service + "\n"
			model, problems, err := newLoader().Load(t.Context(), newTree(map[string]string{"tenement.toml": doc, "rules/p.cue": withPackage(c.policy)}))
			if err != nil {
				t.Fatal(err)
			}
			got := text(problems)
			if c.want == "" {
				if model == nil {
					t.Error(got)
				}
				return
			}
			if !strings.Contains(got, c.want) || !strings.Contains(got, "rules/p.cue:") || !strings.HasPrefix(got, "tenement.toml:") {
				t.Errorf("want %q from both files\n%s", c.want, got)
			}
			if n := strings.Count(got, "error:"); n != 1 {
				t.Errorf("%d errors:\n%s", n, got)
			}
		})
	}
}

func withPackage(src string) string { return fmt.Sprintf("package tenement\n\n%s\n", src) }
