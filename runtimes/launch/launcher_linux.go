package launch

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/tenement/ten/runtimes"
	"github.com/tenement/ten/runtimes/cgroup"
	"github.com/tenement/ten/runtimes/netns"
)

// Launcher holds what all starts of one daemon share: the init program in a
// sealed memory file, the null device, and the boot it belongs to. It keeps no
// state of instances. Close it when no more starts will come; instances do not
// notice.
type Launcher struct {
	cfg     Config
	boot    string
	null    *os.File
	groups  *cgroup.Tree
	visitor *netns.Visitor
	init    *os.File // nil when noInit says why
	noInit  error
	spared  bool // the kernel is told to spare this process when memory is short
}

// New prepares for starts. It succeeds without ten-init, so that what runs can
// be listed and stopped; then every start fails and says so.
func New(cfg Config) (*Launcher, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return nil, fmt.Errorf("read the boot id: %w", err)
	}
	if err := os.MkdirAll(cfg.RunDir, 0o700); err != nil {
		return nil, fmt.Errorf("run directory: %w", err)
	}
	if cfg.NotifyDir != "" { // it is shown to instances, so it must be there
		if err := os.MkdirAll(cfg.NotifyDir, 0o755); err != nil {
			return nil, fmt.Errorf("notify directory: %w", err)
		}
	}
	groups, err := cgroup.FindHost()
	if err != nil {
		return nil, fmt.Errorf("find the cgroups: %w", err)
	}
	l := &Launcher{cfg: cfg, boot: strings.TrimSpace(string(boot)), groups: groups.Tree(cfg.CgroupParent), spared: oomScore() < 0}
	if l.null, err = os.OpenFile(os.DevNull, os.O_RDWR, 0); err != nil {
		return nil, err
	}
	if l.visitor, err = netns.New(); err != nil {
		l.null.Close()
		return nil, err
	}
	program, err := initProgram(cfg)
	if err == nil {
		l.init, err = sealedFile(program)
	}
	if err == nil {
		err = l.raiseNull()
	}
	if err != nil && !errors.Is(err, errNoInit) {
		l.Close()
		return nil, fmt.Errorf("keep ten-init in memory: %w", err)
	}
	l.noInit = err
	return l, nil
}

// raiseNull gives the null device a number above init's. A child's own files are
// moved about before it becomes init, to numbers above the highest of those that
// it gets; the null device is always one of them, so init's number is none of those.
func (l *Launcher) raiseNull() error {
	fd, err := unix.FcntlInt(l.null.Fd(), unix.F_DUPFD_CLOEXEC, int(l.init.Fd())+1)
	if err != nil {
		return err
	}
	l.null.Close()
	l.null = os.NewFile(uintptr(fd), os.DevNull)
	return nil
}

// Close releases the launcher's files.
func (l *Launcher) Close() error {
	if l.init != nil {
		l.init.Close()
	}
	return errors.Join(l.visitor.Close(), l.null.Close())
}

// Ready says why no level can start anything, or nil.
func (l *Launcher) Ready(level runtimes.Level) error {
	if l.noInit != nil {
		return &runtimes.UnsupportedError{Level: level, Reason: l.noInit.Error(), Hint: "build ten with make, which puts ten-init into it"}
	}
	pidfd, err := pidfdOpen(os.Getpid())
	if err != nil {
		return &runtimes.UnsupportedError{Level: level, Reason: "processes cannot be told apart for certain here: pidfd_open: " + err.Error(), Hint: "run Linux 5.10 or newer"}
	}
	return pidfd.Close()
}

// sealedFile keeps a program in memory where nobody can change it.
func sealedFile(program []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate("ten-init", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|unix.MFD_EXEC)
	if errors.Is(err, unix.EINVAL) { // before Linux 6.3 there is no MFD_EXEC
		fd, err = unix.MemfdCreate("ten-init", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	}
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "ten-init")
	if _, err := f.Write(program); err != nil {
		f.Close()
		return nil, err
	}
	// The program is executed as /proc/self/fd/N in a child whose low numbers
	// are init's own files already.
	high, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 64)
	f.Close()
	if err != nil {
		return nil, err
	}
	f = os.NewFile(uintptr(high), "ten-init")
	seals := unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE
	if _, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, seals); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
