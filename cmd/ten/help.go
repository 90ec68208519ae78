package main

import (
	"strings"

	"github.com/spf13/cobra"
)

// The groups of commands in the help, in its order.
const (
	groupDesire = "desire"
	groupLook   = "look"
	groupAct    = "act"
	groupHost   = "host"
)

func helpGroups() []*cobra.Group {
	return []*cobra.Group{
		{ID: groupDesire, Title: "What should run:"},
		{ID: groupLook, Title: "What runs:"},
		{ID: groupAct, Title: "Steer it:"},
		{ID: groupHost, Title: "This host and this program:"},
	}
}

// newHelpCommand differs from cobra's own in that an unknown topic is an error.
func newHelpCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Show help about a command",
		Long:  `Show help about a command, or the list of all.` + exitText,
		ValidArgsFunction: func(cmd *cobra.Command, given []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
			var names []cobra.Completion
			for _, sub := range cmd.Root().Commands() {
				if len(given) == 0 && sub.IsAvailableCommand() && strings.HasPrefix(sub.Name(), typed) {
					names = append(names, sub.Name())
				}
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, given []string) error {
			about, rest, err := cmd.Root().Find(given)
			if err != nil {
				return &usageError{err}
			}
			if len(rest) > 0 {
				return unknownCommand(about, rest[0])
			}
			about.InitDefaultHelpFlag()
			return about.Help()
		},
	}
}
