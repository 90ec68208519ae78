package main

import (
	"syscall"
	"unsafe"

	"github.com/tenement/ten/runtimes/launch/wire"
)

// System calls and flags that package syscall does not name. The numbers are
// the same on every architecture.
const (
	sysOpenTree     = 428
	sysMoveMount    = 429
	sysOpenat2      = 437
	sysMountSetattr = 442

	atFDCWD      = ^uintptr(99) // -100
	atEmptyPath  = 0x1000
	atRecursive  = 0x8000
	openTreeCopy = 1 | syscall.O_CLOEXEC // OPEN_TREE_CLONE
	moveFromFD   = 4                     // MOVE_MOUNT_F_EMPTY_PATH
	oPath        = 0x200000
	noMagicLinks = 2

	attrReadOnly = 1
	attrNoSuid   = 2
	attrNoDev    = 4
)

// mountAttr is the kernel's struct mount_attr.
type mountAttr struct{ set, clear, propagation, userns uint64 }

// buildWalls turns the copy of the host's mounts, in which init woke up, into
// the instance's own view. The order matters: sources are opened while they can
// still be seen, and nothing is attached before all covers lie.
func buildWalls(plan *wire.Plan) {
	check("private", "/", setAttr(atFDCWD, "/", atRecursive, &mountAttr{propagation: syscall.MS_PRIVATE}))
	sources := openSources(plan.Mounts)
	check("read-only", "/", setAttr(atFDCWD, "/", atRecursive, &mountAttr{set: attrReadOnly}))
	for _, dir := range plan.Scratch {
		check("tmpfs", dir, mount("tmpfs", dir, syscall.MS_NOSUID|syscall.MS_NODEV, "mode=1777"))
	}
	covered := coverAll(plan.Covered)
	check("proc", "/proc", mount("proc", "/proc", syscall.MS_NOSUID|syscall.MS_NODEV|syscall.MS_NOEXEC, ""))
	for i, m := range plan.Mounts {
		attach(m.Path, sources[i])
	}
	for _, dir := range covered {
		check("read-only", dir, setAttr(atFDCWD, dir, 0, &mountAttr{set: attrReadOnly}))
	}
	check("hostname", plan.Hostname, errno(syscall.Sethostname([]byte(plan.Hostname))))
}

// openSources makes a detached copy of each mount, so that no path of the host
// is looked up a second time.
func openSources(mounts []wire.Mount) []uintptr {
	fds := make([]uintptr, 0, len(mounts))
	for _, m := range mounts {
		at, e := openPath(m.Path)
		check("mount", m.Path, e)
		fd, e := openTree(at, openTreeCopy|atEmptyPath|atRecursive)
		check("mount", m.Path, e)
		syscall.Close(int(at))
		attr := mountAttr{set: attrNoSuid | attrNoDev}
		if !m.Writable {
			attr.set |= attrReadOnly
		}
		check("mount", m.Path, setAttr(fd, "", atEmptyPath|atRecursive, &attr))
		fds = append(fds, fd)
	}
	return fds
}

// coverAll hides directories under empty ones and returns those it covered. A
// directory that is gone lies under a cover already.
func coverAll(dirs []string) []string {
	done := dirs[:0]
	for _, dir := range dirs {
		e := mount("tmpfs", dir, syscall.MS_NOSUID|syscall.MS_NODEV|syscall.MS_NOEXEC, "mode=0755")
		if e == syscall.ENOENT {
			continue
		}
		check("cover", dir, e)
		done = append(done, dir)
	}
	return done
}

// attach puts a detached mount at its path, which is made where a cover hides
// the host's own.
func attach(path string, fd uintptr) {
	e := moveMount(fd, path)
	if e == syscall.ENOENT {
		check("mount point", path, makePoint(path, fd))
		e = moveMount(fd, path)
	}
	check("mount", path, e)
	syscall.Close(int(fd))
}

// makePoint creates the directory, or the empty file, that fd will cover.
func makePoint(path string, fd uintptr) syscall.Errno {
	for i := 1; i < len(path); i++ {
		if path[i] != '/' {
			continue
		}
		if e := errno(syscall.Mkdir(path[:i], 0o755)); e != 0 && e != syscall.EEXIST && e != syscall.EROFS {
			return e
		}
	}
	var st syscall.Stat_t
	if e := errno(syscall.Fstat(int(fd), &st)); e != 0 {
		return e
	}
	if st.Mode&syscall.S_IFMT == syscall.S_IFDIR {
		return errno(syscall.Mkdir(path, 0o755))
	}
	f, err := syscall.Open(path, syscall.O_CREAT|syscall.O_WRONLY|syscall.O_CLOEXEC, 0o644)
	if err == nil {
		syscall.Close(f)
	}
	return errno(err)
}

func mount(fs, target string, flags uintptr, data string) syscall.Errno {
	return errno(syscall.Mount(fs, target, fs, flags, data))
}

// openPath opens a file only to name it, through links of the file system but
// not through those of /proc.
func openPath(path string) (uintptr, syscall.Errno) {
	how := struct{ flags, mode, resolve uint64 }{oPath | syscall.O_CLOEXEC, 0, noMagicLinks}
	fd, _, e := syscall.RawSyscall6(sysOpenat2, atFDCWD, cstring(path), uintptr(unsafe.Pointer(&how)), unsafe.Sizeof(how), 0, 0)
	return fd, e
}

func openTree(at uintptr, flags uintptr) (uintptr, syscall.Errno) {
	fd, _, e := syscall.RawSyscall(sysOpenTree, at, cstring(""), flags)
	return fd, e
}

func moveMount(fd uintptr, path string) syscall.Errno {
	_, _, e := syscall.RawSyscall6(sysMoveMount, fd, cstring(""), atFDCWD, cstring(path), moveFromFD, 0)
	return e
}

func setAttr(at uintptr, path string, flags uintptr, attr *mountAttr) syscall.Errno {
	_, _, e := syscall.RawSyscall6(sysMountSetattr, at, cstring(path), flags, uintptr(unsafe.Pointer(attr)), unsafe.Sizeof(*attr), 0)
	return e
}

// cstring gives the address of a zero-terminated copy. The copies are never
// collected: init runs with the collector off and leaves within milliseconds
// or sleeps for good.
func cstring(s string) uintptr {
	b := make([]byte, len(s)+1)
	copy(b, s)
	return uintptr(unsafe.Pointer(&b[0]))
}
