package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tenement/ten/schema"
)

func newConfigCommand(e *env) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "config [DIR]",
		Short: "Show what a config says, with the defaults filled in",
		Long: `Show the settings and services that a directory's config declares, as ten reads
them. DIR is that of the nearest tenement.toml upward when it is not given.

Exit status
  0  shown
  1  there is no config, or it has faults
  2  wrong usage`,
		Args: args(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, given []string) error { return runConfig(cmd.Context(), e, asJSON, given) },
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON, of every field")
	return cmd
}

func runConfig(ctx context.Context, e *env, asJSON bool, given []string) error {
	dir, err := e.configDir(given)
	if err != nil {
		return err
	}
	_, model, err := e.loadDir(ctx, dir)
	if err != nil {
		return err
	}
	if asJSON {
		return writeJSON(e.stdout, model)
	}
	dataDir, err := e.dataDirFrom(dir)
	if err != nil {
		return err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "Data dir: %q\nHealth interval: %ds\n\nServices:\n", dataDir, model.Settings.HealthCheckInterval/time.Second)
	for _, s := range model.Services {
		b.WriteString(serviceText(s))
	}
	_, err = e.stdout.Write([]byte(b.String()))
	return err
}

func serviceText(s *schema.Service) string {
	var b strings.Builder
	line := func(key, value string) {
		if value != "" {
			fmt.Fprintf(&b, "    %s: %s\n", key, value)
		}
	}
	fmt.Fprintf(&b, "  [%s]\n", s.Name)
	line("command", strings.Join(append([]string{s.Command}, s.Args...), " "))
	line("isolation", string(s.Isolation))
	line("health", s.Health)
	if s.IdleTimeout > 0 {
		line("idle_timeout", fmt.Sprintf("%ds", s.IdleTimeout/time.Second))
	}
	line("instances", strings.Join(s.Instances, ", "))
	return b.String()
}
