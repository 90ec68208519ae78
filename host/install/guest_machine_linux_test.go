package install_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// guest is the emulated machine, as seen from inside.
type guest struct {
	*testing.T
}

// inGuest skips a test that is not for this machine.
func inGuest(t *testing.T) guest {
	if os.Getenv("TEN_IN_GUEST") == "" {
		t.Skip("this runs in the guest of make test-systemd")
	}
	return guest{t}
}

// diagnose shows what the machine says of a failure.
func diagnose(g guest) {
	if !g.Failed() {
		return
	}
	for _, line := range []string{"systemctl status --no-pager -n 0 tenement*", "journalctl -b --no-pager -n 40 -u tenement.service", "ten status", "ten ps -a"} {
		f := strings.Fields(line)
		out, err := exec.Command(f[0], f[1:]...).CombinedOutput()
		g.Logf("%s: %v\n%s", line, err, out)
	}
}

// must runs a command that has to succeed, and gives what it printed.
func (g guest) must(name string, args ...string) string {
	g.Helper()
	cmd := exec.Command(name, args...)
	var said strings.Builder
	cmd.Stderr = &said
	began := time.Now()
	out, err := cmd.Output()
	g.Logf("%.1f s for %s %s", time.Since(began).Seconds(), name, strings.Join(args, " "))
	if err != nil {
		g.Fatalf("%s %s: %v\n%s%s", name, strings.Join(args, " "), err, out, said.String())
	}
	return string(out)
}

// steps is must, and tells when each line was printed.
func (g guest) steps(name string, args ...string) string {
	g.Helper()
	cmd := exec.Command(name, args...)
	cmd.Stderr = g.Output()
	out, err := cmd.StdoutPipe()
	if err != nil {
		g.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		g.Fatal(err)
	}
	var all strings.Builder
	began := time.Now()
	for lines := bufio.NewScanner(out); lines.Scan(); {
		g.Logf("%5.1f %s", time.Since(began).Seconds(), lines.Text())
		all.WriteString(lines.Text() + "\n")
	}
	if err := cmd.Wait(); err != nil {
		g.Fatalf("%s %s: %v", name, strings.Join(args, " "), err)
	}
	return all.String()
}

// until waits for something that is to come true.
func (g guest) until(what string, so func() error) {
	g.Helper()
	end := time.Now().Add(3 * time.Minute)
	for {
		err := so()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			g.Fatalf("%s: %v", what, err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// get asks the router for a host name, on a connection of its own.
func get(host string) error {
	client := http.Client{Timeout: 60 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	r, err := http.NewRequest("GET", "http://127.0.0.1/", nil)
	if err != nil {
		return err
	}
	r.Host = host
	answer, err := client.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	service, _, _ := strings.Cut(host, ".")
	if err == nil && (answer.StatusCode != 200 || string(text) != service+" ok\n") {
		err = fmt.Errorf("%s answers %s %q", host, answer.Status, text)
	}
	return err
}

// instance is what ten ps says of one.
type instance struct {
	Service, ID, Phase, Health string
	Pid                        int
}

// instances asks ten which there are, by name.
func (g guest) instances() map[string]instance {
	g.Helper()
	var list struct{ Instances []instance }
	if err := json.Unmarshal([]byte(g.must("ten", "ps", "-a", "--json")), &list); err != nil {
		g.Fatal(err)
	}
	m := map[string]instance{}
	for _, in := range list.Instances {
		m[in.Service+":"+in.ID] = in
	}
	return m
}

// pids are those of the instances that never sleep.
func (g guest) pids() map[string]int {
	g.Helper()
	m := map[string]int{}
	for name, in := range g.instances() {
		if in.Service != "stopped" && in.Service != "frozen" {
			m[name] = in.Pid
		}
	}
	if len(m) != 5 {
		g.Fatalf("instances %v, want 5", m)
	}
	return m
}

// mainPid is the daemon's.
func (g guest) mainPid() int {
	g.Helper()
	pid, err := strconv.Atoi(strings.TrimSpace(g.must("systemctl", "show", "-P", "MainPID", "tenement.service")))
	if err != nil {
		g.Fatal(err)
	}
	return pid
}

// asking asks without a pause until it is told to stop: requests through the
// router, and the state of the host. Each that fails is an error.
func (g guest) asking() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	asked := map[string]int{}
	for _, service := range []string{"plain", "walled"} {
		group.Go(func() {
			for ctx.Err() == nil {
				if err := get(service + ".example.com"); err != nil {
					g.Errorf("request %d: %v", asked[service], err)
					return
				}
				time.Sleep(20 * time.Millisecond)
			}
		})
	}
	return func() { cancel(); group.Wait() }
}

// same waits until another daemon is in charge of the same instances.
func (g guest) same(before map[string]int, daemon int) {
	g.Helper()
	g.until("another daemon", func() error {
		if pid := g.mainPid(); pid == 0 || pid == daemon {
			return fmt.Errorf("the daemon's pid is %d, and was %d", pid, daemon)
		}
		if out, err := exec.Command("ten", "status").CombinedOutput(); err != nil || !strings.Contains(string(out), "in-sync") {
			return fmt.Errorf("%v: %s", err, out)
		}
		return nil
	})
	for name, pid := range g.pids() {
		if before[name] != pid {
			g.Errorf("%s: pid %d, was %d", name, pid, before[name])
		}
	}
}

// read gives what a file says.
func (g guest) read(path string) string {
	g.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		g.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}

// asleep waits until an instance sleeps, and gives its pid.
func (g guest) asleep(name string) (pid int) {
	g.Helper()
	g.until(name+" sleeps", func() error {
		in := g.instances()[name]
		if in.Phase != "sleeping" {
			return fmt.Errorf("it is %s", in.Phase)
		}
		pid = in.Pid
		return nil
	})
	return pid
}

// number finds a value in what the kernel says of a process.
func number(status, name string) int {
	for line := range strings.Lines(status) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == name+":" {
			n, _ := strconv.Atoi(f[1])
			return n
		}
	}
	return -1
}
