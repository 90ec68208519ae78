package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tenement/ten/export"
	"github.com/tenement/ten/export/compose"
	"github.com/tenement/ten/export/fly"
	"github.com/tenement/ten/export/kubernetes"
	"github.com/tenement/ten/export/nomad"
	"github.com/tenement/ten/export/procfile"
	"github.com/tenement/ten/export/pulumi"
	"github.com/tenement/ten/export/systemd"
	"github.com/tenement/ten/export/terraform"
	"github.com/tenement/ten/schema"
)

// exportTargets is the one list of what a model can be exported to.
func exportTargets() []export.Target {
	return []export.Target{
		fly.Target(),
		systemd.Target(),
		compose.Target(),
		kubernetes.Target(),
		nomad.Target(),
		pulumi.Target(),
		terraform.Target(),
		procfile.Target(),
	}
}

type exportOptions struct {
	out, project, region, registry string
	strict, check                  bool
}

func newExportCommand(e *env) *cobra.Command {
	var opts exportOptions
	cmd := &cobra.Command{
		Use:   "export TARGET [DIR]",
		Short: "Write the config in the words of another tool",
		Long: `Write what a directory declares as files of another tool, so that you can leave
ten, or run beside it. Targets:

` + targetHelp() + `
What a target can't say is told as a table, and in export-report.json among the
files: each value with the reason, and with what stands in for it. A service that
the target can't hold at all refuses the export. Nothing is invented: an image is
built from the service's source by its own Dockerfile or a generated one.

Files go to DIR/export/TARGET or to --out. Only files of the same name are
overwritten, and files of an earlier export that are not wanted any more removed.
Project, region and registry are remembered in the report. No daemon is asked.

--check writes nothing, and fails when the files are not what would be written:
for CI, where exports are committed.

Exit status
  0  written; with --check, the files are as they should be
  1  refused or failed; with --strict, something is lost; with --check, files differ
  2  wrong usage`,
		Example: `  ten export compose
  ten export fly --project shop --region fra
  ten export compose --check --strict`,
		Args:              args(cobra.RangeArgs(1, 2)),
		ValidArgsFunction: completeTarget,
		RunE:              func(cmd *cobra.Command, given []string) error { return runExport(cmd.Context(), e, opts, given) },
	}
	f := cmd.Flags()
	f.StringVarP(&opts.out, "out", "o", "", "write the files to a `directory`")
	f.BoolVar(&opts.strict, "strict", false, "refuse when anything is converted or lost")
	f.BoolVar(&opts.check, "check", false, "only compare, and fail when files differ")
	f.StringVar(&opts.project, "project", "", "`name` before those of apps and resources (default: that of the directory)")
	f.StringVar(&opts.region, "region", "", "where things are put, for targets that have places")
	f.StringVar(&opts.registry, "registry", "", "where images are pushed, for targets that pull them")
	return cmd
}

func targetHelp() string {
	var b strings.Builder
	for _, t := range exportTargets() {
		fmt.Fprintf(&b, "  %-11s %s\n", t.Name, t.Short)
	}
	return b.String()
}

func targetNames() []string {
	var names []string
	for _, t := range exportTargets() {
		names = append(names, t.Name)
	}
	return names
}

func completeTarget(_ *cobra.Command, given []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(given) > 0 {
		return nil, cobra.ShellCompDirectiveFilterDirs
	}
	var all []cobra.Completion
	for _, t := range exportTargets() {
		all = append(all, cobra.CompletionWithDesc(t.Name, t.Short))
	}
	return all, cobra.ShellCompDirectiveNoFileComp
}

func findTarget(name string) (export.Target, error) {
	for _, t := range exportTargets() {
		if t.Name == name {
			return t, nil
		}
	}
	return export.Target{}, &usageError{fmt.Errorf("no target %q: want one of %s", name, strings.Join(targetNames(), ", "))}
}

func runExport(ctx context.Context, e *env, opts exportOptions, given []string) error {
	target, err := findTarget(given[0])
	if err != nil {
		return err
	}
	dir, err := e.configDir(given[1:])
	if err != nil {
		return err
	}
	out := filepath.Join(dir, "export", target.Name)
	if opts.out != "" {
		out = e.abs(opts.out)
	}
	before, err := readReport(out)
	if err != nil {
		return err
	}
	snap, model, err := e.loadDir(ctx, dir)
	if err != nil {
		return err
	}
	o, err := targetOptions(opts, dir, out, before)
	if err != nil {
		return err
	}
	o.Tree = snap.Tree
	bundle, losses, err := export.Run(target, model, o)
	if err != nil {
		return e.exportError(dir, err)
	}
	bundle = withReport(bundle, newReport(target, o, bundle, losses))
	if !opts.check || opts.strict {
		if err := e.writeLosses(losses); err != nil {
			return err
		}
	}
	if opts.strict && len(losses) > 0 {
		return &hintError{fmt.Errorf("%s can't say all of it: %s", target.Name, countLosses(losses)), "change the config, or leave --strict out"}
	}
	if opts.check {
		return e.checkExport(target, opts, given, out, before, bundle)
	}
	return e.writeExport(target, out, before, bundle, losses)
}

// targetOptions fills in what was not given: from the report of the last export,
// so that a check in another checkout compares like with like.
func targetOptions(opts exportOptions, dir, out string, before *exportReport) (export.Options, error) {
	root, err := filepath.Rel(out, dir)
	if err != nil {
		return export.Options{}, fmt.Errorf("find the way from %s to %s: %w", out, dir, err)
	}
	o := export.Options{Project: opts.project, Region: opts.region, Registry: opts.registry, Root: filepath.ToSlash(root)}
	if before != nil {
		o.Project = cmp.Or(o.Project, before.Project)
		o.Region = cmp.Or(o.Region, before.Region)
		o.Registry = cmp.Or(o.Registry, before.Registry)
	}
	o.Project = cmp.Or(o.Project, export.ProjectName(filepath.Base(dir)))
	return o, nil
}

// exportError makes a bad option a mistake of usage, and names files as they are
// found from the working directory.
func (e *env) exportError(dir string, err error) error {
	if refused, ok := errors.AsType[*export.RefusedError](err); ok && refused.At.File != "" {
		refused.At = e.fromHere(dir, []schema.Problem{{Position: refused.At}})[0].Position
	}
	if invalid, ok := errors.AsType[*export.InvalidError](err); ok && invalid.Value != "" {
		return &usageError{fmt.Errorf("--%w", invalid)}
	}
	return err
}

// writeLosses prints what the target can't say, where people see it even when
// the output goes elsewhere.
func (e *env) writeLosses(losses []export.Loss) error {
	if len(losses) == 0 {
		return nil
	}
	rows := [][]string{{"SERVICE", "FIELD", "VALUE", "KIND", "WHY", "INSTEAD"}}
	for _, l := range losses {
		rows = append(rows, []string{orDash(l.Service), l.Field, clip(l.Value, 30), string(l.Kind), l.Why, orDash(l.Instead)})
	}
	return table(e.stderr, make([]int, len(rows[0])), rows)
}

// clip shows a value on one line, its end cut off.
func clip(s string, n int) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '.'
		}
		return r
	}, s)
	if runes := []rune(s); len(runes) > n {
		return string(runes[:n-3]) + "..."
	}
	return s
}

func countLosses(losses []export.Loss) string {
	n := map[export.Kind]int{}
	for _, l := range losses {
		n[l.Kind]++
	}
	return fmt.Sprintf("%d converted, %d lost", n[export.Converted], n[export.Lost])
}

// writeExport writes the bundle and says what to do next.
func (e *env) writeExport(target export.Target, out string, before *exportReport, b export.Bundle, losses []export.Loss) error {
	if err := os.MkdirAll(out, 0o755); err != nil {
		return fmt.Errorf("make %s: %w", out, err)
	}
	kept, err := writeBundle(out, before, b)
	if err != nil {
		return err
	}
	here := e.shown(out)
	for _, path := range kept {
		fmt.Fprintf(e.stderr, "ten: %s is from an earlier export and was changed since: left where it is\n", filepath.Join(here, path))
	}
	fmt.Fprintf(e.stdout, "wrote %s: %s, %s\n", here, count(len(b.Files), "file"), countLosses(losses))
	if len(b.Steps) == 0 {
		return nil
	}
	fmt.Fprintf(e.stdout, "next, in %s:\n", here)
	for _, step := range b.Steps[:min(len(b.Steps), shownSteps)] {
		if _, err := fmt.Fprintf(e.stdout, "  %s\n", step); err != nil {
			return err
		}
	}
	if more := len(b.Steps) - shownSteps; more > 0 {
		_, err = fmt.Fprintf(e.stdout, "  and %d more: steps in %s\n", more, filepath.Join(here, reportName))
	}
	return err
}

// shownSteps is how many steps are printed; the report has all.
const shownSteps = 20

// checkExport names each file that is not as it should be.
func (e *env) checkExport(target export.Target, opts exportOptions, given []string, out string, before *exportReport, b export.Bundle) error {
	differs, err := compareBundle(out, before, b)
	if err != nil {
		return err
	}
	here := e.shown(out)
	for _, d := range differs {
		fmt.Fprintf(e.stdout, "%s  %s\n", d.how, filepath.Join(here, d.path))
	}
	if len(differs) == 0 {
		_, err := fmt.Fprintf(e.stdout, "ok: %s is what ten export %s writes: %s\n", here, target.Name, count(len(b.Files), "file"))
		return err
	}
	return &hintError{
		fmt.Errorf("%s is not what the config says, in %s", here, count(len(differs), "file")),
		"write it again: " + exportCommand(opts, given),
	}
}

// shown is a path as it is typed from the working directory.
func (e *env) shown(path string) string {
	if rel, err := filepath.Rel(e.dir, path); err == nil && filepath.IsLocal(rel) {
		return rel
	}
	return path
}

// exportCommand is the command that was typed, without --check.
func exportCommand(opts exportOptions, given []string) string {
	words := []string{"ten", "export"}
	for _, g := range given {
		words = append(words, quote(g))
	}
	for _, f := range [][2]string{{"--out", opts.out}, {"--project", opts.project}, {"--region", opts.region}, {"--registry", opts.registry}} {
		if f[1] != "" {
			words = append(words, f[0], quote(f[1]))
		}
	}
	return strings.Join(words, " ")
}
