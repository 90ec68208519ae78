package main

import (
	"os"
	"syscall"
)

// peakMB is the most memory that a process had.
func peakMB(s *os.ProcessState) float64 {
	return float64(s.SysUsage().(*syscall.Rusage).Maxrss) / 1024
}
