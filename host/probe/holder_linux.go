package probe

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Holder says who listens on a TCP port of this network namespace, with the
// lowest process id where several share it. ok is false when nobody does, and
// when it can't be told: another user's processes hide what they hold from all
// but root. It reads all of /proc; ask only about a port that is not Free.
func Holder(port int) (pid int, command string, ok bool) {
	for _, pids := range holders(listeners(port)) {
		if !ok || pids[0] < pid {
			pid, ok = pids[0], true
		}
	}
	if !ok {
		return 0, "", false
	}
	return pid, commandOf(pid), true
}

// Stranger reports whether somebody other than the program pid, and what it
// started, listens on a TCP port of this network namespace: a connection to the
// port would reach the wrong program. It is true only where that is sure: the
// listener lives in another pid namespace, or is older than the program. Ask
// once, when an instance first answers; it is cheap when pid itself listens and
// otherwise reads all of /proc.
func Stranger(port, pid int) (holder int, command string, yes bool) {
	sockets := listeners(port)
	for _, link := range held(pid, sockets) {
		delete(sockets, link)
	}
	if len(sockets) == 0 {
		return 0, "", false
	}
	for _, pids := range holders(sockets) {
		ours := slices.ContainsFunc(pids, func(h int) bool { return !foreign(h, pid) })
		if !ours && (!yes || pids[0] < holder) {
			holder, yes = pids[0], true
		}
	}
	if !yes {
		return 0, "", false
	}
	return holder, commandOf(holder), true
}

// foreign reports whether process h surely is no descendant of process pid.
func foreign(h, pid int) bool {
	if h == pid {
		return false
	}
	its, err1 := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", h))
	mine, err2 := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", pid))
	if err1 == nil && err2 == nil && its != mine {
		return true
	}
	older, ok1 := startOf(h)
	young, ok2 := startOf(pid)
	return ok1 && ok2 && older < young
}

// startOf is when a process began, in clock ticks since boot.
func startOf(pid int) (ticks uint64, ok bool) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, false
	}
	_, rest, _ := strings.Cut(string(stat[max(0, bytes.LastIndexByte(stat, ')')):]), " ")
	const starttime = 22 - 3 // rest begins with the third field
	col := strings.Fields(rest)
	if len(col) <= starttime {
		return 0, false
	}
	ticks, err = strconv.ParseUint(col[starttime], 10, 64)
	return ticks, err == nil
}

// holders finds the processes that have sockets open, in ascending order.
func holders(sockets map[string]bool) map[string][]int {
	found := map[string][]int{}
	if len(sockets) == 0 {
		return found
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return found
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		for _, link := range held(pid, sockets) {
			found[link] = append(found[link], pid)
		}
	}
	for _, pids := range found {
		slices.Sort(pids)
	}
	return found
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

// held returns which of the sockets a process has open.
func held(pid int, sockets map[string]bool) []string {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	fds, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	var found []string
	for _, fd := range fds {
		link, err := os.Readlink(filepath.Join(dir, fd.Name()))
		if err == nil && sockets[link] && !slices.Contains(found, link) {
			found = append(found, link)
		}
	}
	return found
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
