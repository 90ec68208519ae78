package probe

import (
	"bufio"
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Holder says who listens on a TCP port of this network namespace, with the
// lowest process id where several share it. ok is false when nobody does, and
// when it can't be told: another user's processes hide what they hold from all
// but root. It reads all of /proc; ask only about a port that is not Free.
func Holder(port int) (pid int, command string, ok bool) {
	sockets := listeners(port)
	if len(sockets) == 0 {
		return 0, "", false
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return 0, "", false
	}
	for _, e := range entries {
		n, err := strconv.Atoi(e.Name())
		if err != nil || !holds(n, sockets) || (ok && n > pid) {
			continue
		}
		pid, command, ok = n, commandOf(n), true
	}
	return pid, command, ok
}

// HeldBy reports whether process pid itself listens on a TCP port of this
// network namespace. Other than Holder it reads of one process only.
func HeldBy(port, pid int) bool {
	sockets := listeners(port)
	return len(sockets) > 0 && holds(pid, sockets)
}

// listeners returns the listening sockets of a port as /proc/PID/fd links show them.
func listeners(port int) map[string]bool {
	found := map[string]bool{}
	for _, table := range []string{"/proc/self/net/tcp", "/proc/self/net/tcp6"} {
		f, err := os.Open(table)
		if err != nil {
			continue
		}
		lines := bufio.NewScanner(f)
		want := fmt.Appendf(nil, ":%04X ", port)
		for lines.Scan() {
			if !bytes.Contains(lines.Bytes(), want) {
				continue
			}
			// sl local_address rem_address st queues tr retrnsmt uid timeout inode
			col := strings.Fields(lines.Text())
			const listen = "0A"
			if len(col) > 9 && col[3] == listen && strings.HasSuffix(col[1], string(bytes.TrimSpace(want))) {
				found["socket:["+col[9]+"]"] = true
			}
		}
		f.Close()
	}
	return found
}

func holds(pid int, sockets map[string]bool) bool {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	fds, err := os.ReadDir(dir)
	if err != nil {
		return false
	}
	for _, fd := range fds {
		if fd.Type()&fs.ModeSymlink == 0 {
			continue
		}
		link, err := os.Readlink(filepath.Join(dir, fd.Name()))
		if err == nil && sockets[link] {
			return true
		}
	}
	return false
}

// commandOf gives the command line of a process, its name where there is none.
func commandOf(pid int) string {
	line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if len(line) == 0 {
		line, _ = os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	}
	const longest = 120
	text := strings.TrimSpace(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(string(line), "?")))
	if len(text) > longest {
		text = strings.ToValidUTF8(text[:longest], "") + "..."
	}
	return text
}

// ephemeral is the range of ports that the kernel gives to outgoing connections.
func ephemeral() (from, to int) {
	data, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err != nil {
		return 32768, 60999
	}
	if _, err := fmt.Sscan(string(data), &from, &to); err != nil {
		return 32768, 60999
	}
	return from, to
}
