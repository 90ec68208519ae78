package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/tenement/ten/host/api"
	"github.com/tenement/ten/reconcile/plan"
	"github.com/tenement/ten/runtimes"
	"github.com/tenement/ten/runtimes/facts"
	"github.com/tenement/ten/schema"
)

func newDoctorCommand(e *env) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Show what this host can do, and how to make it do the rest",
		Long: `Show what this host can do: the isolation levels that work, and what they rest on,
each with a fix where something is missing. Where a daemon runs it is the daemon's
view, otherwise that of who asks.

Exit status
  0  looked, whatever was found
  1  could not look
  2  wrong usage`,
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return runDoctor(cmd.Context(), e, asJSON) },
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// check is one thing that was looked at.
type check struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail,omitempty"`
	Hint   string `json:"hint,omitempty"`
}

func runDoctor(ctx context.Context, e *env, asJSON bool) error {
	checks, err := e.examine(ctx)
	if err != nil {
		return err
	}
	if asJSON {
		return writeJSON(e.stdout, map[string][]check{"checks": checks})
	}
	p := e.paint()
	width := 0
	for _, c := range checks {
		width = max(width, len(c.Name))
	}
	var b strings.Builder
	for _, c := range checks {
		mark := p.green("ok ")
		if !c.OK {
			mark = p.red("no ")
		}
		fmt.Fprintf(&b, "%s  %-*s  %s\n", mark, width, c.Name, c.Detail)
		if c.Hint != "" {
			fmt.Fprintf(&b, "     %-*s  fix: %s\n", width, "", c.Hint)
		}
	}
	_, err = e.stdout.Write([]byte(b.String()))
	return err
}

// examine looks at the machine and asks the daemon, or else the levels themselves.
func (e *env) examine(ctx context.Context) ([]check, error) {
	c, err := e.client()
	if err != nil {
		return nil, err
	}
	defer c.Close()
	checks := []check{machine()}
	obs, err := c.Observe(ctx, api.Ask{})
	if absent, ok := errors.AsType[*api.NotRunningError](err); ok {
		if e.isRemote() {
			return nil, absent
		}
		checks = append(checks, check{Name: "daemon", OK: true, Detail: "none answers at " + c.Where() + "; this is your own view, as " + whoami()})
		return e.examineAlone(ctx, checks)
	}
	if err != nil {
		return nil, err
	}
	checks = append(checks, check{Name: "daemon", OK: true, Detail: "answers at " + c.Where()})
	checks = append(checks, levelChecks(obs.Host.Levels)...)
	if e.isRemote() {
		return checks, nil
	}
	checks = append(checks, machineChecks()...)
	return append(checks, dataDirCheck(obs.Host.DataDir)), nil
}

// examineAlone asks the levels without a daemon. They need a directory to be
// opened over, and nothing is left in it.
func (e *env) examineAlone(ctx context.Context, checks []check) ([]check, error) {
	dataDir, err := e.findDataDir()
	if err != nil {
		return nil, err
	}
	scratch, err := os.MkdirTemp("", "ten-doctor-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(scratch)
	levels, free, err := openLevels(scratch, e.log)
	if err != nil {
		return nil, err
	}
	defer free()
	found := map[runtimes.Level]plan.Support{}
	for level, rt := range levels {
		found[level] = plan.Support{OK: true}
		if err := rt.Check(ctx); err != nil {
			found[level] = plan.Support{Reason: err.Error()}
			if u, ok := errors.AsType[*runtimes.UnsupportedError](err); ok {
				found[level] = plan.Support{Reason: u.Reason, Hint: u.Hint}
			}
		}
	}
	checks = append(checks, levelChecks(found)...)
	checks = append(checks, machineChecks()...)
	return append(checks, dataDirCheck(dataDir)), nil
}

// levelChecks lists the levels of this build, weakest wall first.
func levelChecks(found map[runtimes.Level]plan.Support) []check {
	var checks []check
	for level, s := range found {
		detail := "works"
		if !s.OK {
			detail = s.Reason
		}
		checks = append(checks, check{Name: string(level), OK: s.OK, Detail: detail, Hint: s.Hint})
	}
	order := schema.IsolationLevels()
	slices.SortFunc(checks, func(a, b check) int {
		return cmp.Or(cmp.Compare(slices.Index(order, a.Name), slices.Index(order, b.Name)), cmp.Compare(a.Name, b.Name))
	})
	return checks
}

// machineChecks tells of the kernel and what it offers to levels, with the
// rights of this process.
func machineChecks() []check {
	var checks []check
	for _, f := range facts.Host() {
		checks = append(checks, check{Name: f.Name, OK: f.OK, Detail: f.Detail, Hint: f.Hint})
	}
	return checks
}

func machine() check {
	detail := runtime.GOOS + "/" + runtime.GOARCH
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		detail = unix.ByteSliceToString(u.Sysname[:]) + " " + unix.ByteSliceToString(u.Release[:]) + ", " + detail
	}
	return check{Name: "machine", OK: true, Detail: fmt.Sprintf("%s, %d processors", detail, runtime.NumCPU())}
}

func whoami() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return fmt.Sprintf("uid %d", os.Getuid())
}

// dataDirCheck tells whether there is room, and whether who asks may write.
func dataDirCheck(dir string) check {
	c := check{Name: "data directory", OK: true, Detail: dir}
	at := dir
	for at != filepath.Dir(at) {
		if _, err := os.Stat(at); err == nil {
			break
		}
		at = filepath.Dir(at)
	}
	if at != dir {
		c.Detail += ", does not exist yet"
	}
	var fsys unix.Statfs_t
	if err := unix.Statfs(at, &fsys); err == nil {
		c.Detail += ", " + bytesText(int64(fsys.Bavail)*int64(fsys.Bsize)) + " free"
	}
	if err := unix.Access(at, unix.W_OK); err != nil {
		c.OK, c.Hint = false, "run as its owner, or choose another: --data-dir DIR"
		c.Detail += ", not writable by you: " + err.Error()
	}
	return c
}
