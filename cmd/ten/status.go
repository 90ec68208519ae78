package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tenement/ten/host/api"
)

type statusOptions struct{ json bool }

func newStatusCommand(e *env) *cobra.Command {
	var opts statusOptions
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show how this host stands: revisions, state, what to do",
		Long: `Show which revision is applied, which was attempted, and whether the host is in
sync, applying, held, paused, blocked or in error, with the reason and the
command that helps.

Exit status
  0  the daemon answered, whatever the state
  1  the daemon could not be asked
  2  wrong usage`,
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return runStatus(cmd.Context(), e, opts) },
	}
	cmd.Flags().BoolVar(&opts.json, "json", false, "print JSON")
	return cmd
}

func runStatus(ctx context.Context, e *env, opts statusOptions) error {
	c, err := e.client()
	if err != nil {
		return err
	}
	defer c.Close()
	s, err := c.Status(ctx)
	if err != nil {
		return err
	}
	if opts.json {
		return writeJSON(e.stdout, s)
	}
	_, err = e.stdout.Write([]byte(statusText(s, e.paint(), time.Now())))
	return err
}

// statusText says the one thing to know first, then what it rests on.
func statusText(s api.Status, p paint, now time.Time) string {
	var b strings.Builder
	line := func(key, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%-10s %s\n", key, value)
		}
	}
	line("state", statePaint(p, s.State)+sinceText(s.Since, now))
	line("", s.Message)
	if s.Hint != "" {
		line("next", p.bold(s.Hint))
	}
	line("host", s.Host)
	line("source", s.Source)
	line("applied", revisionText(s.Revision.Applied, s))
	if s.Revision.Attempted != s.Revision.Applied {
		line("attempted", revisionText(s.Revision.Attempted, s))
	}
	line("instances", countsText(s.Instances, p))
	for _, l := range s.Listeners {
		if l.Error != "" {
			line(l.Name, p.red("closed: "+l.Error))
			continue
		}
		line(l.Name, l.Address)
	}
	for _, c := range s.Certificates {
		line("tls", certificateText(c, p, now))
	}
	for _, service := range slices.Sorted(maps.Keys(s.Pauses)) {
		what := service
		if service == "*" {
			what = "the host"
		}
		line("paused", what+": "+s.Pauses[service])
	}
	line("daemon", fmt.Sprintf("ten %s, pid %d, up %s", s.Version, s.Pid, ago(now.Sub(s.StartedAt))))
	if len(s.Problems) > 0 {
		fmt.Fprintf(&b, "\nProblems in %s:\n", short(s.Revision.Attempted))
		for _, text := range s.Problems {
			fmt.Fprintf(&b, "  %s\n", strings.ReplaceAll(text, "\n", "\n  "))
		}
	}
	if len(s.Logs) > 0 {
		fmt.Fprintf(&b, "\nIt said last:\n  %s\n", strings.Join(s.Logs, "\n  "))
	}
	return b.String()
}

// certificateText is one certificate: whose, by whom, until when, or why not.
func certificateText(c api.Certificate, p paint, now time.Time) string {
	var parts []string
	if c.Name != "" {
		parts = append(parts, c.Name)
	}
	if !c.Expires.IsZero() {
		left := c.Expires.Sub(now)
		text := "for another " + ago(left)
		if left <= 0 {
			text = p.red("expired")
		}
		parts = append(parts, text+" ("+c.Source+")")
	}
	if c.Error != "" {
		parts = append(parts, p.red(c.Error))
	}
	return strings.Join(parts, ": ")
}

func sinceText(since, now time.Time) string {
	if since.IsZero() {
		return ""
	}
	return " for " + ago(now.Sub(since))
}

// revisionText adds what is known of the newest revision to it.
func revisionText(revision string, s api.Status) string {
	if revision == "" {
		return "none"
	}
	text := short(revision)
	if revision != s.Revision.Attempted {
		return text
	}
	if s.Subject != "" {
		text += fmt.Sprintf(" %q", s.Subject)
	}
	if s.Signer != "" {
		text += " (signed: " + s.Signer + ")"
	}
	return text
}

func countsText(c api.Counts, p paint) string {
	text := fmt.Sprintf("%d declared, %d running, %d healthy", c.Declared, c.Running, c.Healthy)
	if c.Sleeping > 0 {
		text += fmt.Sprintf(", %d sleeping", c.Sleeping)
	}
	if c.Degraded > 0 {
		text += ", " + p.yellow(fmt.Sprintf("%d degraded", c.Degraded))
	}
	if c.Unhealthy > 0 {
		text += ", " + p.yellow(fmt.Sprintf("%d unhealthy", c.Unhealthy))
	}
	if c.Failed > 0 {
		text += ", " + p.red(fmt.Sprintf("%d failed", c.Failed))
	}
	return text
}

func statePaint(p paint, s api.State) string {
	switch s {
	case api.InSync:
		return p.green(string(s))
	case api.Failed, api.Held:
		return p.red(string(s))
	}
	return p.yellow(string(s))
}
