package main

import (
	"context"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tenement/ten/schema"
)

type validateOptions struct{ format string }

// validateFormats are the values of --format, the default first.
func validateFormats() []string { return []string{"text", "json", "github", "sarif"} }

func newValidateCommand(e *env) *cobra.Command {
	var opts validateOptions
	cmd := &cobra.Command{
		Use:   "validate [DIR]",
		Short: "Check a config and print every fault in it",
		Long: `Check the config of a directory (by default that of the nearest tenement.toml
upward): tenement.toml, services/*.toml, CUE files with the policies in them, and
the hosts of slum.toml. Every fault is printed, each with its place and a way out. Nothing is changed and
no daemon is asked, so it runs anywhere.

--format github annotates the lines of a pull request, sarif feeds code scanners.

Exit status
  0  the config is good (there may be warnings)
  1  it is not, or could not be read
  2  wrong usage`,
		Example: "  ten validate\n  ten validate deploy --format github",
		Args:    args(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, given []string) error {
			return runValidate(cmd.Context(), e, opts, given)
		},
	}
	cmd.Flags().StringVar(&opts.format, "format", "text", "how to print: "+strings.Join(validateFormats(), ", "))
	return cmd
}

func runValidate(ctx context.Context, e *env, opts validateOptions, given []string) error {
	if !slices.Contains(validateFormats(), opts.format) {
		return &usageError{fmt.Errorf("--format %s: want one of %s", opts.format, strings.Join(validateFormats(), ", "))}
	}
	dir, err := e.validateDir(given)
	if err != nil {
		return err
	}
	snap, err := e.openDir(dir)
	if err != nil {
		return err
	}
	model, problems, err := e.loader().Load(ctx, snap.Tree)
	if err != nil {
		return fmt.Errorf("load %s: %w", dir, err)
	}
	if err := e.writeProblems(opts.format, model, e.fromHere(dir, problems)); err != nil {
		return err
	}
	if model == nil {
		return exitError(exitFailed)
	}
	return nil
}

// validateDir is the directory to check: unlike a plan, a check also makes sense
// where a config is still missing.
func (e *env) validateDir(given []string) (string, error) {
	if len(given) > 0 {
		return e.abs(given[0]), nil
	}
	if config := e.nearestConfig(); config != "" {
		return filepath.Dir(config), nil
	}
	return e.dir, nil
}

// fromHere names files as they are found from the working directory.
func (e *env) fromHere(dir string, problems []schema.Problem) []schema.Problem {
	rel, err := filepath.Rel(e.dir, dir)
	if err != nil {
		rel = dir
	}
	prefix := filepath.ToSlash(rel)
	if prefix == "." {
		return problems
	}
	out := slices.Clone(problems)
	for i := range out {
		out[i].File = path.Join(prefix, out[i].File)
		out[i].Related = slices.Clone(out[i].Related)
		for j := range out[i].Related {
			out[i].Related[j].File = path.Join(prefix, out[i].Related[j].File)
		}
	}
	return out
}

func (e *env) writeProblems(format string, model *schema.Model, problems []schema.Problem) error {
	switch format {
	case "json":
		return schema.WriteJSON(e.stdout, schema.NewReport(model, problems))
	case "sarif":
		return schema.WriteSARIF(e.stdout, problems, buildVersion())
	case "github":
		if err := schema.WriteGitHub(e.stdout, problems); err != nil {
			return err
		}
	default:
		if err := schema.WriteText(e.stdout, problems); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintln(e.stdout, validateSummary(model, problems))
	return err
}

// validateSummary is the last line: what is there, or how much is wrong.
func validateSummary(model *schema.Model, problems []schema.Problem) string {
	faults := 0
	for _, p := range problems {
		if p.Severity == schema.Error {
			faults++
		}
	}
	if model == nil {
		return "refused: " + count(faults, "error")
	}
	text := fmt.Sprintf("ok: %s, %s", count(len(model.Services), "service"), count(model.InstanceCount(), "instance"))
	if n := len(problems) - faults; n > 0 {
		text += ", " + count(n, "warning")
	}
	return text
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
