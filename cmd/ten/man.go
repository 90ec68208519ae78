package main

import (
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

func newManCommand(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "man DIR",
		Short: "Write the man pages into a directory",
		Long:  `Write a man page for every command into a directory, out of the same text as the help.` + exitText,
		Args:  args(cobra.ExactArgs(1)),
		RunE:  func(cmd *cobra.Command, given []string) error { return runMan(e, cmd.Root(), given[0]) },
	}
}

func runMan(e *env, root *cobra.Command, dir string) error {
	dir = e.abs(dir)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	root.DisableAutoGenTag = true // or every build would differ
	when := time.Unix(0, 0).UTC()
	header := &doc.GenManHeader{Section: "1", Source: "ten " + buildVersion(), Manual: "tenement", Date: &when}
	if err := doc.GenManTree(root, header, dir); err != nil {
		return fmt.Errorf("write man pages to %s: %w", dir, err)
	}
	return nil
}
