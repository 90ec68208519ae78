package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/renameio/v2"
	"github.com/spf13/cobra"

	"github.com/tenement/ten/export"
	"github.com/tenement/ten/export/intake"
)

type importOptions struct {
	out   string
	force bool
}

func newImportCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "import FORMAT FILE",
		Short: "Make a tenement.toml from the files of another tool",
		Long: `Read what another tool was told to run, and say it in a tenement.toml. Each line of
it names the line that it came from. What ten can't say stands in the result as a
comment and is printed as a table; what only a person can know is left open, and
its line is printed.` + exitText,
		Example: "  ten import compose compose.yaml -o tenement.toml\n  ten import procfile Procfile",
		Args:    args(cobra.ArbitraryArgs),
		RunE: func(cmd *cobra.Command, given []string) error {
			if len(given) == 0 {
				return cmd.Help()
			}
			return unknownCommand(cmd, given[0])
		},
	}
	cmd.SuggestionsMinimumDistance = 2
	for _, f := range intake.Formats() {
		cmd.AddCommand(newImportFormat(e, f))
	}
	return cmd
}

func newImportFormat(e *env, f intake.Format) *cobra.Command {
	var opts importOptions
	rule := cobra.ExactArgs(1)
	if f.Many {
		rule = cobra.MinimumNArgs(1)
	}
	cmd := &cobra.Command{
		Use:   f.Name + " " + f.Files,
		Short: "From " + f.Short,
		Long: "Make a tenement.toml from " + f.Short + `.
- as a file is standard input. Files that it names are looked for beside it.` + exitText,
		Args: args(rule),
		RunE: func(_ *cobra.Command, given []string) error { return runImport(e, f, opts, given) },
	}
	cmd.Flags().StringVarP(&opts.out, "out", "o", "", "write the config to a `file` instead of standard output, which is - too")
	cmd.Flags().BoolVar(&opts.force, "force", false, "write over a file that exists")
	return cmd
}

func runImport(e *env, f intake.Format, opts importOptions, given []string) error {
	if opts.out == "-" { // as a file that is read
		opts.out = ""
	}
	src := make([]intake.Source, len(given))
	for i, name := range given {
		var err error
		if src[i], err = e.importSource(name, opts.out); err != nil {
			return err
		}
	}
	result, err := intake.Read(f, src)
	if err != nil {
		return err
	}
	name := "standard output"
	if opts.out == "" {
		_, err = e.stdout.Write(result.Config)
	} else {
		name = opts.out
		err = writeImport(e.abs(opts.out), opts, result.Config)
	}
	if err != nil {
		return err
	}
	return e.reportImport(name, given, result)
}

// importSource reads a foreign file, and where it lies as seen from the config.
func (e *env) importSource(name, out string) (intake.Source, error) {
	if name == "-" {
		data, err := readConfig("standard input", e.stdin)
		return intake.Source{Name: "stdin", Data: data, Dir: "."}, err
	}
	path := e.abs(name)
	data, err := readRegular(name, path)
	if errors.Is(err, fs.ErrNotExist) {
		return intake.Source{}, fmt.Errorf("read %s: no such file", name)
	}
	if err != nil {
		return intake.Source{}, fmt.Errorf("read %s: %w", name, err)
	}
	root := e.dir
	if out != "" {
		root = filepath.Dir(e.abs(out))
	}
	dir, err := filepath.Rel(root, filepath.Dir(path))
	if err != nil {
		dir = ".."
	}
	return intake.Source{
		Name: filepath.ToSlash(name), Data: data, Dir: filepath.ToSlash(dir), Tree: os.DirFS(filepath.Dir(path)),
	}, nil
}

// writeImport makes the file, and replaces one only when that was asked for.
func writeImport(path string, opts importOptions, config []byte) error {
	if opts.force {
		return renameio.WriteFile(path, config, 0o644, renameio.WithExistingPermissions())
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return &hintError{fmt.Errorf("%s exists", opts.out), "name another file, or write over it: --force"}
	}
	if err != nil {
		return err
	}
	if _, err := f.Write(config); err != nil {
		f.Close()
		return fmt.Errorf("write %s: %w", opts.out, err)
	}
	return f.Close()
}

// reportImport says on standard error what did not get across, and what is left
// to do.
func (e *env) reportImport(name string, given []string, r intake.Result) error {
	lost := 0
	rows := [][]string{{"FROM", "SERVICE", "FIELD", "VALUE", "KIND", "WHY"}}
	for _, l := range r.Losses {
		if l.Kind == export.Lost {
			lost++
		}
		why := l.Why
		if l.Instead != "" {
			why += "; instead: " + l.Instead
		}
		rows = append(rows, []string{l.At.String(), orDash(l.Service), l.Field, orDash(l.Value), string(l.Kind), why})
	}
	if len(rows) > 1 {
		if err := table(e.stderr, make([]int, len(rows[0])), rows); err != nil {
			return err
		}
	}
	for _, g := range r.Gaps {
		fmt.Fprintf(e.stderr, "%s:%d: fill in %s of service %s: %s (%s)\n", name, g.Line, g.Field, g.Service, g.Why, g.At)
	}
	_, err := fmt.Fprintf(e.stderr, "%s from %s: %s, %d converted, %d to fill in\n", count(r.Services, "service"),
		strings.Join(given, ", "), count(lost, "value")+" lost", len(r.Losses)-lost, len(r.Gaps))
	return err
}
