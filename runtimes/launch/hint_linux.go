package launch

import (
	"errors"
	"syscall"

	"github.com/tenement/ten/runtimes"
	"github.com/tenement/ten/runtimes/launch/wire"
)

// startError gives a failed step the key it belongs to and, where the cause is
// a common one, what to do.
func startError(spec *runtimes.Spec, plan *wire.Plan, err error) error {
	e := &runtimes.StartError{Key: spec.Key, Step: "start", Object: spec.Command[0], Err: err}
	var f *fault
	if errors.As(err, &f) {
		e.Step, e.Object, e.Err = f.step, f.object, f.err
	}
	e.Hint = hintFor(e, plan)
	return e
}

func hintFor(e *runtimes.StartError, plan *wire.Plan) string {
	is := func(step string, errno syscall.Errno) bool { return e.Step == step && errors.Is(e.Err, errno) }
	var u *runtimes.UnsupportedError
	switch {
	case errors.As(e.Err, &u):
		return u.Hint
	case is("exec", syscall.ENOENT) && e.Object == plan.Argv[0] && !hasSlash(e.Object):
		return "command not found in PATH=" + plan.Path
	case is("exec", syscall.ENOENT):
		return "the file is missing, or the interpreter its first line names, or the loader it was linked for; it must be visible inside the instance"
	case is("exec", syscall.EACCES):
		return "the file is not executable (chmod +x), or lies on a file system mounted noexec"
	case is("exec", syscall.ENOEXEC):
		return "not a program for this machine; a script needs a first line such as #!/bin/sh"
	case is("chdir", syscall.ENOENT), is("chdir", syscall.ENOTDIR):
		return "the working directory must exist and be visible inside the instance"
	case is("mount", syscall.ENOENT):
		return "the path must exist before the instance starts"
	case is("listen", syscall.ENAMETOOLONG):
		return "the path of a socket has room for 107 bytes; choose a shorter one"
	case is("listen", syscall.EADDRINUSE):
		return "somebody else listens there, or a file that is no socket is in the way"
	case is("listen", syscall.EACCES):
		return "ports below 1024 need root; the directory of a socket must be writable"
	case is("listen", syscall.ENOENT), is("listen", syscall.EROFS):
		return "the directory of a socket must exist and be writable inside the instance"
	case is("clone", syscall.EPERM), is("clone", syscall.ENOSPC):
		return "namespaces are refused or used up on this host; see ten doctor"
	case errors.Is(e.Err, syscall.EMFILE), errors.Is(e.Err, syscall.ENFILE):
		return "the daemon has as many files open as it may; raise its limit (systemd: LimitNOFILE=524288)"
	case is("fork", syscall.EAGAIN), is("clone", syscall.EAGAIN):
		return "there are as many processes as the user or the daemon's unit may have (ulimit -u, TasksMax)"
	case errors.Is(e.Err, syscall.ENOSPC), errors.Is(e.Err, syscall.EDQUOT):
		return "the file system of the run directory is full"
	}
	return ""
}

func hasSlash(s string) bool {
	for i := range len(s) {
		if s[i] == '/' {
			return true
		}
	}
	return false
}
