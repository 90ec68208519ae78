package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/tenement/ten/host/api"
)

type pauseOptions struct{ reason, until string }

func newPauseCommand(e *env) *cobra.Command {
	var opts pauseOptions
	cmd := &cobra.Command{
		Use:   "pause [SERVICE]",
		Short: "Hold the reconciling of a service, or of the whole host",
		Long: `Hold the reconciling of a service, or without one of the whole host. New
revisions are still read and shown; what runs is kept running. A pause outlives
a restart of the daemon and ends with ten resume, or at --until.` + exitText,
		Example: `  ten pause --reason "database migration" --until 2h
  ten pause web --until 2026-05-01T08:00:00Z`,
		Args:              args(cobra.MaximumNArgs(1)),
		ValidArgsFunction: completeService(e),
		RunE: func(cmd *cobra.Command, given []string) error {
			until, err := parseUntil(opts.until, time.Now())
			if err != nil {
				return &usageError{err}
			}
			return e.do(cmd.Context(), api.Command{Verb: api.VerbPause, Service: first(given), Reason: opts.reason, Until: until})
		},
	}
	cmd.Flags().StringVar(&opts.reason, "reason", "", "why, shown in status and plans")
	cmd.Flags().StringVar(&opts.until, "until", "", "end by itself after a duration (90m) or at a time (2026-05-01T08:00:00Z)")
	return cmd
}

func newResumeCommand(e *env) *cobra.Command {
	return &cobra.Command{
		Use:               "resume [SERVICE]",
		Short:             "End a pause",
		Long:              `End the pause of a service, or without one that of the host. What had to wait is applied now.` + exitText,
		Args:              args(cobra.MaximumNArgs(1)),
		ValidArgsFunction: completeService(e),
		RunE: func(cmd *cobra.Command, given []string) error {
			return e.do(cmd.Context(), api.Command{Verb: api.VerbResume, Service: first(given)})
		},
	}
}

// first is the optional argument of a command.
func first(given []string) string {
	if len(given) == 0 {
		return ""
	}
	return given[0]
}

// parseUntil reads a duration from now or a point in time; "" means no end.
func parseUntil(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		d, derr := time.ParseDuration(text)
		if derr != nil {
			return time.Time{}, fmt.Errorf("--until %q: want a duration such as 90m or a time such as %s", text, now.UTC().Truncate(time.Hour).Add(24*time.Hour).Format(time.RFC3339))
		}
		at = now.Add(d)
	}
	if !at.After(now) {
		return time.Time{}, fmt.Errorf("--until %q is in the past", text)
	}
	return at, nil
}
