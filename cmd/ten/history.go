package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tenement/ten/host/api"
)

// pastOptions are those of commands that show what was, newest first.
type pastOptions struct {
	limit int
	json  bool
}

// pastCommand completes such a command. unit is what --limit counts.
func pastCommand(e *env, cmd *cobra.Command, unit string, show func(context.Context, *api.Client, pastOptions) error) *cobra.Command {
	var opts pastOptions
	cmd.Args = args(cobra.NoArgs)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if opts.limit < 1 {
			return &usageError{fmt.Errorf("--limit %d: want at least 1", opts.limit)}
		}
		return e.withClient(func(c *api.Client) error { return show(cmd.Context(), c, opts) })
	}
	cmd.Flags().IntVar(&opts.limit, "limit", 20, "how many "+unit)
	cmd.Flags().BoolVar(&opts.json, "json", false, "print JSON")
	return cmd
}

func newHistoryCommand(e *env) *cobra.Command {
	return pastCommand(e, &cobra.Command{
		Use:   "history",
		Short: "Show what happened on this host, newest first",
		Long:  `Show what was applied, refused, reverted and restarted on this host, newest first.` + exitText,
	}, "entries", e.showHistory)
}

func (e *env) showHistory(ctx context.Context, c *api.Client, opts pastOptions) error {
	past, err := c.History(ctx, opts.limit)
	if err != nil {
		return err
	}
	if opts.json {
		return writeJSON(e.stdout, map[string][]api.Entry{"history": past})
	}
	if len(past) == 0 {
		_, err := fmt.Fprintln(e.stdout, "Nothing has happened yet")
		return err
	}
	return pastTable(e, past, time.Now())
}

// pastTable prints entries, those of a service and those of the host alike.
func pastTable(e *env, past []api.Entry, now time.Time) error {
	rows := [][]string{{"WHEN", "REVISION", "WHAT", "ACTION", "TOOK", "WHY"}}
	for _, p := range past {
		what := p.Instance
		if what == "" {
			what = "host"
		}
		lasted := "-"
		if p.Took > 0 {
			lasted = took(p.Took)
		}
		rows = append(rows, []string{ago(now.Sub(p.At)) + " ago", orDash(short(p.Revision)), what, p.Action, lasted, pastText(p)})
	}
	return table(e.stdout, []int{8, 8, 12, 9, 6, 0}, rows)
}

// pastText is why, and what came of it where that is not plain success.
func pastText(p api.Entry) string {
	text := p.Reason
	if text == "" && p.Subject != "" {
		text = fmt.Sprintf("%q", p.Subject)
	}
	if p.Result != "" && p.Result != "ok" {
		if text != "" {
			text += ": "
		}
		text += p.Result
	}
	return strings.ReplaceAll(text, "\n", " ")
}
