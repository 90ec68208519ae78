package source

import (
	"io/fs"
	"syscall"
)

// statKey is what changes when a file is written or replaced.
type statKey struct {
	size, mtime, ctime int64
	inode              uint64
	mode               fs.FileMode
}

func keyOf(i fs.FileInfo) statKey {
	k := statKey{size: i.Size(), mtime: i.ModTime().UnixNano(), mode: i.Mode()}
	if st, ok := i.Sys().(*syscall.Stat_t); ok {
		k.inode, k.ctime = st.Ino, st.Ctim.Nano()
	}
	return k
}
