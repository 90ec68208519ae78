package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/agext/levenshtein"
	"github.com/spf13/cobra"
)

const rootHelp = `ten turns a git repository into running services. A host's daemon (ten serve)
follows the repository, plans what differs from what runs, and applies it.
Every other command asks that daemon.

The daemon is found by --server, else --data-dir, else TENEMENT_SERVER, else
TENEMENT_DATA_DIR, else the data directory of the nearest tenement.toml upward,
else ./tenement-data, else /var/lib/tenement.

Exit status
  0  done
  1  failed
  2  wrong usage`

// newRootCommand builds the whole command tree anew, so that nothing of one run
// is left for the next.
func newRootCommand(e *env) *cobra.Command {
	root := &cobra.Command{
		Use:           "ten",
		Short:         "From git push to running services",
		Long:          rootHelp,
		Version:       buildVersion(),
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cmd.Help()
			}
			return unknownCommand(cmd, args[0])
		},
	}
	root.SetVersionTemplate("ten {{.Version}}\n")
	root.SetIn(e.stdin)
	root.SetOut(e.stdout)
	root.SetErr(e.stderr)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &usageError{err} })
	root.SuggestionsMinimumDistance = 2
	flags := root.PersistentFlags()
	flags.StringVar(&e.server, "server", "", "address of the daemon: unix:///path or http://host:port (TENEMENT_SERVER)")
	flags.StringVar(&e.dataDir, "data-dir", "", "data directory of the daemon (TENEMENT_DATA_DIR)")
	flags.StringVar(&e.token, "token", "", "token for a --server on the network (TENEMENT_TOKEN)")
	root.AddGroup(helpGroups()...)
	for group, list := range commands(e) {
		for _, cmd := range list {
			cmd.GroupID = group
			root.AddCommand(cmd)
		}
	}
	root.SetHelpCommand(newHelpCommand())
	root.SetHelpCommandGroupID(groupHost)
	root.SetCompletionCommandGroupID(groupHost)
	return root
}

func unknownCommand(cmd *cobra.Command, name string) error {
	err := fmt.Errorf("unknown command %q", name)
	if near := closest(cmd.SuggestionsFor(name), name); near != "" {
		err = fmt.Errorf("unknown command %q, did you mean %q?", name, near)
	}
	return &usageError{err}
}

// closest is the word that takes the fewest slips to become name, "" of none.
func closest(words []string, name string) string {
	if len(words) == 0 {
		return ""
	}
	return slices.MinFunc(words, func(a, b string) int {
		return cmp.Or(levenshtein.Distance(a, name, nil)-levenshtein.Distance(b, name, nil), strings.Compare(a, b))
	})
}

// args makes a breach of a rule about arguments a usage error.
func args(rule cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, given []string) error {
		if rule(cmd, given) == nil {
			return nil
		}
		use, _ := strings.CutSuffix(cmd.UseLine(), " [flags]")
		if use == cmd.CommandPath() {
			return &usageError{fmt.Errorf("%s takes no arguments; given: %s", use, strings.Join(given, " "))}
		}
		return &usageError{fmt.Errorf("want %s; number of arguments given: %d", use, len(given))}
	}
}
