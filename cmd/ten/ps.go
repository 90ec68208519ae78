package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/tenement/ten/host/api"
	"github.com/tenement/ten/runtimes"
)

type psOptions struct {
	all  bool
	json bool
}

func newPsCommand(e *env) *cobra.Command {
	var opts psOptions
	cmd := &cobra.Command{
		Use:     "ps",
		Aliases: []string{"ls"},
		Short:   "List instances",
		Long: `List the instances that run on this host; with --all also those that sleep,
were stopped or failed.

Exit status
  0  listed, or there are none
  1  the daemon could not be asked
  2  wrong usage`,
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return runPs(cmd.Context(), e, opts) },
	}
	cmd.Flags().BoolVarP(&opts.all, "all", "a", false, "also list sleeping, stopped and failed instances")
	cmd.Flags().BoolVar(&opts.json, "json", false, "print JSON")
	return cmd
}

func runPs(ctx context.Context, e *env, opts psOptions) error {
	c, err := e.client()
	if err != nil {
		return err
	}
	defer c.Close()
	list, err := c.Instances(ctx, opts.all)
	if err != nil {
		return err
	}
	if opts.json {
		return writeJSON(e.stdout, map[string][]api.Instance{"instances": list})
	}
	if len(list) == 0 {
		what := "No running instances"
		if opts.all {
			what = "No instances"
		}
		_, err := fmt.Fprintf(e.stdout, "%s\nServer: %s\n", what, c.Where())
		return err
	}
	rows := [][]string{{"INSTANCE", "LISTEN", "UPTIME", "IDLE", "HEALTH", "WEIGHT", "PHASE", "ISOLATION", "NOTE"}}
	running := 0
	for _, i := range list {
		if i.Phase.Alive() {
			running++
		}
		rows = append(rows, psRow(i, time.Now()))
	}
	if err := table(e.stdout, []int{20, 20, 10, 10, 9, 6, 8, 9, 0}, rows); err != nil {
		return err
	}
	_, err = fmt.Fprintf(e.stdout, "\n%d instance(s) running on %s\n", running, c.Where())
	return err
}

func psRow(i api.Instance, now time.Time) []string {
	uptime, idle := "-", "-"
	if i.Phase.Alive() && !i.StartedAt.IsZero() {
		uptime, idle = ago(now.Sub(i.StartedAt)), ago(i.Idle(now))
	}
	id := runtimes.ID{Service: i.Service, Instance: i.ID}
	note := i.Note
	if note == "" && i.Restarts > 0 {
		note = fmt.Sprintf("restarted %d times", i.Restarts)
	}
	return []string{
		id.String(), orDash(i.Address), uptime, idle, orDash(string(i.Health)),
		strconv.Itoa(i.Weight), string(i.Phase), string(i.Isolation), note,
	}
}
