//go:build !linux

package source

import "io/fs"

// statKey is what changes when a file is written or replaced.
type statKey struct {
	size, mtime int64
	mode        fs.FileMode
}

func keyOf(i fs.FileInfo) statKey {
	return statKey{size: i.Size(), mtime: i.ModTime().UnixNano(), mode: i.Mode()}
}
