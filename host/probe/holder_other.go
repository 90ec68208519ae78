//go:build !linux

package probe

// Holder can't tell on this system: ok is always false.
func Holder(port int) (pid int, command string, ok bool) { return 0, "", false }

// Stranger can't tell on this system: yes is always false.
func Stranger(port, pid int) (holder int, command string, yes bool) { return 0, "", false }

// ephemeral is the range that IANA names for outgoing connections.
func ephemeral() (from, to int) { return 49152, 65535 }
