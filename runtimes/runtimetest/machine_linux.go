package runtimetest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/tenement/ten/runtimes"
)

// Machine looks behind the interface of a level that runs native programs: at
// processes, environments, files, pipes, mounts and groups, and at what remains
// of them.
func Machine(t *testing.T, level runtimes.Level, open Open) {
	cases := []struct {
		name string
		test func(*bench)
	}{
		{"environment_is_exact", environmentIsExact},
		{"only_three_files_and_clean_signals", cleanState},
		{"signals_end_it_as_they_should", endedBySignals},
		{"stop_signal_is_the_chosen_one", stopSignalChosen},
		{"what_it_started_dies_with_it", familyDies},
		{"what_it_started_dies_on_stop", familyStopped},
		{"init_killed_ends_it", initKilled},
		{"crash_is_noticed_at_once", crashNoticed},
		{"start_errors_say_what_to_do", startErrors},
		{"program_just_written_is_waited_for", justWritten},
		{"output_is_whole_and_ends", outputWhole},
		{"output_waits_for_a_reader", outputWaits},
		{"output_survives_the_end", outputAfterEnd},
		{"killed_daemon_is_not_missed", killedDaemon},
		{"daemon_killed_at_any_moment", churn},
		{"broken_record_is_not_nothing", brokenRecord},
		{"other_boot_is_the_past", otherBoot},
		{"threads_forks_and_languages_run", languages},
		{"neighbours_secret", neighboursSecret},
		{"memory_limit_is_enforced", memoryLimit},
		{"limits_change_in_place", limitsChange},
		{"network_none_is_alone", networkNone},
		{"dial_reaches_inside", dialInside},
		{"dial_follows_no_link_out", dialFollowsNoLink},
		{"deserted_socket_makes_room", desertedSocket},
		{"listening_socket_queues", listenQueues},
		{"listening_socket_refused", listenErrors},
		{"listening_socket_is_the_one_file_more", listenFiles},
		{"listening_socket_in_languages", listenLanguages},
		{"frozen_stands_still", frozenStandsStill},
		{"frozen_outlives_its_daemon", frozenOutlivesDaemon},
		{"frozen_is_stopped", frozenIsStopped},
		{"frozen_and_killed_is_seen", frozenIsKilled},
		{"frozen_still_queues", frozenStillQueues},
		{"frozen_keeps_its_limits", frozenKeepsLimits},
		{"init_is_small", initIsSmall},
		{"nothing_is_left", nothingLeft},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.test(newBench(t, open, level))
		})
	}
}

// Unprivileged runs tests of this test binary again as a user who may do
// nothing special. It is skipped for one who cannot become another user.
func Unprivileged(t *testing.T, tests ...string) {
	if os.Getenv(envUser) != "" {
		t.Skip("this is the unprivileged run")
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root to become somebody else; as an ordinary user the other tests prove the same")
	}
	if testing.Short() {
		tests = tests[:1]
	}
	program, err := Init()
	if err != nil {
		t.Fatal(err)
	}
	const nobody = 65534
	dir, err := os.MkdirTemp("", "ten-nobody-") // t.TempDir's parents are closed to others
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	initPath := filepath.Join(dir, "ten-init")
	for _, step := range []error{
		os.Chmod(dir, 0o755),
		os.WriteFile(initPath, program, 0o755),
		os.Mkdir(filepath.Join(dir, "tmp"), 0o700),
		os.Chown(filepath.Join(dir, "tmp"), nobody, nobody),
	} {
		if step != nil {
			t.Fatal(step)
		}
	}
	cmd := exec.Command("/proc/self/exe", "-test.v", "-test.short", "-test.run", "^("+strings.Join(tests, "|")+")$")
	cmd.Dir = "/"
	cmd.Env = []string{envUser + "=1", envInit + "=" + initPath, "TMPDIR=" + filepath.Join(dir, "tmp"), "PATH=/usr/bin:/bin", "HOME=/nonexistent"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("\n--- PASS: "+tests[0])) {
		var said strings.Builder
		for line := range strings.Lines(string(out)) {
			if !strings.HasPrefix(line, "=== RUN") && !strings.HasPrefix(line, "=== PAUSE") && !strings.Contains(line, "--- PASS") {
				said.WriteString(line)
			}
		}
		t.Errorf("as uid %d: %v\n%s", nobody, err, said.String())
	}
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, "--- SKIP") {
			t.Logf("as uid %d: %s", nobody, strings.TrimSpace(line))
		}
	}
}

var markers atomic.Uint64

// marker gives an argument for sleep that no other process has, by which the
// test finds processes wherever they have gone.
func marker() string {
	return fmt.Sprintf("10%06d.%06d", os.Getpid()%1000000, markers.Add(1))
}

// marked lists the processes with a marker in their command line.
func marked(marker string) []int {
	var found []int
	paths, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err == nil && bytes.Contains(b, []byte(marker)) {
			pid, _ := strconv.Atoi(strings.Split(path, "/")[2])
			found = append(found, pid)
		}
	}
	return found
}

// shell is a spec that runs a script in the data directory.
func (b *bench) shell(script string) runtimes.Spec { return b.spec("/bin/sh", "-c", script) }

// output reads a file the instance made, once it is complete: scripts write
// NAME.new and rename it.
func (b *bench) made(name string) string {
	b.Helper()
	var content []byte
	b.eventually("the instance made "+name, func() bool {
		var err error
		content, err = os.ReadFile(filepath.Join(b.data, name))
		return err == nil
	})
	return string(content)
}

// startDaemon runs a second process that starts the specs, and returns it with
// the pids it reported.
func (b *bench) startDaemon(churn bool, specs ...runtimes.Spec) *exec.Cmd {
	b.Helper()
	program, err := Init()
	if err != nil {
		b.Fatal(err)
	}
	initPath := filepath.Join(filepath.Dir(b.data), "ten-init")
	if err := os.WriteFile(initPath, program, 0o755); err != nil {
		b.Fatal(err)
	}
	list, err := json.Marshal(specs)
	if err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), envDaemon+"="+b.dir, envSpecs+"="+string(list), envInit+"="+initPath)
	if churn {
		cmd.Env = append(cmd.Env, envChurn+"=1")
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { cmd.Process.Kill() })
	want := len(specs)
	if churn {
		want = 1
	}
	line := make([]byte, 256)
	for seen := 0; seen < want; {
		n, err := out.Read(line)
		if err != nil {
			b.Fatalf("the daemon ended: %v", err)
		}
		if !bytes.HasPrefix(line[:n], []byte("started")) {
			b.Fatalf("the daemon says %s", line[:n])
		}
		seen += bytes.Count(line[:n], []byte("\n"))
	}
	go func() { // keep its pipe from filling
		for {
			if _, err := out.Read(line); err != nil {
				return
			}
		}
	}()
	return cmd
}

// killDaemon is the kill -9 that instances must not notice.
func (b *bench) killDaemon(cmd *exec.Cmd) {
	b.Helper()
	if err := cmd.Process.Kill(); err != nil {
		b.Fatal(err)
	}
	cmd.Wait()
}
