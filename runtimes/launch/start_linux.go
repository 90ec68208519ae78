package launch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tenement/ten/runtimes"
	"github.com/tenement/ten/runtimes/launch/wire"
)

// start is one start under way; undo takes back what it did so far.
type start struct {
	v     *Level
	spec  *runtimes.Spec
	file  *os.File // the record, locked
	group *group   // nil without a cgroup
	conn  *os.File // our end of the socket to init
	init  handle
	pidfd int // of init, -1 before
	undo  []func()
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
	if spec.StopSignal != "" && unix.SignalNum(spec.StopSignal) == 0 {
		return runtimes.Instance{}, &runtimes.StartError{Key: spec.Key, Step: "spec", Object: "stop_signal",
			Err: fmt.Errorf("%q is no signal", spec.StopSignal), Hint: "write it as in SIGTERM"}
	}
	if err := v.l.Ready(v.name); err != nil {
		return runtimes.Instance{}, &runtimes.StartError{Key: spec.Key, Step: "init", Object: "ten-init", Err: err, Hint: "build ten with make"}
	}
	if in, err := v.inspect(ctx, spec.Key); err == nil {
		if in.Phase.Alive() || in.Phase == runtimes.Sleeping {
			return in, nil
		}
		if err := v.Stop(ctx, spec.Key); err != nil {
			return runtimes.Instance{}, &runtimes.StartError{Key: spec.Key, Step: "clean up", Object: string(v.path(spec.Key)), Err: err}
		}
	}
	return v.startFresh(ctx, &spec)
}

// busyPatience is how long a program may stay open for writing. One that was
// just written out is for a moment: in every child that another start had
// forked meanwhile, until that child executes ten-init.
const busyPatience = time.Second

// startFresh starts what does not run, again while its program is being written.
func (v *Level) startFresh(ctx context.Context, spec *runtimes.Spec) (runtimes.Instance, error) {
	for pause := time.Millisecond; ; pause *= 2 {
		in, err := v.startOnce(ctx, spec)
		if !errors.Is(err, unix.ETXTBSY) || pause > busyPatience {
			return in, err
		}
		select {
		case <-ctx.Done():
			return in, err
		case <-time.After(pause):
		}
	}
}

func (v *Level) startOnce(ctx context.Context, spec *runtimes.Spec) (runtimes.Instance, error) {
	recipe, err := v.recipe(spec)
	if err != nil {
		return runtimes.Instance{}, err
	}
	s := &start{v: v, spec: spec, pidfd: -1}
	in, err := s.run(ctx, &recipe)
	if err != nil {
		for i := len(s.undo) - 1; i >= 0; i-- {
			s.undo[i]()
		}
		err = startError(spec, &recipe.Plan, err)
	}
	if s.pidfd >= 0 {
		unix.Close(s.pidfd)
	}
	return in, err
}

func (s *start) run(ctx context.Context, recipe *Recipe) (in runtimes.Instance, err error) {
	path := s.v.path(s.spec.Key)
	if s.file, err = path.create(s.v.root()); err != nil {
		return in, &fault{"record", string(path), cause(err)}
	}
	defer s.file.Close()
	s.undo = append(s.undo, func() { path.remove() })
	if s.group, err = s.v.l.makeCgroup(ctx, s.v.name, s.spec, recipe.Track); err != nil {
		return in, err
	}
	if s.group != nil {
		defer s.group.close()
		s.undo = append(s.undo, func() { s.v.l.dropCgroup(context.WithoutCancel(ctx), s.v.name, s.spec.Key) })
	}
	dropDeserted(s.spec)
	s.fillPlan(&recipe.Plan)
	rest, err := s.spawn(recipe)
	if err != nil {
		return in, err
	}
	defer s.conn.Close()
	if _, err := s.conn.Write(rest); err != nil {
		return in, outcome(ctx, s.conn, err)
	}
	rec := &record{Version: 1, Spec: *s.spec, StartedAt: time.Now()}
	if err := s.commit(rec); err != nil {
		return in, err
	}
	if _, err := s.conn.Write([]byte{wire.Go}); err != nil {
		return in, outcome(ctx, s.conn, err)
	}
	if err := outcome(ctx, s.conn, nil); err != nil {
		return in, err
	}
	return runtimes.Instance{Spec: rec.Spec, Phase: runtimes.Running, Pid: program(s.init.pid), StartedAt: rec.StartedAt}, nil
}

func (s *start) fillPlan(p *wire.Plan) {
	if p.Argv == nil {
		p.Argv = s.spec.Command
	}
	if p.Env == nil {
		p.Env = s.spec.Env
	}
	if p.Dir == "" {
		p.Dir = s.spec.Dir
	}
	p.Path = pathOf(p.Env)
	if s.spec.ListenFDs {
		p.Listen, p.ListenPort = listenOn(s.spec)
		p.Env = append(withoutActivation(p.Env), "LISTEN_FDNAMES="+listenName, "LISTEN_FDS=1") // init knows LISTEN_PID
	}
	if dir := s.v.l.cfg.NotifyDir; dir != "" && !slices.ContainsFunc(p.Env, func(kv string) bool { return nameOf(kv) == notifyVariable }) {
		p.Env = append(slices.Clip(p.Env), notifyVariable+"="+filepath.Join(dir, NotifyName))
	}
	p.HasOOM = s.group.countsOOM()
}

// pipe makes an output pipe: the end init keeps to read, which never waits, and
// the end the program writes to, which does.
func pipe() (r, w int, err error) {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		return 0, 0, &fault{"pipe", "output", err}
	}
	unix.SetNonblock(p[0], true)
	growPipe(p[0])
	return p[0], p[1], nil
}

// growPipe asks for the room that Outputter promises, or as much as an ordinary
// user may have.
func growPipe(fd int) {
	for size := 1 << 20; size > 64<<10; size /= 2 {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETPIPE_SZ, size); err == nil {
			return
		}
	}
}

// spawn clones init and returns what of the plan did not fit into the socket.
// The other part is there before init is, so that init need not wait for it.
func (s *start) spawn(recipe *Recipe) (rest []byte, err error) {
	outR, outW, err := pipe()
	if err != nil {
		return nil, err
	}
	defer closeFDs(outR, outW)
	errR, errW, err := pipe()
	if err != nil {
		return nil, err
	}
	defer closeFDs(errR, errW)
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, &fault{"socket", "init", err}
	}
	defer closeFDs(pair[1])
	unix.SetNonblock(pair[0], true)
	s.conn = os.NewFile(uintptr(pair[0]), "init")
	rest = wire.AppendPlan(nil, &recipe.Plan)
	if n, err := unix.Write(pair[0], rest); err == nil {
		rest = rest[n:]
	}
	files := []int{int(s.v.l.null.Fd()), outW, errW, pair[1], int(s.file.Fd()), outR, errR}
	if s.group.countsOOM() {
		files = append(files, int(s.group.oom.Fd()))
	}
	if s.init, s.pidfd, err = s.v.l.clone(recipe, s.group, files...); err != nil {
		s.conn.Close()
		return nil, err
	}
	s.undo = append(s.undo, func() { endInit(s.pidfd) })
	return rest, nil
}

// clone starts init with the given files.
func (l *Launcher) clone(recipe *Recipe, g *group, files ...int) (init handle, pidfd int, err error) {
	attr := &syscall.ProcAttr{Sys: &syscall.SysProcAttr{Setpgid: true, Cloneflags: recipe.Namespaces, PidFD: &pidfd}}
	for _, fd := range files {
		attr.Files = append(attr.Files, uintptr(fd))
	}
	if recipe.Namespaces&unix.CLONE_NEWUSER != 0 {
		mapSelf(attr.Sys, recipe.Namespaces)
	}
	g.join(attr)
	path := "/proc/self/fd/" + strconv.Itoa(int(l.init.Fd()))
	pid, _, err := syscall.StartProcess(path, []string{"ten-init"}, attr)
	if err != nil {
		return handle{}, -1, &fault{"clone", "ten-init", err}
	}
	return handle{pid: pid, boot: l.boot}, pidfd, nil
}

func closeFDs(fds ...int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}

// endInit kills and reaps an init whose start failed.
func endInit(pidfd int) {
	unix.PidfdSendSignal(pidfd, unix.SIGKILL, nil, 0)
	for unix.Waitid(unix.P_PIDFD, pidfd, nil, unix.WEXITED, nil) == unix.EINTR {
	}
}

// mapSelf gives init a user namespace in which it is who it was, with the
// capabilities to build walls lent to it until it runs the program.
func mapSelf(sys *syscall.SysProcAttr, namespaces uintptr) {
	sys.UidMappings = []syscall.SysProcIDMap{{ContainerID: os.Geteuid(), HostID: os.Geteuid(), Size: 1}}
	sys.GidMappings = []syscall.SysProcIDMap{{ContainerID: os.Getegid(), HostID: os.Getegid(), Size: 1}}
	sys.AmbientCaps = []uintptr{unix.CAP_SYS_ADMIN}
	if namespaces&unix.CLONE_NEWNET != 0 {
		sys.AmbientCaps = append(sys.AmbientCaps, unix.CAP_NET_ADMIN, unix.CAP_NET_BIND_SERVICE)
	}
}

// commit writes down what was started: from then on the instance is found by
// every daemon to come.
func (s *start) commit(rec *record) error {
	if err := s.group.adopt(s.init.pid); err != nil {
		return err
	}
	st, err := readStat(s.init.pid)
	if err != nil {
		return &fault{"find", "ten-init", err}
	}
	s.init.start = st.start
	if s.v.l.spared { // that is for the daemon alone
		if err := os.WriteFile("/proc/"+strconv.Itoa(s.init.pid)+"/oom_score_adj", []byte("0"), 0); err != nil {
			return &fault{"write", "oom_score_adj", cause(err)}
		}
	}
	if err := rec.write(s.file, s.init); err != nil {
		return &fault{"record", s.file.Name(), cause(err)}
	}
	// Init holds the same open file, and would keep it locked as long as it lives.
	return unix.Flock(int(s.file.Fd()), unix.LOCK_UN)
}

// oomScore is what is added to the score by which the kernel chooses whom to
// kill when memory is short; a negative one spares this process.
func oomScore() int {
	text, err := os.ReadFile("/proc/self/oom_score_adj")
	if err != nil {
		return 0
	}
	n, _ := strconv.Atoi(string(bytes.TrimSpace(text)))
	return n
}

// outcome reads the socket to its end: nothing means that the program runs.
// wrote is the error of a write that found init gone, for which init has left
// the reason.
func outcome(ctx context.Context, conn *os.File, wrote error) error {
	stop := context.AfterFunc(ctx, func() { conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	msg, err := io.ReadAll(conn)
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
