//go:build unix

package activation

import (
	"os"
	"syscall"
)

// rightsOf is a file in the form in which it goes over a unix socket.
func rightsOf(f *os.File) []byte { return syscall.UnixRights(int(f.Fd())) }
