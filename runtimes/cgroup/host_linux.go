package cgroup

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/tenement/ten/runtimes"
)

// Host is what the machine offers: where its hierarchies are mounted and where
// in the unified one new groups may be made.
type Host struct {
	// Unified is the directory of the v2 tree below which groups are made; ""
	// when there is none, or none that this process may write to.
	Unified string
	// Why says why Unified is empty.
	Why string
	// V1 maps the names of controllers to the mount points of their v1 trees.
	V1 map[string]string
	// Freezer is the mount point of the v1 tree that freezes, if there is one.
	Freezer string
}

// FindHost reads the mounts and the place of this process among the groups.
func FindHost() (*Host, error) {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	h, unified := parseMounts(mounts)
	h.settle(unified, ownGroup(own), os.Geteuid() == 0)
	return h, nil
}

// parseMounts finds the mount points of the hierarchies.
func parseMounts(mountinfo []byte) (h *Host, unified string) {
	h = &Host{V1: map[string]string{}}
	for s := bufio.NewScanner(bytes.NewReader(mountinfo)); s.Scan(); {
		// 26 20 0:22 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
		left, right, ok := strings.Cut(s.Text(), " - ")
		f, g := strings.Fields(left), strings.Fields(right)
		if !ok || len(f) < 5 || len(g) < 3 {
			continue
		}
		switch g[0] {
		case "cgroup2":
			unified = f[4]
		case "cgroup":
			for _, name := range strings.Split(g[2], ",") {
				switch name {
				case "memory", "cpu":
					h.V1[name] = f[4]
				case "freezer":
					h.Freezer = f[4]
				}
			}
		}
	}
	return h, unified
}

// ownGroup is the path of this process in the unified tree.
func ownGroup(cgroup []byte) string {
	for s := bufio.NewScanner(bytes.NewReader(cgroup)); s.Scan(); {
		if path, ok := strings.CutPrefix(s.Text(), "0::"); ok {
			return path
		}
	}
	return ""
}

// settle chooses where in the unified tree groups are made. Root makes them at
// the top, so that stopping the daemon's own unit does not reach them. Anybody
// else needs a part of the tree that was given away: the group above its own,
// where processes may not be, or its own.
func (h *Host) settle(unified, own string, root bool) {
	if unified == "" {
		h.Why = "no cgroup v2 tree is mounted"
		return
	}
	candidates := []string{unified}
	if !root {
		self := filepath.Join(unified, own)
		candidates = []string{filepath.Dir(self), self}
	}
	for _, dir := range candidates {
		if within(dir, unified) && unix.Access(dir, unix.W_OK) == nil && unix.Access(dir+"/cgroup.procs", unix.W_OK) == nil {
			h.Unified = dir
			return
		}
	}
	h.Why = "this user may not make groups in " + candidates[len(candidates)-1]
}

func within(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}

// Mode names what the host has: "v2", "hybrid", "v1" or "none".
func (h *Host) Mode() string {
	switch {
	case h.Unified != "" && len(h.V1) == 0:
		return "v2"
	case h.Unified != "":
		return "hybrid"
	case len(h.V1) > 0:
		return "v1"
	}
	return "none"
}

// limit is one kind of limit: the controller it needs and the files it is
// written to.
type limit struct {
	name       string // as in the config
	controller string
	v2, v1     func(n uint32) []setting
}

// setting is a value for a file of a group; optional ones may be missing from
// the kernel.
type setting struct {
	file, value string
	optional    bool
}

var memory = limit{
	name:       "memory_limit_mb",
	controller: "memory",
	// Swap would turn a memory limit into slowness without an end.
	v2: func(n uint32) []setting {
		if n == 0 {
			return []setting{{file: "memory.max", value: "max"}, {file: "memory.swap.max", value: "max", optional: true}}
		}
		return []setting{{file: "memory.max", value: bytesOf(n)}, {file: "memory.swap.max", value: "0", optional: true}}
	},
	// Memory and swap together may not be below memory, so one is lifted before
	// the other moves.
	v1: func(n uint32) []setting {
		lift := setting{file: "memory.memsw.limit_in_bytes", value: "-1", optional: true}
		if n == 0 {
			return []setting{lift, {file: "memory.limit_in_bytes", value: "-1"}}
		}
		return []setting{lift, {file: "memory.limit_in_bytes", value: bytesOf(n)},
			{file: "memory.memsw.limit_in_bytes", value: bytesOf(n), optional: true}}
	},
}

var cpu = limit{
	name:       "cpu_shares",
	controller: "cpu",
	v2:         func(n uint32) []setting { return []setting{{file: "cpu.weight", value: fmt.Sprint(orDefault(n))}} },
	// 100 is to v2 what 1024 is to v1: the share of a group that asked for nothing.
	v1: func(n uint32) []setting {
		return []setting{{file: "cpu.shares", value: fmt.Sprint(max(2, uint64(orDefault(n))*1024/100))}}
	},
}

func orDefault(weight uint32) uint32 {
	if weight == 0 {
		return 100
	}
	return weight
}

func bytesOf(mb uint32) string { return fmt.Sprint(uint64(mb) << 20) }

// place says in which tree a limit is enforced: "" for the unified one, or the
// mount point of a v1 tree.
func (h *Host) place(l limit) (v1 string, err error) {
	if h.Unified != "" && slices.Contains(words(h.Unified+"/cgroup.controllers"), l.controller) {
		return "", nil
	}
	if dir, ok := h.V1[l.controller]; ok {
		if unix.Access(dir, unix.W_OK) == nil {
			return dir, nil
		}
		return "", &UnsupportedError{Limit: l.name, Reason: "this user may not make groups in " + dir, Hint: "run ten as root, or remove " + l.name}
	}
	if h.Unified == "" {
		return "", &UnsupportedError{Limit: l.name, Reason: h.Why,
			Hint: "run ten as root, or in a systemd unit with Delegate=yes and DelegateSubgroup=daemon, or remove " + l.name}
	}
	return "", &UnsupportedError{Limit: l.name, Reason: "the " + l.controller + " controller is not available in " + h.Unified,
		Hint: "have it delegated (systemd: Delegate=" + l.controller + ") or enabled in the kernel, or remove " + l.name}
}

// Enforces reports, as an *UnsupportedError, which of the limits this host
// cannot enforce for this process, or nil. Whether a controller that is there
// can be switched on shows only when a group is made.
func (h *Host) Enforces(limits runtimes.Limits) error {
	for _, w := range wanted(limits) {
		if w.n == 0 {
			continue
		}
		if _, err := h.place(w.limit); err != nil {
			return err
		}
	}
	return nil
}

func words(file string) []string {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	return strings.Fields(string(b))
}
