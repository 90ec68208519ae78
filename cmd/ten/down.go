package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/tenement/ten/host/api"
)

func newDownCommand(e *env) *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:   "down",
		Short: "Stop every instance of this host, and its daemon",
		Long: `Stop every instance of a data directory, then its daemon. Data directories stay;
the next ten serve starts everything again.` + exitText,
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return runDown(cmd.Context(), e, yes) },
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "don't ask")
	return cmd
}

func runDown(ctx context.Context, e *env, yes bool) error {
	c, err := e.client()
	if err != nil {
		return err
	}
	defer c.Close()
	list, err := c.Instances(ctx, false)
	if err != nil {
		return err
	}
	if !yes {
		question := fmt.Sprintf("Stop %d instance(s) and the daemon at %s?", len(list), c.Where())
		if err := e.confirm(ctx, question); err != nil {
			return err
		}
	}
	text, err := c.Do(ctx, api.Command{Verb: api.VerbDown})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(e.stdout, text)
	return err
}
