package main

import (
	"github.com/spf13/cobra"

	"github.com/tenement/ten/host/api"
	"github.com/tenement/ten/runtimes"
)

func newWakeCommand(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "wake SERVICE:ID",
		Short: "Make a sleeping instance answer again",
		Long: `Start one instance of a service that runs on demand, and wait until it is
healthy. An instance that is awake already is left alone.` + exitText,
		Args:              args(cobra.ExactArgs(1)),
		ValidArgsFunction: completeInstance(e),
		RunE: func(cmd *cobra.Command, given []string) error {
			id, err := runtimes.ParseID(given[0])
			if err != nil {
				return &usageError{err}
			}
			return e.do(cmd.Context(), api.Command{Verb: api.VerbWake, Service: id.Service, Instance: id.Instance})
		},
	}
}
