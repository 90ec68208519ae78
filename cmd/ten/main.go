// Command ten turns a git repository into running services: it runs a host's
// daemon, and it asks that daemon.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/tenement/ten/host/activation"
	"github.com/tenement/ten/schema/load"
)

func main() {
	// The child that evaluates a repository's CUE: nothing of ten is set up in it.
	if len(os.Args) == 2 && os.Args[1] == "eval" {
		os.Exit(load.EvalMain(os.Stdin, os.Stdout))
	}
	os.Exit(start())
}

// start wires the process to run: its streams, signals and environment.
func start() int {
	// With a handler a write to a closed pipe is an error and no death; a mere
	// "ignore" would be inherited by every program that ten starts.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	dir, err := os.Getwd()
	if err != nil {
		dir = "."
	}
	e := &env{
		stdin:  os.Stdin,
		stdout: &output{w: os.Stdout},
		stderr: os.Stderr,
		dir:    dir,
		log:    slog.New(slog.NewTextHandler(os.Stderr, nil)),
		getenv: os.Getenv,
	}
	// Only the daemon speaks to the service manager; ten busy inherits the words
	// that an instance has from ten.
	if cmd, _, err := newRootCommand(e).Find(os.Args[1:]); err == nil && cmd.Name() == "serve" {
		if e.manager, err = activation.New(os.Getenv, os.Getpid(), os.Unsetenv); err != nil {
			fmt.Fprintln(os.Stderr, "ten: error:", err)
			return exitFailed
		}
	}
	return run(ctx, e, os.Args[1:])
}

// run carries out one command line and gives the exit status.
func run(ctx context.Context, e *env, args []string) int {
	root := newRootCommand(e)
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	return e.report(ctx, cmd, err)
}

// commands is the one list of them, grouped as the help shows them.
func commands(e *env) map[string][]*cobra.Command {
	return map[string][]*cobra.Command{
		groupDesire: {
			newInitCommand(e),
			newValidateCommand(e),
			newConfigCommand(e),
			newPlanCommand(e),
			newApplyCommand(e),
			newSchemaCommand(e),
			newFmtCommand(e),
			newExportCommand(e),
			newImportCommand(e),
		},
		groupLook: {
			newStatusCommand(e),
			newPsCommand(e),
			newHealthCommand(e),
			newLogsCommand(e),
			newWhyCommand(e),
			newHistoryCommand(e),
			newAuditCommand(e),
		},
		groupAct: {
			newSpawnCommand(e),
			newStopCommand(e),
			newRestartCommand(e),
			newWakeCommand(e),
			newWeightCommand(e),
			newDeployCommand(e),
			newRouteCommand(e),
			newPauseCommand(e),
			newResumeCommand(e),
			newApproveCommand(e),
			newAcceptRewindCommand(e),
			newRetryCommand(e),
			newSyncCommand(e),
			newDownCommand(e),
		},
		groupHost: {
			newServeCommand(e),
			newDoctorCommand(e),
			newBusyCommand(e),
			newDataCommand(e),
			newInstallCommand(e),
			newUninstallCommand(e),
			newCaddyCommand(e),
			newTokenGenCommand(e),
			newTokensCommand(e),
			newManCommand(e),
			newVersionCommand(e),
		},
	}
}
