//go:build !linux

package probe

// Holder can't tell on this system: ok is always false.
func Holder(port int) (pid int, command string, ok bool) { return 0, "", false }

// HeldBy can't tell on this system: it is always false.
func HeldBy(port, pid int) bool { return false }

// ephemeral is the range that IANA names for outgoing connections.
func ephemeral() (from, to int) { return 49152, 65535 }
