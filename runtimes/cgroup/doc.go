// Package cgroup keeps instances in control groups of their own: to bound what
// they use, to end all of their processes at once, and to learn that the kernel
// killed one of them for memory. It knows the unified hierarchy (v2), the old
// ones (v1), and hosts that have both.
//
// Everything is made below one parent group per Tree, beside whatever else the
// host has, and nothing that is not below it is ever changed, but for switching
// on the controllers that a limit needs. A limit that this host cannot enforce
// is an *UnsupportedError, never left out.
package cgroup

// UnsupportedError says which limit this host cannot enforce, why, and what to
// do about it.
type UnsupportedError struct {
	Limit  string // "memory_limit_mb", "cpu_shares"
	Reason string
	Hint   string
}

func (e *UnsupportedError) Error() string { return e.Reason }
