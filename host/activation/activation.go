// Package activation speaks with the service manager that started the daemon:
// it takes the listening sockets that were passed, hands new ones over to be
// kept while the daemon is replaced, and says how the daemon is. Where there is
// no service manager it does nothing.
package activation

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path"
	"strconv"
	"strings"
	"sync"
	"time"
)

// firstFD is where passed files begin.
const firstFD = 3

// Manager is the service manager. Make it with New.
type Manager struct {
	notify   string        // address of its socket; "" = there is none
	watchdog time.Duration // how often it wants to hear; 0 = never
	group    string        // the control groups of this process

	mu     sync.Mutex
	passed map[string][]net.Listener // by name, not yet taken
}

// New takes what the manager passed out of the environment, which getenv and pid
// give. Files that are no listeners are closed. Call it once, before anything
// else opens files; unset is told the variables that no child may inherit.
func New(getenv func(string) string, pid int, unset func(string) error) (*Manager, error) {
	m := &Manager{notify: getenv("NOTIFY_SOCKET"), passed: map[string][]net.Listener{}}
	if groups, err := os.ReadFile("/proc/self/cgroup"); err == nil {
		m.group = string(groups)
	}
	if usec, err := strconv.ParseInt(getenv("WATCHDOG_USEC"), 10, 64); err == nil && (getenv("WATCHDOG_PID") == "" || getenv("WATCHDOG_PID") == strconv.Itoa(pid)) {
		m.watchdog = time.Duration(usec) * time.Microsecond
	}
	count, _ := strconv.Atoi(getenv("LISTEN_FDS"))
	mine := getenv("LISTEN_PID") == strconv.Itoa(pid)
	names := strings.Split(getenv("LISTEN_FDNAMES"), ":")
	for _, name := range []string{"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"} {
		if err := unset(name); err != nil {
			return nil, err
		}
	}
	if !mine {
		return m, nil
	}
	for i := range count {
		name := ""
		if i < len(names) {
			name = names[i]
		}
		f := os.NewFile(uintptr(firstFD+i), name)
		l, err := net.FileListener(f) // a copy of the file, closed on exec
		f.Close()
		if err != nil {
			continue
		}
		m.passed[name] = append(m.passed[name], l)
	}
	return m, nil
}

// Take gives a passed listener of a name, on a port where one is given, or nil.
// It is the caller's from then on.
func (m *Manager) Take(name string, port int) net.Listener {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, l := range m.passed[name] {
		if a, ok := l.Addr().(*net.TCPAddr); port == 0 || ok && a.Port == port {
			m.passed[name] = append(m.passed[name][:i:i], m.passed[name][i+1:]...)
			return l
		}
	}
	return nil
}

// CloseRest closes what was passed and nobody took.
func (m *Manager) CloseRest() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, list := range m.passed {
		for _, l := range list {
			l.Close()
		}
	}
	m.passed = map[string][]net.Listener{}
}

// Store hands a copy of a listener to the manager, which passes it to the next
// daemon under the name; connections queue there meanwhile.
func (m *Manager) Store(name string, l net.Listener) error {
	if m.notify == "" {
		return nil
	}
	file, ok := l.(interface{ File() (*os.File, error) })
	if !ok {
		return fmt.Errorf("keep listener %s: %T has no file", name, l)
	}
	f, err := file.File()
	if err != nil {
		return fmt.Errorf("keep listener %s: %w", name, err)
	}
	defer f.Close()
	return m.send("FDSTORE=1\nFDNAME="+name, f)
}

// Forget takes all listeners of a name out of the manager's store.
func (m *Manager) Forget(name string) error {
	return m.send("FDSTOREREMOVE=1\nFDNAME="+name, nil)
}

// Ready says that the daemon is up.
func (m *Manager) Ready(status string) error { return m.send("READY=1\nSTATUS="+status, nil) }

// Stopping says that the daemon is on its way out.
func (m *Manager) Stopping() error { return m.send("STOPPING=1", nil) }

// retirePatience is how long the manager may take to hear that.
const retirePatience = 20 * time.Second

// Retire has the manager stop the unit that this process is the main one of, and
// the sockets that would start it again for the next who connects. It returns when
// the manager has taken note of that, which may end ctx.
func (m *Manager) Retire(ctx context.Context) error {
	unit := unitOf(m.group)
	if m.notify == "" || unit == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), retirePatience)
	defer cancel()
	sockets, err := systemctl(ctx, "show", "--property=TriggeredBy", "--value", unit)
	if err != nil {
		return err
	}
	_, err = systemctl(ctx, append([]string{"stop", "--no-block"}, append(strings.Fields(sockets), unit)...)...) // this process ends with the last
	return err
}

// HostEnds reports whether the whole host is on its way down.
func (m *Manager) HostEnds(ctx context.Context) bool {
	if m.notify == "" || unitOf(m.group) == "" {
		return false
	}
	state, _ := systemctl(ctx, "is-system-running") // which fails while it says anything but "running"
	return strings.TrimSpace(state) == "stopping"
}

func systemctl(ctx context.Context, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, "systemctl", args...).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("systemctl %s: %w: %s", args[0], err, strings.TrimSpace(string(out)))
	}
	return string(out), err
}

// unitOf gives the service of systemd's that a control group belongs to, or "".
func unitOf(cgroups string) string {
	for line := range strings.Lines(cgroups) {
		if unit := path.Base(strings.TrimSpace(line)); strings.HasSuffix(unit, ".service") {
			return unit
		}
	}
	return ""
}

// Watch tells the manager that the daemon is alive for as long as alive says so,
// until ctx ends.
func (m *Manager) Watch(ctx context.Context, alive func(context.Context) bool) error {
	if m.watchdog == 0 {
		return nil
	}
	tick := time.NewTicker(m.watchdog / 2)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if !alive(ctx) {
				continue
			}
			if err := m.send("WATCHDOG=1", nil); err != nil {
				return err
			}
		}
	}
}

// send writes one message to the manager, with a file where one is given.
func (m *Manager) send(text string, f *os.File) error {
	if m.notify == "" {
		return nil
	}
	// A name that begins with @ is one of Linux's, which Go reads the same way.
	to := &net.UnixAddr{Name: m.notify, Net: "unixgram"}
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("tell the service manager: %w", err)
	}
	defer conn.Close()
	var rights []byte
	if f != nil {
		rights = rightsOf(f)
	}
	if _, _, err := conn.WriteMsgUnix([]byte(text), rights, to); err != nil {
		return fmt.Errorf("tell the service manager: %w", err)
	}
	return nil
}
