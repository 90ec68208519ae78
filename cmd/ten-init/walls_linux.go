package main

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/tenement/ten/runtimes/launch/wire"
)

var (
	sources  [wire.MaxMounts]uintptr
	pathCopy [unix.PathMax]byte
)

// buildWalls turns the copy of the host's mounts, in which init woke up, into
// the instance's own view. The order matters: sources are opened while they can
// still be seen, and nothing is attached before all covers lie.
func buildWalls(plan *wire.View) {
	check("private", "/", setAttr(atFDCWD, "/\x00", unix.AT_RECURSIVE, &unix.MountAttr{Propagation: unix.MS_PRIVATE}))
	openSources(plan.Mounts)
	check("read-only", "/", setAttr(atFDCWD, "/\x00", unix.AT_RECURSIVE, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}))
	var dir string
	for scratch := plan.Scratch; scratch.Next(&dir); {
		check("tmpfs", dir, mount("tmpfs\x00", dir, unix.MS_NOSUID|unix.MS_NODEV, "mode=1777\x00"))
	}
	for covered := plan.Covered; covered.Next(&dir); {
		// A directory that is gone lies under another cover.
		e := mount("tmpfs\x00", dir, unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "mode=0755\x00")
		if e != unix.ENOENT {
			check("cover", dir, e)
		}
	}
	check("proc", "/proc", mount("proc\x00", "/proc\x00", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "\x00"))
	attachSources(plan.Mounts)
	for covered := plan.Covered; covered.Next(&dir); {
		e := setAttr(atFDCWD, dir, 0, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY})
		if e != unix.ENOENT && e != unix.EINVAL {
			check("read-only", dir, e)
		}
	}
	check("hostname", plan.Hostname, call(unix.SYS_SETHOSTNAME, addr(plan.Hostname), uintptr(len(plan.Hostname)), 0, 0, 0))
}

// openSources makes a detached copy of each mount, so that no path of the host
// is looked up a second time.
func openSources(mounts wire.List) {
	var m wire.Mount
	for i := 0; mounts.NextMount(&m); i++ {
		at, e := openPath(m.Path)
		check("mount", m.Path, e)
		fd, e := value(unix.SYS_OPEN_TREE, at, addr("\x00"), unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH|unix.AT_RECURSIVE)
		check("mount", m.Path, e)
		call(unix.SYS_CLOSE, at, 0, 0, 0, 0)
		attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV}
		if !m.Writable {
			attr.Attr_set |= unix.MOUNT_ATTR_RDONLY
		}
		check("mount", m.Path, setAttr(fd, "\x00", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, &attr))
		sources[i] = fd
	}
}

// attachSources puts the detached mounts at their paths, which are made where a
// cover hides the host's own.
func attachSources(mounts wire.List) {
	var m wire.Mount
	for i := 0; mounts.NextMount(&m); i++ {
		e := moveMount(sources[i], m.Path)
		if e == unix.ENOENT {
			makePoint(m.Path, sources[i])
			e = moveMount(sources[i], m.Path)
		}
		check("mount", m.Path, e)
		call(unix.SYS_CLOSE, sources[i], 0, 0, 0, 0)
	}
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
	return call(unix.SYS_MOVE_MOUNT, fd, addr("\x00"), atFDCWD, addr(path), unix.MOVE_MOUNT_F_EMPTY_PATH)
}

func setAttr(at uintptr, path string, flags uintptr, attr *unix.MountAttr) syscall.Errno {
	return call(unix.SYS_MOUNT_SETATTR, at, addr(path), flags, uintptr(unsafe.Pointer(attr)), unsafe.Sizeof(*attr))
}
