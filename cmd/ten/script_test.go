package main

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

var update = flag.Bool("update", false, "rewrite what the scripts in testdata/script compare with")

// TestMain lets this test binary be ten (and hammer): in scripts, and wherever ten starts
// itself as argv[0] = "ten". Any other name runs the tests.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"ten": main, "hammer": hammer})
}

// TestScripts runs the real command line, end to end. -short leaves out scripts
// that say so with [short].
func TestScripts(t *testing.T) {
	t.Parallel()
	cmds := daemonCommands()
	cmds["wait-for"], cmds["free-port"] = waitFor, freePort
	maps.Copy(cmds, ciCommands())
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("..", "..", "testdata", "script"),
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		UpdateScripts:       *update,
		Setup:               isolate,
		Cmds:                cmds,
		Condition:           daemonCondition,
	})
}

// isolate gives a script a home and a git that know nothing of this machine.
func isolate(e *testscript.Env) error {
	home := filepath.Join(e.WorkDir, ".home")
	if err := os.MkdirAll(home, 0o755); err != nil {
		return err
	}
	examples, err := filepath.Abs(filepath.Join("..", "..", "docs", "ci"))
	if err != nil {
		return err
	}
	for key, value := range map[string]string{
		"CI_EXAMPLES":         examples,
		"HOME":                home,
		"GIT_CONFIG_GLOBAL":   os.DevNull,
		"GIT_CONFIG_NOSYSTEM": "1",
		"GIT_AUTHOR_NAME":     "Ana",
		"GIT_AUTHOR_EMAIL":    "ana@example.com",
		"GIT_COMMITTER_NAME":  "Ana",
		"GIT_COMMITTER_EMAIL": "ana@example.com",
		"DATA":                filepath.Join(e.WorkDir, "data"),
	} {
		e.Setenv(key, value)
	}
	e.Defer(func() { clean(e.WorkDir) })
	return nil
}

// scriptPatience bounds every wait of a script.
const scriptPatience = 30 * time.Second

// waitFor repeats a command until it succeeds and its standard output matches:
//
//	wait-for PATTERN COMMAND ARGS...
//
// The output of the last try is there for stdout and stderr to look at.
func waitFor(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: wait-for PATTERN COMMAND ARGS...")
	}
	pattern, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	for end := time.Now().Add(scriptPatience); ; {
		err := ts.Exec(args[1], args[2:]...)
		if err == nil && pattern.MatchString(ts.ReadFile("stdout")) {
			return
		}
		if time.Now().After(end) {
			ts.Fatalf("%v never matched %q within %s (last error: %v)", args[1:], args[0], scriptPatience, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// freePort sets variables to TCP ports of the loopback that nobody uses:
//
//	free-port NAME...
func freePort(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: free-port NAME...")
	}
	var open []net.Listener // kept until all are chosen, so that they differ
	defer func() {
		for _, l := range open {
			l.Close()
		}
	}()
	for _, name := range args {
		port, l, err := listenAnywhere()
		ts.Check(err)
		open = append(open, l)
		ts.Setenv(name, strconv.Itoa(port))
	}
}

func listenAnywhere() (int, net.Listener, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, nil, err
	}
	addr, ok := l.Addr().(*net.TCPAddr)
	if !ok {
		l.Close()
		return 0, nil, errors.New(fmt.Sprint("not a TCP address: ", l.Addr()))
	}
	return addr.Port, l, nil
}
