package launch

import (
	"golang.org/x/sys/unix"

	"github.com/tenement/ten/runtimes/launch/wire"
)

// dropSocket removes the socket file of an incarnation that was stopped: that
// one, and not what the next incarnation has made at the same path.
func dropSocket(path string, tag [8]byte) {
	var st unix.Stat_t
	if path == "" || tag == ([8]byte{}) || unix.Lstat(path, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFSOCK {
		return
	}
	var now [8]byte
	wire.PutTag(&now, st.Ino, int64(st.Ctim.Sec), int64(st.Ctim.Nsec))
	if now == tag {
		_ = unix.Unlink(path)
	}
}
