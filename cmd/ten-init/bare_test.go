package main_test

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
)

// allowed are calls into the runtime that need nothing that only a started
// runtime has. Those that end the process may be called from anywhere; those of
// write barriers are behind a switch that only the collector turns on.
var allowed = regexp.MustCompile(`^runtime\.(memmove|memclrNoHeapPointers|memequal|duffcopy|duffzero|panic[A-Z]\w*|panicunsafe\w*|gcWriteBarrier\d|wbMove|wbZero|morestack\w*)(\.abi0)?$`)

// TestBare looks through the machine code of init for calls that would need the
// Go runtime to have been started: allocation, maps, interfaces, goroutines.
func TestBare(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("builds two programs")
	}
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("no Go toolchain")
	}
	for _, arch := range []string{"amd64", "arm64"} {
		t.Run(arch, func(t *testing.T) {
			t.Parallel()
			program := filepath.Join(t.TempDir(), "ten-init")
			build := exec.Command("go", "build", "-ldflags", "-E main.entry", "-o", program, ".")
			build.Env = append(build.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch)
			if msg, err := build.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, msg)
			}
			code, err := exec.Command("go", "tool", "objdump", "-s", `^main\.|/launch/wire\.`, program).Output()
			if err != nil {
				t.Fatal(err)
			}
			calls := regexp.MustCompile(`\s(?:CALL|JMP|B|BL) (runtime\.[^\s(]+)\(SB\)`).FindAllSubmatch(code, -1)
			for _, call := range calls {
				if !allowed.Match(call[1]) {
					t.Errorf("init calls %s, which needs a runtime", call[1])
				}
			}
			if len(calls) == 0 || !bytes.Contains(code, []byte("TEXT main.entry(SB)")) {
				t.Error("the listing is not that of init")
			}
		})
	}
}

// TestLonely starts init without a launcher behind it. It must leave at once
// and quietly, whatever its socket is.
func TestLonely(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("needs Linux")
	}
	flags := "-s -w"
	if runtime.GOARCH == "amd64" || runtime.GOARCH == "arm64" {
		flags += " -E main.entry"
	}
	program := filepath.Join(t.TempDir(), "ten-init")
	build := exec.Command("go", "build", "-ldflags", flags, "-o", program, ".")
	build.Env = append(build.Environ(), "CGO_ENABLED=0")
	if msg, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, msg)
	}
	for name, redirect := range map[string]string{
		"no socket":      "3<&-",
		"an empty one":   "3</dev/null",
		"endless zeroes": "3</dev/zero",
	} {
		var out strings.Builder
		cmd := exec.Command("/bin/sh", "-c", "exec "+program+" "+redirect)
		cmd.Stdout, cmd.Stderr = &out, &out
		err := cmd.Run()
		if code := cmd.ProcessState.ExitCode(); err == nil || code != 1 || out.Len() != 0 {
			t.Errorf("%s: exit %d (%v), said %q; want a silent 1", name, code, err, out.String())
		}
	}
}
