package load

import (
	"bytes"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// limitSelf bounds what this process may still take: address space on top of
// what its start took, and seconds of processor time. Beyond the first the Go
// runtime ends it, beyond the second the kernel kills it.
func limitSelf(memory, cpu uint64) error {
	statm, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return fmt.Errorf("limit memory: %w", err)
	}
	first, _, _ := bytes.Cut(statm, []byte(" "))
	pages, err := strconv.ParseUint(string(first), 10, 64)
	if err != nil {
		return fmt.Errorf("limit memory: read /proc/self/statm: %w", err)
	}
	space := pages*uint64(os.Getpagesize()) + memory
	if err := unix.Setrlimit(unix.RLIMIT_AS, &unix.Rlimit{Cur: space, Max: space}); err != nil {
		return fmt.Errorf("limit memory: %w", err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_CPU, &unix.Rlimit{Cur: cpu, Max: cpu}); err != nil {
		return fmt.Errorf("limit processor time: %w", err)
	}
	return nil
}
