package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/tenement/ten/host/api"
)

func newAuditCommand(e *env) *cobra.Command {
	return pastCommand(e, &cobra.Command{
		Use:   "audit",
		Short: "Show who did what to this host, newest first",
		Long: `Show who did what to this host and what came of it, newest first: every act, by
command, socket or token, and what was refused, to whom as far as that is known. Who
is refused again and again is told in numbers. Nothing of it is ever changed; the
oldest go when there are too many, and that is said.` + exitText,
	}, "acts", e.showAudit)
}

func (e *env) showAudit(ctx context.Context, c *api.Client, opts pastOptions) error {
	log, err := c.Acts(ctx, opts.limit)
	if err != nil {
		return err
	}
	if opts.json {
		return writeJSON(e.stdout, log)
	}
	if len(log.Acts) == 0 {
		_, err := fmt.Fprintln(e.stdout, "Nobody has done anything yet")
		return err
	}
	rows := [][]string{{"WHEN", "WHO", "FROM", "ACTION", "TARGET", "DETAIL", "RESULT"}}
	for _, a := range log.Acts {
		rows = append(rows, actRow(a, time.Now()))
	}
	if err := table(e.stdout, []int{8, 8, 12, 12, 12, 0, 0}, rows); err != nil || log.Note == "" {
		return err
	}
	_, err = fmt.Fprintf(e.stdout, "\n%s\n", log.Note)
	return err
}

func actRow(a api.Act, now time.Time) []string {
	result := tame(a.Result)
	if result == "" {
		result = "(no end was noted)"
	}
	return []string{
		ago(now.Sub(a.At)) + " ago", a.Who, a.Source, a.Action, orDash(tame(a.Target)), orDash(tame(a.Detail)), result,
	}
}
