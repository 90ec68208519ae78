package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/tenement/ten/host/api"
	"github.com/tenement/ten/runtimes"
)

// Errors are lower case without a full stop, say what and where, and are
// followed by a hint that can be pasted where there is one.

// The exit statuses that all commands share.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitInterrupted = 130
)

// usageError is a command line that can't be understood.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }

func (e *usageError) Unwrap() error { return e.err }

// hintError is an error with its way out, for what only one command knows.
type hintError struct {
	err  error
	hint string
}

func (e *hintError) Error() string { return e.err.Error() }

func (e *hintError) Unwrap() error { return e.err }

// exitError ends ten with a status after the command has said everything itself.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// report says what went wrong, and how to go on, and gives the exit status.
func (e *env) report(ctx context.Context, cmd *cobra.Command, err error) int {
	message, hint, code := explain(cmd, err)
	if code == exitFailed && ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return exitInterrupted
	}
	if message != "" {
		fmt.Fprintf(e.stderr, "ten: error: %s\n", message)
	}
	if hint != "" {
		fmt.Fprintf(e.stderr, "ten: hint: %s\n", hint)
	}
	return code
}

// explain is the one place that knows what to say of an error.
func explain(cmd *cobra.Command, err error) (message, hint string, code int) {
	var (
		exit        exitError
		usage       *usageError
		hinted      *hintError
		refused     *api.Error
		absent      *api.NotRunningError
		running     *api.RunningError
		unsupported *runtimes.UnsupportedError
		start       *runtimes.StartError
		foreign     interface{ Hint() string } // of an export or import
	)
	switch {
	case err == nil, errors.Is(err, errOutputClosed):
		return "", "", exitOK
	case errors.As(err, &exit):
		return "", "", int(exit)
	case errors.As(err, &usage):
		about := cmd
		if about.Name() == "help" {
			about = about.Root()
		}
		return err.Error(), "see: " + about.CommandPath() + " --help", usageStatus(cmd)
	case errors.As(err, &hinted):
		return err.Error(), hinted.hint, exitFailed
	case errors.As(err, &refused):
		return err.Error(), refused.Hint, exitFailed
	case errors.As(err, &absent):
		return err.Error(), "start it: ten serve, or say where it is: --data-dir DIR", exitFailed
	case errors.As(err, &running):
		return err.Error(), "use it: ten status, or give this one its own: --data-dir DIR", exitFailed
	case errors.As(err, &unsupported):
		return err.Error(), unsupported.Hint, exitFailed
	case errors.As(err, &start):
		return err.Error(), start.Hint, exitFailed
	case errors.As(err, &foreign):
		return err.Error(), foreign.Hint(), exitFailed
	}
	return err.Error(), "", exitFailed
}

// usageStatus keeps 2 free where it has another meaning.
func usageStatus(cmd *cobra.Command) int {
	if f := cmd.Flags().Lookup("detailed-exitcode"); f != nil {
		return exitFailed
	}
	return exitUsage
}
