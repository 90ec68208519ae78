package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/tenement/ten/host/api"
	"github.com/tenement/ten/reconcile/plan"
)

type whyOptions struct{ json bool }

func newWhyCommand(e *env) *cobra.Command {
	var opts whyOptions
	cmd := &cobra.Command{
		Use:   "why SERVICE",
		Short: "Explain a service: how it stands, what is due, what was done and why",
		Long: `Explain a service: its instances as they are, what the next plan would do to
them and for what reason, and what was done to them before.` + exitText,
		Args:              args(cobra.ExactArgs(1)),
		ValidArgsFunction: completeService(e),
		RunE:              func(cmd *cobra.Command, given []string) error { return runWhy(cmd.Context(), e, opts, given[0]) },
	}
	cmd.Flags().BoolVar(&opts.json, "json", false, "print JSON")
	return cmd
}

func runWhy(ctx context.Context, e *env, opts whyOptions, service string) error {
	c, err := e.client()
	if err != nil {
		return err
	}
	defer c.Close()
	why, err := c.Why(ctx, service)
	if err != nil {
		return err
	}
	if opts.json {
		return writeJSON(e.stdout, why)
	}
	return printWhy(e, why, time.Now())
}

func printWhy(e *env, why api.Why, now time.Time) error {
	for _, i := range why.Instances {
		line := fmt.Sprintf("%s:%s  %s, %s", i.Service, i.ID, i.Phase, i.Health)
		if i.Phase.Alive() && !i.StartedAt.IsZero() {
			line += " for " + ago(now.Sub(i.StartedAt))
		}
		if i.Revision != "" {
			line += ", revision " + short(i.Revision)
		}
		if i.Note != "" {
			line += ": " + i.Note
		}
		if _, err := fmt.Fprintln(e.stdout, line); err != nil {
			return err
		}
	}
	if len(why.Pending) == 0 {
		fmt.Fprintln(e.stdout, "\nNothing is due: it runs as it is declared.")
	} else {
		fmt.Fprintln(e.stdout, "\nDue:")
	}
	for _, a := range why.Pending {
		fmt.Fprintf(e.stdout, "  %s\n", dueText(a, now))
		for _, c := range a.Changes {
			fmt.Fprintf(e.stdout, "      %s\n", changeText(c))
		}
	}
	if len(why.Past) == 0 {
		return nil
	}
	if _, err := fmt.Fprintln(e.stdout, "\nPast:"); err != nil {
		return err
	}
	return pastTable(e, why.Past, now)
}

func dueText(a plan.Action, now time.Time) string {
	text := fmt.Sprintf("%s %s: %s", a.Op, a.ID, a.Reason.Text)
	if a.NotBefore.After(now) {
		text += ", in " + took(a.NotBefore.Sub(now))
	}
	if a.Blocked != nil {
		text += "; blocked: " + a.Blocked.Text
		if a.Blocked.Hint != "" {
			text += " (" + a.Blocked.Hint + ")"
		}
	}
	return text
}

func changeText(c plan.Change) string {
	before, after := c.Before, c.After
	if c.Sensitive {
		before, after = masked(before), masked(after)
	}
	text := ""
	switch {
	case before == "":
		text = fmt.Sprintf("+ %s  %s", c.Path, after)
	case after == "":
		text = fmt.Sprintf("- %s  %s", c.Path, before)
	default:
		text = fmt.Sprintf("~ %s  %s -> %s", c.Path, before, after)
	}
	if c.Decides {
		text += fmt.Sprintf("    # forces %s", c.Effect)
	}
	return text
}

func masked(value string) string {
	if value == "" {
		return ""
	}
	return "(sensitive)"
}
