package launch

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tenement/ten/runtimes"
	"github.com/tenement/ten/runtimes/launch/wire"
)

// start is one start under way; undo takes back what it did so far.
type start struct {
	v    *Level
	spec *runtimes.Spec
	dir  runDir
	conn *os.File // our end of the socket to init
	init handle
	undo []func()
}

// fault is a step that failed, before the key is known to it.
type fault struct {
	step, object string
	err          error
}

func (f *fault) Error() string { return f.step + " " + f.object + ": " + f.err.Error() }

// Start runs the incarnation; see runtimes.Runtime.
func (v *Level) Start(ctx context.Context, spec runtimes.Spec) (runtimes.Instance, error) {
	if err := checkSpec(&spec); err != nil {
		return runtimes.Instance{}, err
	}
	if err := v.l.Ready(v.name); err != nil {
		return runtimes.Instance{}, &runtimes.StartError{Key: spec.Key, Step: "init", Object: "ten-init", Err: err, Hint: "build ten with make"}
	}
	if in, err := v.inspect(spec.Key); err == nil {
		if in.Phase.Alive() {
			return in, nil
		}
		if err := v.Stop(ctx, spec.Key); err != nil {
			return runtimes.Instance{}, &runtimes.StartError{Key: spec.Key, Step: "clean up", Object: string(v.dir(spec.Key)), Err: err}
		}
	}
	recipe, err := v.recipe(&spec)
	if err != nil {
		return runtimes.Instance{}, err
	}
	s := &start{v: v, spec: &spec, dir: v.dir(spec.Key)}
	in, err := s.run(ctx, &recipe)
	if err != nil {
		for i := len(s.undo) - 1; i >= 0; i-- {
			s.undo[i]()
		}
		return runtimes.Instance{}, startError(&spec, &recipe.Plan, err)
	}
	return in, nil
}

func (s *start) run(ctx context.Context, recipe *Recipe) (runtimes.Instance, error) {
	lock, err := s.dir.create()
	if err != nil {
		return runtimes.Instance{}, &fault{"run directory", string(s.dir), cause(err)}
	}
	defer lock.Close()
	s.undo = append(s.undo, func() { s.dir.remove() })
	group, err := s.v.l.makeCgroup(s.v.name, s.spec, recipe.Track)
	if err != nil {
		return runtimes.Instance{}, err
	}
	if group != nil {
		defer group.Close()
		s.undo = append(s.undo, func() { s.v.l.dropCgroup(s.v.name, s.spec.Key) })
	}
	s.fillPlan(&recipe.Plan, group)
	if err := s.spawn(recipe, group); err != nil {
		return runtimes.Instance{}, err
	}
	defer s.conn.Close()
	if _, err := s.conn.Write(wire.AppendPlan(nil, &recipe.Plan)); err != nil {
		return runtimes.Instance{}, s.outcome(ctx, err)
	}
	if err := s.commit(group); err != nil {
		return runtimes.Instance{}, err
	}
	started := time.Now()
	if _, err := s.conn.Write([]byte{wire.Go}); err != nil {
		return runtimes.Instance{}, s.outcome(ctx, err)
	}
	if err := s.outcome(ctx, nil); err != nil {
		return runtimes.Instance{}, err
	}
	return runtimes.Instance{Spec: *s.spec, Phase: runtimes.Running, Pid: program(s.init.pid), StartedAt: started}, nil
}

func (s *start) fillPlan(p *wire.Plan, group *cgroupOf) {
	if p.Argv == nil {
		p.Argv = s.spec.Command
	}
	if p.Env == nil {
		p.Env = s.spec.Env
	}
	if p.Dir == "" {
		p.Dir = s.spec.Dir
	}
	p.Name = "ten-init"
	p.Path = pathOf(p.Env)
	p.HasOOM = group != nil && group.oom != nil
}

// files opens what init is started with, in the order of their numbers there.
func (s *start) files() (files []*os.File, err error) {
	open := func(name string, flags int) {
		if err != nil {
			return
		}
		var fd int
		if fd, err = unix.Open(s.dir.file(name), flags|unix.O_CLOEXEC, 0o600); err != nil {
			err = &fault{"open", s.dir.file(name), err}
			return
		}
		files = append(files, os.NewFile(uintptr(fd), name))
	}
	for _, name := range []string{outPipe, errPipe} {
		if err := unix.Mkfifo(s.dir.file(name), 0o600); err != nil {
			return nil, &fault{"pipe", s.dir.file(name), err}
		}
	}
	// Read ends first: opening a write end waits for one.
	open(outPipe, unix.O_RDONLY|unix.O_NONBLOCK)
	open(errPipe, unix.O_RDONLY|unix.O_NONBLOCK)
	open(outPipe, unix.O_WRONLY)
	open(errPipe, unix.O_WRONLY)
	open(exitFile, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL)
	if err != nil {
		closeAll(files)
		return nil, err
	}
	growPipe(files[0])
	growPipe(files[1])
	return files, nil
}

// growPipe asks for the room that Outputter promises, or as much as an ordinary
// user may have.
func growPipe(f *os.File) {
	conn, err := f.SyscallConn()
	if err != nil {
		return
	}
	conn.Control(func(fd uintptr) {
		for size := 1 << 20; size > 64<<10; size /= 2 {
			if _, err := unix.FcntlInt(fd, unix.F_SETPIPE_SZ, size); err == nil {
				return
			}
		}
	})
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}

// spawn clones init, which then waits for its plan.
func (s *start) spawn(recipe *Recipe, group *cgroupOf) error {
	files, err := s.files()
	if err != nil {
		return err
	}
	defer closeAll(files)
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return &fault{"socket", "init", err}
	}
	theirs := os.NewFile(uintptr(pair[1]), "init")
	defer theirs.Close()
	unix.SetNonblock(pair[0], true)
	s.conn = os.NewFile(uintptr(pair[0]), "init")

	in := []uintptr{s.v.l.null.Fd(), fdOf(files[2]), fdOf(files[3]), theirs.Fd(), fdOf(files[4]), fdOf(files[0]), fdOf(files[1])}
	pidfd := -1
	attr := &syscall.ProcAttr{
		Env:   []string{"GOGC=off", "GOMAXPROCS=1"},
		Files: in,
		Sys:   &syscall.SysProcAttr{Setsid: true, Cloneflags: recipe.Namespaces, PidFD: &pidfd},
	}
	if recipe.Namespaces&unix.CLONE_NEWUSER != 0 {
		mapSelf(attr.Sys)
	}
	group.join(attr)
	path := "/proc/self/fd/" + strconv.Itoa(int(s.v.l.init.Fd()))
	pid, _, err := syscall.StartProcess(path, []string{"ten-init"}, attr)
	if err != nil {
		s.conn.Close()
		return &fault{"clone", "ten-init", err}
	}
	s.init = handle{pid: pid, boot: s.v.l.boot}
	s.undo = append(s.undo, func() { endInit(pidfd) })
	return nil
}

// fdOf reads a file's number without the side effect of Fd, which would make
// it blocking.
func fdOf(f *os.File) (n uintptr) {
	conn, err := f.SyscallConn()
	if err == nil {
		conn.Control(func(fd uintptr) { n = fd })
	}
	return n
}

// endInit kills and reaps an init whose start failed.
func endInit(pidfd int) {
	unix.PidfdSendSignal(pidfd, unix.SIGKILL, nil, 0)
	unix.Waitid(unix.P_PIDFD, pidfd, nil, unix.WEXITED, nil)
	unix.Close(pidfd)
}

// mapSelf gives init a user namespace in which it is who it was, with the
// capabilities to build walls lent to it until it runs the program.
func mapSelf(sys *syscall.SysProcAttr) {
	sys.UidMappings = []syscall.SysProcIDMap{{ContainerID: os.Geteuid(), HostID: os.Geteuid(), Size: 1}}
	sys.GidMappings = []syscall.SysProcIDMap{{ContainerID: os.Getegid(), HostID: os.Getegid(), Size: 1}}
	sys.AmbientCaps = []uintptr{unix.CAP_SYS_ADMIN}
}

// commit writes down what was started, the handle last: from then on the
// instance is found by every daemon to come.
func (s *start) commit(group *cgroupOf) error {
	if err := group.adopt(s.init.pid); err != nil {
		return err
	}
	st, err := readStat(s.init.pid)
	if err != nil {
		return &fault{"find", "ten-init", err}
	}
	s.init.start = st.start
	rec := &record{Version: 1, Spec: *s.spec, StartedAt: time.Now(), Cgroup: group != nil}
	if err := s.dir.writeRecord(rec, recordFile); err != nil {
		return &fault{"record", s.dir.file(recordFile), cause(err)}
	}
	if err := unix.Symlink(s.init.String(), s.dir.file(handleLink)); err != nil {
		return &fault{"record", s.dir.file(handleLink), err}
	}
	return nil
}

// outcome reads the socket to its end: nothing means that the program runs.
// wrote is the error of a write that found init gone, for which init has left
// the reason.
func (s *start) outcome(ctx context.Context, wrote error) error {
	stop := context.AfterFunc(ctx, func() { s.conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	msg, err := io.ReadAll(s.conn)
	switch {
	case ctx.Err() != nil && err != nil:
		return &fault{"wait for", "ten-init", ctx.Err()}
	case len(msg) > 0:
		f, ok := wire.DecodeFault(msg)
		if !ok {
			return &fault{"wait for", "ten-init", errors.New("it said something unreadable")}
		}
		return &fault{f.Step, f.Object, syscall.Errno(f.Errno)}
	case err != nil:
		return &fault{"wait for", "ten-init", cause(err)}
	case wrote != nil:
		return &fault{"wait for", "ten-init", errors.New("it was killed")}
	}
	return nil
}

// cause strips the path from an error whose message will name it anyway.
func cause(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}
