package main

import (
	"github.com/spf13/cobra"

	"github.com/tenement/ten/host/api"
)

func newRetryCommand(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "retry [SERVICE]",
		Short: "Try again what failed and is held",
		Long: `Try again the revision that failed and is held at last good, or one service of
it, without a new commit.` + exitText,
		Args:              args(cobra.MaximumNArgs(1)),
		ValidArgsFunction: completeService(e),
		RunE: func(cmd *cobra.Command, given []string) error {
			return e.do(cmd.Context(), api.Command{Verb: api.VerbRetry, Service: first(given)})
		},
	}
}

func newSyncCommand(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "sync",
		Short: "Look at the repository now instead of at the next poll",
		Long:  `Make the daemon look at its repository now instead of at the next poll.` + exitText,
		Args:  args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return e.do(cmd.Context(), api.Command{Verb: api.VerbSync})
		},
	}
}
