package launch

import (
	"context"
	"errors"
	"net"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/tenement/ten/runtimes"
	"github.com/tenement/ten/runtimes/launch/wire"
)

// The directory of a program's socket is the program's own: behind a wall it may
// put a link there, to ten's own socket or to another tenant's, that it could
// never follow itself. So ten follows none that leads out of that directory.

var errLeadsOut = errors.New("a link leads out of the instance's own directory")

// dialSocket connects to a unix socket as the incarnation of spec meant it.
func dialSocket(ctx context.Context, spec *runtimes.Spec, file string) (net.Conn, error) {
	fd, err := openWithin(spec, file)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: "unix", Addr: &net.UnixAddr{Name: file, Net: "unix"}, Err: err}
	}
	defer unix.Close(fd)
	return (&net.Dialer{}).DialContext(ctx, "unix", "/proc/self/fd/"+strconv.Itoa(fd))
}

// openWithin opens a file for its name alone. What is beneath a directory that the
// program may write to stays in there.
func openWithin(spec *runtimes.Spec, file string) (int, error) {
	root := ""
	for _, m := range spec.Mounts {
		if m.Writable && len(m.Path) > len(root) && strings.HasPrefix(file, strings.TrimSuffix(m.Path, "/")+"/") {
			root = m.Path
		}
	}
	if root == "" || spec.Level == runtimes.Process { // which has no wall
		return unix.Open(file, unix.O_PATH|unix.O_CLOEXEC, 0)
	}
	dir, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	defer unix.Close(dir)
	rest := strings.TrimPrefix(strings.TrimPrefix(file, root), "/")
	fd, err := unix.Openat2(dir, rest, &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_MAGICLINKS})
	if errors.Is(err, unix.EXDEV) {
		err = errLeadsOut
	}
	return fd, err
}

// dropDeserted removes the socket on which an earlier incarnation listened where
// the program of spec is to. What else is there, or who listens there, stays, and
// the program will say that it is in its way. (init sees to one that it opens.)
func dropDeserted(spec *runtimes.Spec) {
	if spec.Socket == "" || spec.ListenFDs {
		return
	}
	dir, err := openWithin(spec, path.Dir(spec.Socket)+"/.")
	if err != nil {
		return
	}
	defer unix.Close(dir)
	name := path.Base(spec.Socket)
	fd, err := unix.Openat(dir, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if unix.Fstat(fd, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFSOCK && deserted(fd) {
		_ = unix.Unlinkat(dir, name, 0)
	}
}

// deserted reports whether nobody listens on the socket that fd names.
func deserted(fd int) bool {
	s, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return false
	}
	defer unix.Close(s)
	return errors.Is(unix.Connect(s, &unix.SockaddrUnix{Name: "/proc/self/fd/" + strconv.Itoa(fd)}), unix.ECONNREFUSED)
}

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
