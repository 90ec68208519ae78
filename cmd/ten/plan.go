package main

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/google/renameio/v2"
	"github.com/spf13/cobra"

	"github.com/tenement/ten/reconcile/plan"
)

type planOptions struct {
	json, markdown, detailed, full, summary bool
	out                                     string
}

const exitChanges = 2

func newPlanCommand(e *env) *cobra.Command {
	var opts planOptions
	cmd := &cobra.Command{
		Use:   "plan [DIR]",
		Short: "Show what would change on this host, and why",
		Long: `Compare a directory, as it is on disk, with what runs on this host, and show what
ten apply would do and for what reason. Nothing is changed. Without a running
daemon the directory is planned against a host where nothing runs.

DIR is that of the nearest tenement.toml upward when it is not given.

Exit status
  0  planned
  1  failed: the config has faults, or the daemon could not be asked
  2  wrong usage
With --detailed-exitcode
  0  nothing to change
  1  failed, wrong usage, or part of the plan is blocked
  2  there are changes`,
		Example: `  ten plan
  ten plan --out next.plan && ten apply next.plan
  ten plan --markdown >> "$PULL_REQUEST_COMMENT"`,
		Args: args(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, given []string) error { return runPlan(cmd.Context(), e, opts, given) },
	}
	f := cmd.Flags()
	f.BoolVar(&opts.json, "json", false, "print JSON")
	f.BoolVar(&opts.markdown, "markdown", false, "print Markdown, for a pull request")
	f.BoolVar(&opts.detailed, "detailed-exitcode", false, "exit 2 when there are changes")
	f.BoolVar(&opts.full, "full", false, "show every field and every instance")
	f.BoolVar(&opts.summary, "summary", false, "show the lines only, no fields")
	f.StringVar(&opts.out, "out", "", "also save the plan to a `file` for ten apply")
	cmd.MarkFlagsMutuallyExclusive("json", "markdown")
	cmd.MarkFlagsMutuallyExclusive("full", "summary")
	return cmd
}

func runPlan(ctx context.Context, e *env, opts planOptions, given []string) error {
	began := time.Now()
	dir, err := e.configDir(given)
	if err != nil {
		return err
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
	if opts.out != "" {
		if err := savePlan(e.abs(opts.out), p.saved()); err != nil {
			return err
		}
	}
	if p.offline {
		fmt.Fprintf(e.stderr, "ten: no daemon answers at %s: planned against a host where nothing runs\n", c.Where())
	}
	text := plan.TextOptions{
		Color: e.paint().on, Full: opts.full, Summary: opts.summary, Next: e.nextCommand(opts, given, p), Took: time.Since(began),
	}
	if err := printPlan(e, opts, text, p.plan); err != nil && !opts.detailed {
		return err
	}
	switch {
	case !opts.detailed, p.plan.Empty():
		return nil
	case p.plan.Summary.Blocked > 0:
		return exitError(exitFailed)
	}
	return exitError(exitChanges)
}

func printPlan(e *env, opts planOptions, text plan.TextOptions, p plan.Plan) error {
	switch {
	case opts.json:
		return p.JSON(e.stdout)
	case opts.markdown:
		return p.Markdown(e.stdout)
	}
	return p.Text(e.stdout, text)
}

func savePlan(file string, s plan.Saved) error {
	var b bytes.Buffer
	if err := s.Encode(&b); err != nil {
		return fmt.Errorf("save the plan: %w", err)
	}
	if err := renameio.WriteFile(file, b.Bytes(), 0o600); err != nil {
		return fmt.Errorf("save the plan: %w", err)
	}
	return nil
}

// nextCommand is what applies exactly this plan, to be pasted.
func (e *env) nextCommand(opts planOptions, given []string, p planned) string {
	if p.offline || p.plan.Empty() {
		return ""
	}
	words := []string{"ten", "apply"}
	switch {
	case opts.out != "":
		words = append(words, opts.out)
	case len(given) > 0:
		words = append(words, given[0])
	}
	if e.server != "" {
		words = append(words, "--server", e.server)
	} else if e.dataDir != "" {
		words = append(words, "--data-dir", e.dataDir)
	}
	for i, w := range words {
		words[i] = quote(w)
	}
	return strings.Join(words, " ")
}

// quote makes one word of a shell's command line.
func quote(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./:@%+=,", r)
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
