package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tenement/ten/schema"
)

func newInitCommand(e *env) *cobra.Command {
	var name, command string
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Write a first tenement.toml for the program in this directory",
		Long: `Write a tenement.toml into the working directory, for the program that lies in it,
and ask nothing: what starts it is guessed from the files that its tools leave.
An existing tenement.toml is left alone.` + exitText,
		Example: `  ten init
  ten init --name api --command "node server.js"`,
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !cmd.Flags().Changed("name") {
				if name = serviceName(filepath.Base(e.dir)); name == "" {
					return &usageError{fmt.Errorf("no service can be named after the directory %q: say --name", filepath.Base(e.dir))}
				}
			}
			return runInit(e, name, command)
		},
	}
	cmd.Flags().StringVar(&name, "name", "", "name of the service (default: the directory's)")
	cmd.Flags().StringVar(&command, "command", "", "what starts it (default: guessed)")
	return cmd
}

func runInit(e *env, name, command string) error {
	if !schema.ValidServiceName(name) {
		return &usageError{fmt.Errorf("--name %q: want lower-case letters, digits, - and _, with a letter or digit at both ends", name)}
	}
	guess := "as given"
	if strings.TrimSpace(command) == "" {
		command, guess = e.guessCommand()
	}
	file := filepath.Join(e.dir, configName)
	f, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return &hintError{fmt.Errorf("%s exists already", configName), "look at it: ten config"}
	}
	if err != nil {
		return fmt.Errorf("write the config: %w", err)
	}
	_, err = f.WriteString(firstConfig(name, command))
	if err := errors.Join(err, f.Close()); err != nil {
		os.Remove(file)
		return fmt.Errorf("write the config: %w", err)
	}
	_, err = fmt.Fprintf(e.stdout, `Created %s

  service:   %s
  command:   %s (%s)
  instance:  %s:default

Next steps:
  1. Look at it:  ten plan
  2. Run it:      ten serve
  3. See it:      ten ps
`, configName, name, command, guess, name)
	return err
}

// firstConfig is what a program needs to begin with.
func firstConfig(name, command string) string {
	return fmt.Sprintf(`[service.%s]
command = %s
health = "/health"        # answers 2xx when all is well
idle_timeout = 300        # seconds without a request, then it sleeps
storage_persist = true    # its data outlives it
isolation = "process"

[instances]
%s = ["default"]
`, name, tomlString(command), name)
}

// tomlString quotes text as TOML has it; JSON's strings are among those.
func tomlString(s string) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil { // a string always has a JSON form
		return `""`
	}
	return strings.ReplaceAll(strings.TrimSuffix(b.String(), "\n"), "\x7f", `\u007f`)
}

// serviceName makes a name of a directory's; "" when nothing is left of it.
func serviceName(dir string) string {
	name := strings.Map(func(r rune) rune {
		switch {
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '_':
			return r
		}
		return '-'
	}, dir)
	name = strings.Trim(name[:min(len(name), 63)], "-_")
	if !schema.ValidServiceName(name) {
		return ""
	}
	return name
}

// guessCommand tells from the files of the working directory what starts the
// program in it, and by which.
func (e *env) guessCommand() (command, why string) {
	has := func(name string) bool {
		info, err := os.Stat(filepath.Join(e.dir, name))
		return err == nil && info.Mode().IsRegular()
	}
	python := "uv run python app.py"
	if !has("app.py") && has("main.py") {
		python = "uv run python main.py"
	}
	for _, g := range []struct{ file, command string }{
		{"pyproject.toml", python},
		{"requirements.txt", python},
		{"package.json", "npm start"},
		{"go.mod", "go run ."},
		{"Cargo.toml", "cargo run --release"},
	} {
		if has(g.file) {
			return g.command, "found " + g.file
		}
	}
	return "./app", "nothing was found: edit it"
}
