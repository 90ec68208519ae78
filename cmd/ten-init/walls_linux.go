package main

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/tenement/ten/runtimes/launch/wire"
)

var (
	sources  [wire.MaxPlaces]uintptr // of the places that show what the host has
	pathCopy [unix.PathMax]byte
)

// buildWalls turns the copy of the host's mounts, in which init woke up, into
// the instance's own view. The order matters: sources are opened while they can
// still be seen, the host is made read-only without them, and only then are
// places filled, outer before inner.
func buildWalls(plan *wire.View) {
	check("private", "/", setAttr(atFDCWD, "/\x00", unix.AT_RECURSIVE, &unix.MountAttr{Propagation: unix.MS_PRIVATE}))
	openSources(plan.Places)
	check("read-only", "/", setAttr(atFDCWD, "/\x00", unix.AT_RECURSIVE, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}))
	check("proc", "/proc", mount("proc\x00", "/proc\x00", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "\x00"))
	fillPlaces(plan.Places)
	closeCovers(plan.Places)
	check("hostname", plan.Hostname, call(unix.SYS_SETHOSTNAME, addr(plan.Hostname), uintptr(len(plan.Hostname)), 0, 0, 0))
}

// openSources makes a detached copy of what the host has at each place that
// shows it, so that no path of the host is looked up a second time.
func openSources(places wire.List) {
	var p wire.Place
	for i := 0; places.NextPlace(&p); i++ {
		attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV}
		switch p.Kind {
		case wire.ReadOnly:
			attr.Attr_set |= unix.MOUNT_ATTR_RDONLY
		case wire.Writable:
		default:
			continue
		}
		at, e := openPath(p.Path)
		check("mount", p.Path, e)
		fd, e := value(unix.SYS_OPEN_TREE, at, addr("\x00"), unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH|unix.AT_RECURSIVE)
		check("mount", p.Path, e)
		call(unix.SYS_CLOSE, at, 0, 0, 0, 0)
		check("mount", p.Path, setAttr(fd, "\x00", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, &attr))
		sources[i] = fd
	}
}

func fillPlaces(places wire.List) {
	var p wire.Place
	for i := 0; places.NextPlace(&p); i++ {
		switch p.Kind {
		case wire.Scratch:
			check("tmpfs", p.Path, mount("tmpfs\x00", p.Path, unix.MS_NOSUID|unix.MS_NODEV, "mode=1777\x00"))
		case wire.Cover:
			cover(p.Path)
		default:
			attach(p.Path, sources[i])
		}
	}
}

// cover hides a directory. One that is not there lies under another cover.
func cover(dir string) {
	e := mount("tmpfs\x00", dir, unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "mode=0755\x00")
	if e != unix.ENOENT {
		check("cover", dir, e)
	}
}

// closeCovers makes the covers read-only, now that the places inside them have
// been made.
func closeCovers(places wire.List) {
	var p wire.Place
	for places.NextPlace(&p) {
		if p.Kind != wire.Cover {
			continue
		}
		e := setAttr(atFDCWD, p.Path, 0, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY})
		if e != unix.ENOENT && e != unix.EINVAL { // it was not there to be covered
			check("read-only", p.Path, e)
		}
	}
}

// attach puts a detached mount at its path, which is made where a cover hides
// the host's own.
func attach(path string, fd uintptr) {
	e := moveMount(fd, path)
	if e == unix.ENOENT {
		makePoint(path, fd)
		e = moveMount(fd, path)
	}
	check("mount", path, e)
	call(unix.SYS_CLOSE, fd, 0, 0, 0, 0)
}

// makePoint creates the directory, or the empty file, that fd will cover.
func makePoint(path string, fd uintptr) {
	if len(path) >= len(pathCopy) {
		fail("mount point", path, unix.ENAMETOOLONG)
	}
	for i := 1; i < len(path); i++ {
		pathCopy[i-1] = path[i-1]
		if path[i] == '/' {
			pathCopy[i] = 0
			makeDir(bytesAddr(pathCopy[:]), path)
		}
	}
	var st unix.Stat_t
	check("mount point", path, call(unix.SYS_FSTAT, fd, uintptr(unsafe.Pointer(&st)), 0, 0, 0))
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		makeDir(addr(path), path)
		return
	}
	check("mount point", path, call(unix.SYS_MKNODAT, atFDCWD, addr(path), unix.S_IFREG|0o644, 0, 0))
}

func makeDir(name uintptr, path string) {
	e := call(unix.SYS_MKDIRAT, atFDCWD, name, 0o755, 0, 0)
	if e != unix.EEXIST && e != unix.EROFS {
		check("mount point", path, e)
	}
}

func mount(fs, target string, flags uintptr, data string) syscall.Errno {
	return call(unix.SYS_MOUNT, addr(fs), addr(target), addr(fs), flags, addr(data))
}

// openPath opens a file only to name it, through links of the file system but
// not through those of /proc.
func openPath(path string) (uintptr, syscall.Errno) {
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_MAGICLINKS}
	fd, _, e := syscall.RawSyscall6(unix.SYS_OPENAT2, atFDCWD, addr(path), uintptr(unsafe.Pointer(&how)), unsafe.Sizeof(how), 0, 0)
	return fd, e
}

func moveMount(fd uintptr, path string) syscall.Errno {
	return call(unix.SYS_MOVE_MOUNT, fd, addr("\x00"), atFDCWD, addr(path), unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_SYMLINKS)
}

func setAttr(at uintptr, path string, flags uintptr, attr *unix.MountAttr) syscall.Errno {
	return call(unix.SYS_MOUNT_SETATTR, at, addr(path), flags, uintptr(unsafe.Pointer(attr)), unsafe.Sizeof(*attr))
}
