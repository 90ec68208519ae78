// Package runtimes is the contract between the reconciler and the isolation
// levels: what starts an instance (Spec), what is known of it (Instance), and
// what every level can do (Runtime).
//
// A level keeps no state in memory that matters. What runs is asked of the
// machine, so a restarted daemon sees the same world; instances outlive the
// process that started them. runtimetest holds the contract as tests.
package runtimes

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// Level is an isolation level: which kind of wall stands around an instance.
// Its value is what a config writes as isolation.
type Level string

// The isolation levels, weakest wall first.
const (
	Process   Level = "process"
	Namespace Level = "namespace"
	Sandbox   Level = "sandbox"
	Wasm      Level = "wasm"
	VM        Level = "vm"
)

// ID names an instance: one running copy of a declared service.
type ID struct {
	Service  string `json:"service"`
	Instance string `json:"id"`
}

// String gives "service:id", the form people type.
func (id ID) String() string { return id.Service + ":" + id.Instance }

// Compare orders IDs by service, then instance.
func (id ID) Compare(other ID) int {
	if c := strings.Compare(id.Service, other.Service); c != 0 {
		return c
	}
	return strings.Compare(id.Instance, other.Instance)
}

// ParseID reads "service:id", split at the first colon.
func ParseID(s string) (ID, error) {
	service, instance, ok := strings.Cut(s, ":")
	if !ok || service == "" || instance == "" {
		return ID{}, fmt.Errorf("instance %q: want service:id, for example web:prod", s)
	}
	return ID{Service: service, Instance: instance}, nil
}

// Key names one incarnation of an instance. During a rollout two incarnations
// of one ID run side by side; the Generation, which only grows, tells them apart.
type Key struct {
	ID
	Generation uint64 `json:"generation"`
}

// String gives "service:id#generation".
func (k Key) String() string { return k.ID.String() + "#" + strconv.FormatUint(k.Generation, 10) }

// Mount makes one directory or file of the host part of the instance's world,
// at the same path. The process level ignores it: it has no wall.
type Mount struct {
	Path     string `json:"path"`
	Writable bool   `json:"writable,omitempty"`
}

// Limits bound what an instance may use; zero means no limit.
type Limits struct {
	MemoryMB  uint32 `json:"memory_mb,omitempty"`
	CPUShares uint32 `json:"cpu_shares,omitempty"` // cgroup v2 cpu.weight, 1..10000
}

// Spec is all a level needs to start one incarnation. It is complete: no
// variable is left to expand and no path is relative, except Command[0], which
// is looked up in the PATH of the instance's own environment.
type Spec struct {
	Key      Key    `json:"key"`
	Level    Level  `json:"level"`
	Revision string `json:"revision"`
	// Digest identifies what the user wrote for this service together with the
	// tree of its source; Fields is the same thing unhashed. A level carries
	// both and gives them back from List, so that a plan can name what changed.
	Digest string            `json:"digest"`
	Fields map[string]string `json:"fields"`

	Command []string `json:"command"`
	// Env is the whole environment at every level but process, which adds it
	// to the daemon's own, beside what ListenFDs says, and a NOTIFY_SOCKET where
	// the daemon hears what instances say of themselves. KEY=VALUE, sorted by key, no duplicates.
	Env    []string `json:"env,omitempty"`
	Dir    string   `json:"dir"`
	Mounts []Mount  `json:"mounts,omitempty"`
	Limits Limits   `json:"limits"`
	// Port is the TCP port promised to the instance on 127.0.0.1, Socket the
	// unix socket path; the program listens on either. Zero and "" mean none.
	// Start removes a socket there on which nobody listens, and nothing else.
	Port   int    `json:"port,omitempty"`
	Socket string `json:"socket,omitempty"`

	// ListenFDs asks the level to open the listening socket itself, on Socket or,
	// where that is "", on Port, and to pass it as file 3 with LISTEN_FDS=1,
	// LISTEN_PID and LISTEN_FDNAMES=http, so that connections queue while the program
	// starts. Only the program has it: when it ends, however it does, what is in the
	// queue is cut, and connections are refused until the next start. Only the
	// daemon's user, and root, may connect to a Socket; Stop removes it.
	ListenFDs bool `json:"listen_fds,omitempty"`
	// Network is the network the instance has: "" or NetworkHost, or NetworkNone.
	Network string `json:"network,omitempty"`

	StopSignal  string        `json:"stop_signal"` // "SIGTERM"
	StopTimeout time.Duration `json:"stop_timeout"`
}

// The networks of a Spec.
const (
	NetworkHost = "host"
	NetworkNone = "none" // a loopback of its own; Dialer reaches it
)

// Phase is where an incarnation is in its life. Whether it answers is health,
// which a probe knows and a level does not.
type Phase string

// The phases.
const (
	Starting Phase = "starting"
	Running  Phase = "running"
	Sleeping Phase = "sleeping"
	Stopping Phase = "stopping"
	Stopped  Phase = "stopped" // ended with status 0, or was stopped
	Failed   Phase = "failed"  // ended otherwise, or never started
)

// Alive reports whether a process of the incarnation may exist.
func (p Phase) Alive() bool { return p == Starting || p == Running || p == Stopping }

// Health is what the last probes of an instance said.
type Health string

// The verdicts of a probe.
const (
	Healthy   Health = "healthy"
	Unhealthy Health = "unhealthy"
	Unknown   Health = "unknown"
	// Degraded is shown of one that was healthy and whose last probes failed, too
	// few to act on. Nothing is decided by it.
	Degraded Health = "degraded"
)

// Exit tells how a program ended.
type Exit struct {
	// Known is false where the machine could not tell: after a reboot, say.
	Known  bool      `json:"known"`
	Code   int       `json:"code"`             // exit status; 128+Signal when a signal ended it
	Signal int       `json:"signal,omitempty"` // the signal's number, or 0
	OOM    bool      `json:"oom,omitempty"`    // the kernel killed it for memory
	At     time.Time `json:"at"`
}

// String says it in words: "exited 1", "killed by signal 9 (out of memory)".
func (e Exit) String() string {
	switch {
	case !e.Known:
		return "ended, status unknown"
	case e.OOM:
		return fmt.Sprintf("killed by signal %d (out of memory)", e.Signal)
	case e.Signal != 0:
		return fmt.Sprintf("killed by signal %d", e.Signal)
	}
	return fmt.Sprintf("exited %d", e.Code)
}

// Instance is one incarnation as found on the machine.
type Instance struct {
	Spec      Spec      `json:"spec"`
	Phase     Phase     `json:"phase"`
	Pid       int       `json:"pid,omitempty"` // of the program itself, in the host's pid namespace
	StartedAt time.Time `json:"started_at"`
	Exit      *Exit     `json:"exit,omitempty"` // set when Phase is Stopped or Failed
}

// Runtime is one isolation level.
//
// Methods may be called from several goroutines; calls for one Key are made
// one at a time, except that Wait and Stop may overlap.
type Runtime interface {
	// Check reports why the level does not work on this host, as an
	// *UnsupportedError with a fix in it, or nil. It is cheap and has no effect.
	Check(ctx context.Context) error

	// Start starts the incarnation and returns once its program has been
	// executed (not: is ready). Starting a Key that is already alive returns
	// that instance. A failure leaves nothing behind and is a *StartError.
	// The instance's life does not hang on ctx, nor on the calling process.
	Start(ctx context.Context, spec Spec) (Instance, error)

	// Stop sends the stop signal, waits for StopTimeout, then kills everything
	// the incarnation ever started, and removes every trace of it but its data.
	// When ctx ends during the grace period the kill comes at once. Stopping
	// what is not there is not an error.
	Stop(ctx context.Context, key Key) error

	// List returns every incarnation of this level that has not been removed
	// by Stop, the ended ones included, ordered by Key. An error means unknown:
	// callers must not read it as "none".
	List(ctx context.Context) ([]Instance, error)

	// Wait blocks until the incarnation has ended and says how. A crash is
	// noticed within 50 ms. ErrNotFound for a Key that List does not show.
	Wait(ctx context.Context, key Key) (Exit, error)
}

// Updater is a level that can change Limits, and the record of Fields, Digest,
// Revision, StopSignal and StopTimeout, of a running incarnation in place.
type Updater interface {
	Update(ctx context.Context, spec Spec) error
}

// Suspender is a level that can freeze a running incarnation: it keeps its
// memory, of which what can be is given back to the host, and gets no processor
// time until Resume. A suspended one is listed as Sleeping, with its pid, over
// restarts of the daemon too; Start returns it as it is, Stop works on it as on a
// running one, and its sockets still queue what comes. What is killed while it is
// suspended is noticed at the next List or Resume, at the latest. Suspending what is
// suspended, and resuming what runs, is fine. Where the host can't freeze, Suspend
// returns an *UnsupportedError and changes nothing.
type Suspender interface {
	// Suspends says before anything has to be frozen why that can't be done on
	// this host, as an *UnsupportedError, or nil. It is cheap.
	Suspends() error
	Suspend(ctx context.Context, key Key) error
	Resume(ctx context.Context, key Key) error
}

// Dialer is a level whose instances may have a network of their own. Dial
// connects to an address inside it ("tcp", "127.0.0.1:8080"), or from the host
// where the instance shares its network; or to a unix socket of the instance's,
// following no link that it has put in the way. It takes no longer than ctx.
type Dialer interface {
	Dial(ctx context.Context, key Key, network, address string) (net.Conn, error)
}

// Owner is a level that knows whose a process is.
type Owner interface {
	// Owner gives the incarnation that a process of the host belongs to. It goes by
	// what the machine says of the process, so nobody can pass for another's. The
	// caller sees to it that pid is not reused meanwhile.
	Owner(pid int) (Key, bool)
	// Has reports whether List would show an incarnation.
	Has(key Key) bool
}

// Outputter is a level that keeps its instances' standard output and error
// readable across restarts of the daemon. Both readers reach io.EOF after the
// incarnation has ended and all of it was read; the caller closes them. One
// reader of a Key at a time. What is not read waits in the pipe (1 MB where the
// kernel allows it) and is never lost to a restart of the daemon.
type Outputter interface {
	Output(key Key) (stdout, stderr io.ReadCloser, err error)
}

// ErrNotFound is returned for a Key that does not exist.
var ErrNotFound = errors.New("no such instance")

// UnsupportedError says why a level does not work on this host and what to do.
type UnsupportedError struct {
	Level  Level
	Reason string // "user namespaces are switched off (user.max_user_namespaces = 0)"
	Hint   string // "run ten as root, or: sysctl -w user.max_user_namespaces=10000"
}

func (e *UnsupportedError) Error() string {
	return fmt.Sprintf("isolation %q does not work here: %s", e.Level, e.Reason)
}

// StartError says which step of a start failed, on what, and why.
type StartError struct {
	Key    Key
	Step   string // "exec", "mount", "cgroup", ...
	Object string // the path, command or value the step worked on
	Err    error  // usually a syscall.Errno
	Hint   string // may be empty
}

func (e *StartError) Error() string {
	return fmt.Sprintf("start %s: %s %s: %v", e.Key.ID, e.Step, e.Object, e.Err)
}

func (e *StartError) Unwrap() error { return e.Err }
