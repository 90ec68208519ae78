package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tenement/ten/host/api"
	"github.com/tenement/ten/reconcile/plan"
)

type applyOptions struct{ yes bool }

func newApplyCommand(e *env) *cobra.Command {
	var opts applyOptions
	cmd := &cobra.Command{
		Use:   "apply [DIR|FILE]",
		Short: "Apply a directory or a saved plan to this host",
		Long: `Show what applying a directory would change, ask for a yes, and have the daemon do
exactly that: it refuses when the host has moved since the plan was made. A file
is a plan saved by ten plan --out; it was looked at already and is not asked for.

The daemon does the work. To leave this command does not stop it; ten status
shows how it goes on. The daemon keeps to what was applied until its own source
has a newer revision.

DIR is that of the nearest tenement.toml upward when it is not given.

Exit status
  0  applied, or nothing had to change
  1  refused or failed; what runs is as the output says
  2  wrong usage`,
		Args: args(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, given []string) error { return runApply(cmd.Context(), e, opts, given) },
	}
	cmd.Flags().BoolVar(&opts.yes, "yes", false, "don't ask")
	return cmd
}

func runApply(ctx context.Context, e *env, opts applyOptions, given []string) error {
	saved, isFile, err := e.savedPlan(given)
	if err != nil {
		return err
	}
	dir := saved.Dir
	if !isFile {
		if dir, err = e.configDir(given); err != nil {
			return err
		}
	}
	c, err := e.clientFrom(dir)
	if err != nil {
		return err
	}
	defer c.Close()
	p, err := e.planDir(ctx, c, dir)
	if err != nil {
		return err
	}
	if p.offline {
		return &api.NotRunningError{Where: c.Where()}
	}
	if isFile {
		if moved := saved.Stale(p.saved()); len(moved) > 0 {
			return &hintError{fmt.Errorf("the saved plan is not true any more:\n  %s", strings.Join(moved, "\n  ")), "plan again: ten plan " + quote(dir) + " --out " + quote(given[0])}
		}
	}
	if err := p.plan.Text(e.stdout, plan.TextOptions{Color: e.paint().on}); err != nil {
		return err
	}
	if p.plan.Empty() {
		return nil
	}
	if !opts.yes && !isFile {
		if err := e.confirm(ctx, fmt.Sprintf("Apply this to %s?", p.plan.Host)); err != nil {
			return err
		}
	}
	return e.apply(ctx, c, api.ApplyRequest{Dir: dir, Expect: plan.Fingerprint(p.plan)})
}

// savedPlan reads the argument as a saved plan if it is a file.
func (e *env) savedPlan(given []string) (saved plan.Saved, isFile bool, err error) {
	if len(given) == 0 {
		return plan.Saved{}, false, nil
	}
	path := e.abs(given[0])
	f, err := os.Open(path)
	if err != nil {
		return plan.Saved{}, false, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || info.IsDir() {
		return plan.Saved{}, false, err
	}
	saved, err = plan.Decode(f)
	if err != nil {
		return plan.Saved{}, true, fmt.Errorf("%s: %w", given[0], err)
	}
	return saved, true, nil
}

// apply has the daemon apply, and prints what it reports.
func (e *env) apply(ctx context.Context, c *api.Client, r api.ApplyRequest) error {
	pulse := newPulse(e.stderr, "applying", heartbeat)
	err := pulse.during(ctx, func() error {
		return c.Apply(ctx, r, func(ev api.Event) {
			pulse.beat()
			printEvent(e, ev)
		})
	})
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		fmt.Fprintln(e.stderr, "ten: stopped watching; the daemon goes on: ten status")
	}
	return err
}

func printEvent(e *env, ev api.Event) {
	p := e.paint()
	if ev.Text != "" {
		text := ev.Text
		if ev.Error != "" {
			text = p.red(text)
		}
		fmt.Fprintln(e.stdout, text)
	}
	if ev.Error != "" && !ev.Done { // that of the last event becomes the command's own
		fmt.Fprintf(e.stdout, "    %s\n", ev.Error)
	}
	for _, line := range ev.Logs {
		if isTerminal(e.stdout) {
			line = tame(line)
		}
		fmt.Fprintf(e.stdout, "    | %s\n", line)
	}
}
