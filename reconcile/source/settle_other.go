//go:build !linux

package source

import (
	"io/fs"
	"os"
	"path/filepath"
)

// settleDir puts everything below dir on disk for good.
func settleDir(dir string) error {
	return filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.Type() == fs.ModeSymlink {
			return err
		}
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		return f.Sync()
	})
}
