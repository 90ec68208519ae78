package source

import (
	"os"

	"golang.org/x/sys/unix"
)

// settleDir puts everything below dir on disk for good: one call for the whole
// filesystem costs less than one for every file.
func settleDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return unix.Syncfs(int(d.Fd()))
}
