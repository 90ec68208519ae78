package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"
	"github.com/rogpeppe/go-internal/diff"
	"github.com/spf13/cobra"

	"github.com/tenement/ten/schema"
	"github.com/tenement/ten/schema/format"
)

type fmtOptions struct{ list, diff, check bool }

func newFmtCommand(e *env) *cobra.Command {
	var opts fmtOptions
	cmd := &cobra.Command{
		Use:   "fmt [FILE|DIR]...",
		Short: "Lay TOML files out in their one canonical form",
		Long: `Lay configs out the one way: blanks, line ends and blank lines are put right, and
nothing else. Comments, keys, values and their order stay as they were written, and
a result that would not mean the same is never written.

Of a directory (by default that of the nearest tenement.toml upward) these are
tenement.toml, slum.toml and services/*.toml. - is standard input, written to standard output.
The files that changed are printed.

Exit status
  0  done
  1  a file is no TOML or could not be read; with --check, a file is not formatted
  2  wrong usage`,
		Example: "  ten fmt\n  ten fmt --check --diff\n  ten fmt - < tenement.toml",
		RunE:    func(_ *cobra.Command, given []string) error { return runFmt(e, opts, given) },
	}
	f := cmd.Flags()
	f.BoolVarP(&opts.list, "list", "l", false, "print the files that would change, change none")
	f.BoolVarP(&opts.diff, "diff", "d", false, "print what would change, change nothing")
	f.BoolVar(&opts.check, "check", false, "as --list, and exit 1 when there are any")
	return cmd
}

func runFmt(e *env, opts fmtOptions, given []string) error {
	if len(given) == 1 && given[0] == "-" {
		return fmtStream(e, opts)
	}
	files, err := e.fmtFiles(given)
	if err != nil {
		return err
	}
	var bad, changed int
	for _, name := range files {
		differs, err := fmtFile(e, opts, name)
		if err := e.fmtFault(err); err != nil {
			return err
		}
		if err != nil {
			bad++
		}
		if differs {
			changed++
		}
	}
	if bad > 0 || opts.check && changed > 0 {
		return exitError(exitFailed)
	}
	return nil
}

// fmtFault prints what is wrong with one file; any other error is given back.
func (e *env) fmtFault(err error) error {
	if syntax, ok := errors.AsType[*format.SyntaxError](err); ok {
		return schema.WriteText(e.stderr, []schema.Problem{syntax.Problem})
	}
	return err
}

// fmtFiles are the files that the arguments name, as a person would name them.
func (e *env) fmtFiles(given []string) ([]string, error) {
	if len(given) == 0 {
		dir, err := e.configDir(nil)
		if err != nil {
			return nil, err
		}
		given = []string{e.fromDir(dir)}
	}
	var files []string
	for _, name := range given {
		info, err := os.Stat(e.abs(name))
		switch {
		case err != nil:
			return nil, &hintError{err, "name a TOML file, or a directory with a tenement.toml"}
		case !info.IsDir():
			files = append(files, name)
			continue
		}
		found, err := configsIn(e.abs(name))
		if err != nil {
			return nil, err
		}
		if len(found) == 0 {
			return nil, &hintError{fmt.Errorf("%s has no %s and no services/*.toml", name, configName), "name the files: ten fmt FILE..."}
		}
		for _, f := range found {
			files = append(files, filepath.Join(name, f))
		}
	}
	return files, nil
}

// configsIn gives the TOML files of a directory that configure ten.
func configsIn(dir string) ([]string, error) {
	var found []string
	for _, pattern := range []string{configName, schema.SlumFile, "services/*.toml"} {
		entries, err := fs.Glob(os.DirFS(dir), pattern)
		if err != nil {
			return nil, err
		}
		found = append(found, entries...)
	}
	return found, nil
}

// fromDir names a directory as it is found from the working directory.
func (e *env) fromDir(dir string) string {
	if rel, err := filepath.Rel(e.dir, dir); err == nil {
		return rel
	}
	return dir
}

func fmtStream(e *env, opts fmtOptions) error {
	src, err := readConfig("standard input", e.stdin)
	if err != nil {
		return err
	}
	out, err := format.TOML("-", src)
	if err != nil {
		if err := e.fmtFault(err); err != nil {
			return err
		}
		return exitError(exitFailed)
	}
	if !opts.list && !opts.diff && !opts.check {
		_, err = e.stdout.Write(out)
		return err
	}
	differs, err := fmtShow(e, opts, "-", src, out)
	if err == nil && differs && opts.check {
		return exitError(exitFailed)
	}
	return err
}

// fmtFile formats one file, or shows what would become of it.
func fmtFile(e *env, opts fmtOptions, name string) (differs bool, err error) {
	file, err := filepath.EvalSymlinks(e.abs(name)) // a link stays a link
	if err != nil {
		return false, err
	}
	src, err := readRegular(name, file)
	if err != nil {
		return false, err
	}
	out, err := format.TOML(name, src)
	if err != nil {
		return false, err
	}
	if differs, err = fmtShow(e, opts, name, src, out); err != nil || !differs {
		return differs, err
	}
	if opts.list || opts.diff || opts.check {
		return true, nil
	}
	return true, renameio.WriteFile(file, out, 0o644, renameio.WithExistingPermissions())
}

func fmtShow(e *env, opts fmtOptions, name string, src, out []byte) (differs bool, err error) {
	if bytes.Equal(src, out) {
		return false, nil
	}
	if opts.diff {
		_, err = e.stdout.Write(diff.Diff(name+" (as it is)", src, name+" (formatted)", out))
		return true, err
	}
	_, err = fmt.Fprintln(e.stdout, name)
	return true, err
}

// readRegular reads a config that is a file and no pipe or device.
func readRegular(name, file string) ([]byte, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no regular file", name)
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readConfig(name, f)
}

// readConfig reads what may be as large as a config at most.
func readConfig(name string, r io.Reader) ([]byte, error) {
	src, err := io.ReadAll(io.LimitReader(r, schema.MaxFileSize+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if len(src) > schema.MaxFileSize {
		return nil, fmt.Errorf("%s is larger than the %d MB that a config may have", name, schema.MaxFileSize>>20)
	}
	return src, nil
}
