package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
	"go.yaml.in/yaml/v4"
)

// ciCommands run what docs/ci tells people to copy, so that it can't rot.
func ciCommands() map[string]func(*testscript.TestScript, bool, []string) {
	return map[string]func(*testscript.TestScript, bool, []string){
		"ci-steps": ciSteps,
		"ci-hook":  ciHook,
	}
}

// step is one command line of an example, with its own environment.
type step struct {
	Run string
	Env map[string]string
}

// ciSteps runs all steps of an example in the current directory, as the CI would:
//
//	ci-steps FILE           every step succeeds
//	! ci-steps FILE STEP    the first one to fail is the one that begins so
//
// What is posted to a merge request comes to the file note.
func ciSteps(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) == 0 || neg != (len(args) == 2) {
		ts.Fatalf("usage: ci-steps FILE, or ! ci-steps FILE STEP")
	}
	ts.Check(os.MkdirAll(filepath.Join(ts.Getenv("WORK"), "tmp"), 0o755))
	var posted string
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(io.LimitReader(r.Body, 1<<20))
		posted = r.Method + " " + r.URL.Path + " " + r.Header.Get("PRIVATE-TOKEN") + "\n" + string(body)
	}))
	defer server.Close()
	env := map[string]string{
		"CI_API_V4_URL": server.URL + "/api/v4", "CI_PROJECT_ID": "5", "CI_MERGE_REQUEST_IID": "7", "TEN_COMMENT_TOKEN": "secret",
		"RUNNER_TEMP": filepath.Join(ts.Getenv("WORK"), "tmp"),
	}
	failed := ""
	for _, s := range readSteps(ts, filepath.Join("..", "..", "docs", "ci", args[0])) {
		if installs(ts, s.Run) {
			continue
		}
		if err := runStep(ts, s, env); err != nil {
			ts.Logf("%s: %v", s.Run, err)
			failed = s.Run
			break
		}
	}
	switch {
	case neg && (failed == "" || !strings.HasPrefix(failed, args[1])):
		ts.Fatalf("the step that failed is %q, want %q", failed, args[1])
	case !neg && failed != "":
		ts.Fatalf("step %q failed", failed)
	}
	ts.Check(os.WriteFile(filepath.Join(ts.Getenv("WORK"), "note"), []byte(posted), 0o644))
}

func runStep(ts *testscript.TestScript, s step, env map[string]string) error {
	words := []string{}
	for k, v := range env {
		words = append(words, k+"="+v)
	}
	for k, v := range s.Env {
		words = append(words, k+"="+expressions(v))
	}
	return ts.Exec("env", append(words, "sh", "-e", "-c", s.Run)...)
}

var expression = regexp.MustCompile(`\$\{\{\s*([a-z_.A-Z]+)\s*\}\}`)

// expressions fills in what GitHub would.
func expressions(text string) string {
	known := map[string]string{"github.token": "secret", "github.event.pull_request.number": "7"}
	return expression.ReplaceAllStringFunc(text, func(e string) string { return known[expression.FindStringSubmatch(e)[1]] })
}

// readSteps finds the command lines of a workflow or a pipeline.
func readSteps(ts *testscript.TestScript, file string) []step {
	data, err := os.ReadFile(file)
	ts.Check(err)
	var github struct {
		Jobs map[string]struct{ Steps []step }
	}
	ts.Check(yaml.Unmarshal(data, &github))
	var steps []step
	for _, job := range github.Jobs {
		for _, s := range job.Steps {
			if s.Run != "" {
				steps = append(steps, s)
			}
		}
	}
	if steps == nil {
		var gitlab map[string]struct{ Script []string }
		ts.Check(yaml.Unmarshal(data, &gitlab))
		for _, job := range gitlab {
			for _, line := range job.Script {
				steps = append(steps, step{Run: line})
			}
		}
	}
	if len(steps) < 4 {
		ts.Fatalf("%s: only %d steps found", file, len(steps))
	}
	return steps
}

// installs reports whether a step installs ten, which is a package of this module.
func installs(ts *testscript.TestScript, line string) bool {
	name, ok := strings.CutPrefix(line, "go install ")
	if !ok {
		return false
	}
	mod, err := os.ReadFile(filepath.Join("..", "..", "go.mod"))
	ts.Check(err)
	first, _, _ := strings.Cut(string(mod), "\n")
	module := strings.TrimPrefix(first, "module ")
	pkg, version, _ := strings.Cut(name, "@")
	dir, inside := strings.CutPrefix(pkg, module+"/")
	if info, err := os.Stat(filepath.Join("..", "..", dir)); !inside || version == "" || err != nil || !info.IsDir() {
		ts.Fatalf("%s: there is no such package", line)
	}
	return true
}

// ciHook runs a hook of .pre-commit-hooks.yaml in the current directory, over the
// files that git knows, as the pre-commit tool does:
//
//	[!] ci-hook ID ARGS...
func ciHook(ts *testscript.TestScript, neg bool, args []string) {
	data, err := os.ReadFile(filepath.Join("..", "..", ".pre-commit-hooks.yaml"))
	ts.Check(err)
	var hooks []struct {
		ID, Entry, Language, Files string
		PassFilenames              *bool `yaml:"pass_filenames"`
	}
	ts.Check(yaml.Unmarshal(data, &hooks))
	for _, h := range hooks {
		if len(args) == 0 || h.ID != args[0] {
			continue
		}
		if h.Language != "golang" {
			ts.Fatalf("language %q: want golang", h.Language)
		}
		words := append(strings.Fields(h.Entry), args[1:]...)
		if h.PassFilenames == nil || *h.PassFilenames {
			words = append(words, tracked(ts, regexp.MustCompile(h.Files))...)
		}
		if err := ts.Exec(words[0], words[1:]...); (err != nil) != neg {
			ts.Fatalf("%q: %v", words, err)
		}
		return
	}
	ts.Fatalf("no hook %q", args)
}

func tracked(ts *testscript.TestScript, files *regexp.Regexp) []string {
	cmd := exec.Command("git", "ls-files")
	cmd.Dir = ts.MkAbs(".")
	cmd.Env = []string{"PATH=" + ts.Getenv("PATH"), "HOME=" + ts.Getenv("HOME"), "GIT_CONFIG_GLOBAL=" + os.DevNull}
	out, err := cmd.Output()
	ts.Check(err)
	var found []string
	for _, name := range strings.Fields(string(out)) {
		if files.MatchString(name) {
			found = append(found, name)
		}
	}
	if len(found) == 0 {
		ts.Fatalf("the hook's files match none of %s", out)
	}
	return found
}
