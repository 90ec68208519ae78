package load_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/tenement/ten/schema"
	"github.com/tenement/ten/schema/load"
)

// fill repeats a line, numbered, up to the size of the largest config file.
func fill(head, line string) string {
	size := schema.MaxFileSize
	if testing.Short() {
		size /= 8
	}
	b := bytes.NewBufferString(head)
	for i := 0; b.Len() < size-len(line)-10; i++ {
		fmt.Fprintf(b, line, i)
	}
	return b.String()
}

// TestNoise: whatever a file of 1 MB holds, the time and the report are bounded.
// The bound is generous: what it must catch takes minutes.
func TestNoise(t *testing.T) {
	t.Parallel()
	for name, doc := range map[string]string{
		"unknown fields":        fill("[service.web]\n", "key%d = 1\n"),
		"unknown tables":        fill("", "[x%d]\n"),
		"one key":               fill("", "a = %d\n"),
		"one dotted key":        fill("", "a.b.c = %d\n"),
		"one table":             fill("", "[a]\n#%d\n"),
		"bad numbers":           fill("[service.web]\nargs = [\n", "0%d,\n") + "]\n",
		"wrong kinds":           fill("[service.web]\ncommand = \"x\"\nargs = [\n", "%d,\n") + "]\n",
		"bad names of env":      fill("[service.web]\ncommand = \"x\"\n[service.web.env]\n", "\"=%d\" = \"\"\n"),
		"many names of env":     fill("[service.web]\ncommand = \"x\"\nport = -1\n[service.web.env]\n", "A%d = \"\"\n"),
		"bad ids":               fill("[service.web]\ncommand = \"x\"\ninstances = [\n", "\"_%d\",\n") + "]\n",
		"same id":               fill("[service.web]\ncommand = \"x\"\ninstances = [\n", "\"a\", #%d\n") + "]\n",
		"bad services":          fill("", "[service.\"_%d\"]\n"),
		"empty services":        fill("", "[service.a%d]\n"),
		"undefined services":    fill("[service.web]\ncommand = \"x\"\ndepends_on = [\n", "\"a%d\",\n") + "]\n",
		"undefined instances":   fill("[service.web]\ncommand = \"x\"\n[instances]\n", "a%d = []\n"),
		"one long cycle":        chain(5000),
		"nested lists":          "x = " + strings.Repeat("[", 200_000),
		"nested tables":         "x = " + strings.Repeat("{a=", 200_000),
		"nested, within bounds": "x = " + strings.Repeat("[", 9000) + strings.Repeat("]", 9000) + "\n",
		"long key":              "[" + strings.Repeat("a.", 400_000) + "a]\n",
		"one line":              strings.Repeat("x", 1_000_000),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			start := time.Now()
			tree := newTree(map[string]string{"tenement.toml": doc})
			model, problems, err := newLoader().Load(t.Context(), tree)
			if err != nil || model != nil || len(problems) == 0 {
				t.Fatalf("model %v, %d problems, %v", model, len(problems), err)
			}
			if took := time.Since(start); took > time.Minute {
				t.Errorf("took %v", took)
			}
			if report := text(problems); len(problems) > 501 || len(report) > 2<<20 {
				t.Errorf("%d problems in %d bytes", len(problems), len(report))
			}
		})
	}
}

// chain is n services, each after the next, the last after the first.
func chain(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "[service.s%d]\ncommand=\"x\"\ndepends_on=[\"s%d\"]\n", i, (i+1)%n)
	}
	return b.String()
}

// TestLongListsAreJudgedWhole: CUE sees long lists in pieces, and places stay
// right.
func TestLongListsAreJudgedWhole(t *testing.T) {
	t.Parallel()
	var ids, env strings.Builder
	for i := range 1000 {
		id := fmt.Sprintf("i%d", i)
		if i == 777 {
			id = "Bad"
		}
		fmt.Fprintf(&ids, "  %q,\n", id)
		fmt.Fprintf(&env, "K%d = \"v\"\n", i)
	}
	doc := "[service.web]\ncommand = \"x\"\ninstances = [\n" + ids.String() + "]\n[service.web.env]\n" + env.String() + "\"A=B\" = \"v\"\n"
	got := refused(t, newLoader(), newTree(map[string]string{"tenement.toml": doc}))
	for _, want := range []string{`tenement.toml:781:3: error: service.web.instances[777]: "Bad"`, `service.web.env.A=B: "A=B"`} {
		if !strings.Contains(got, want) {
			t.Errorf("not said: %s\n%s", want, got)
		}
	}
	if n := strings.Count(got, "error:"); n != 2 {
		t.Errorf("%d errors:\n%s", n, got)
	}
}

// TestBombs: CUE that never ends, or only grows, is an ordinary fault, soon.
func TestBombs(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("lets a child process run into its limits")
	}
	digits := "_d: [for i in [0,1,2,3,4,5,6,7,8,9] {i}]\n"
	nested := digits + "_x: [for a in _d for b in _d for c in _d for d in _d for e in _d for f in _d for g in _d {a*b*c*d*e*f*g}]\n"
	doubling := "_s0: \"" + strings.Repeat("x", 64) + "\"\n"
	for i := range 30 {
		doubling += fmt.Sprintf("_s%d: _s%d + _s%d\n", i+1, i, i)
	}
	deep := strings.Repeat("{a: ", 100_000) + "1" + strings.Repeat("}", 100_000)
	for name, c := range map[string]struct{ src, want string }{
		"time":           {nested + "service: web: command: \"\\(_x[0])\"\n", "it takes longer than 4s"},
		"memory":         {doubling + "service: web: command: _s30\n", "it "}, // on a slow machine time is over first
		"deep":           {"service: web: " + deep + "\n", "maximum nesting depth"},
		"unclosed":       {"service: web: " + strings.Repeat("[", 500_000), "maximum nesting depth"},
		"endless struct": {"#L: {n: #L}\nservice: web: #L\n", "structural cycle"},
		"large result":   {digits + "service: {for a in _d for b in _d for c in _d for d in _d for e in _d {\"s\\(a)\\(b)\\(c)\\(d)\\(e)\": command: \"x\"}}\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			start := time.Now()
			limit := 4 * time.Second
			if strings.HasPrefix(c.want, "maximum") || strings.HasPrefix(c.want, "structural") {
				limit = 30 * time.Second // CUE itself refuses it, at once where the machine is idle
			}
			l := load.New(load.Config{Eval: evalSelf, EvalTime: limit})
			tree := newTree(map[string]string{"tenement.toml": "[service.web]\ncommand = \"x\"\n", "bomb.cue": c.src})
			got := refused(t, l, tree)
			if took := time.Since(start); took > time.Minute {
				t.Errorf("took %v", took)
			}
			if !strings.Contains(got, "bomb.cue") || !strings.Contains(got, c.want) || len(got) > 1<<20 {
				t.Errorf("%.2000s", got)
			}
			t.Logf("%v: %.300s", time.Since(start).Round(time.Millisecond), got)
			tree.remove("bomb.cue")
			mustModel(t, l, tree, 1)
		})
	}
}

// TestBombInPolicy: the same when the policy is applied and not when it is read.
func TestBombInPolicy(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("lets a child process run into its limits")
	}
	l := load.New(load.Config{Eval: evalSelf, EvalTime: 4 * time.Second})
	got := refused(t, l, newTree(map[string]string{
		"tenement.toml": "[service.web]\ncommand = \"x\"\n",
		"policy.cue": `_d: [for i in [0,1,2,3,4,5,6,7,8,9] {i}]
#Service: {
	command: string
	health?: string
	if command != "" for a in _d for b in _d for c in _d for d in _d for e in _d for f in _d for g in _d {
		if a+b+c+d+e+f+g > 100 { health: "/\(a)" }
	}
}
`,
	}))
	if !strings.Contains(got, "policy.cue: error: the CUE of this repository can't be evaluated: it ") {
		t.Error(got)
	}
}

// TestWithoutEvaluator: CUE is refused where it can't be bounded.
func TestWithoutEvaluator(t *testing.T) {
	t.Parallel()
	got := refused(t, load.New(load.Config{}), newTree(map[string]string{"a.cue": "service: web: command: \"x\"\n"}))
	if !strings.HasPrefix(got, "a.cue: error: CUE files can't be evaluated here\n") {
		t.Error(got)
	}
}

// TestChildSeesNothing: neither the environment nor the files of the host reach
// what CUE evaluates to.
func TestChildSeesNothing(t *testing.T) {
	t.Parallel()
	m := mustLoad(t, map[string]string{"a.cue": "import \"tool/os\"\nservice: web: {command: \"x\", env: os.Environ}\n"})
	for name, value := range m.Services[0].Env {
		if os.Getenv(name) != "" || value == os.Getenv("PATH") {
			t.Errorf("the environment came through: %s=%s", name, value)
		}
	}
	for _, src := range []string{
		"@extern(embed)\npackage tenement\nservice: web: command: _ @embed(file=\"a.cue\",type=text)\n",
		"import \"tool/file\"\nservice: web: command: (file.Read & {filename: \"/etc/hostname\"}).contents\n",
		"import \"tool/exec\"\nservice: web: command: (exec.Run & {cmd: \"id\"}).stdout\n",
	} {
		got := refused(t, newLoader(), newTree(map[string]string{"a.cue": src}))
		if !strings.Contains(got, "a.cue:") {
			t.Error(got)
		}
	}
}

// TestChildThatCantStart is no fault of the repository.
func TestChildThatCantStart(t *testing.T) {
	t.Parallel()
	for name, eval := range map[string]string{"missing": "/nonexistent/ten", "other": "/bin/true"} {
		l := load.New(load.Config{Eval: command(eval)})
		model, problems, err := l.Load(t.Context(), newTree(map[string]string{"a.cue": "service: web: command: \"x\"\n"}))
		if err == nil || model != nil || problems != nil || !strings.Contains(err.Error(), "CUE") {
			t.Errorf("%s: model %v, problems %v, error %v", name, model, problems, err)
		}
		if name == "missing" && !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}
