package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/tenement/ten/host/api"
)

func newApproveCommand(e *env) *cobra.Command {
	return revisionCommand(e, api.VerbApprove, &cobra.Command{
		Use:   "approve REVISION",
		Short: "Allow a revision that removes many instances",
		Long: `Allow the one revision that removes so many instances that it waits for a
person's word. ten plan shows what it removes; the data of removed instances
stays.`,
	})
}

func newAcceptRewindCommand(e *env) *cobra.Command {
	return revisionCommand(e, api.VerbAcceptRewind, &cobra.Command{
		Use:   "accept-rewind REVISION",
		Short: "Accept a branch that was rewound or rewritten to a revision",
		Long: `Accept that the branch no longer contains the applied revision. The host follows
it to the given revision, and from there on only forward again.`,
	})
}

// revisionCommand completes a command whose one argument is a revision.
func revisionCommand(e *env, verb api.Verb, cmd *cobra.Command) *cobra.Command {
	cmd.Long += "\n\nREVISION is the one that ten status shows, whole or at least 7 digits of it." + exitText
	cmd.Args = args(cobra.ExactArgs(1))
	cmd.RunE = func(cmd *cobra.Command, given []string) error {
		if len(given[0]) < 7 {
			return &usageError{fmt.Errorf("revision %q: want at least 7 digits, so that it is no other", given[0])}
		}
		return e.do(cmd.Context(), api.Command{Verb: verb, Revision: given[0]})
	}
	return cmd
}
