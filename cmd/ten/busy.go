package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/tenement/ten/host/notify"
)

// heardWithin is how long a daemon may take to hear one word.
const heardWithin = 5 * time.Second

type busyOptions struct{ begin, end bool }

func newBusyCommand(e *env) *cobra.Command {
	var o busyOptions
	cmd := &cobra.Command{
		Use:   "busy [--begin | --end | COMMAND [ARG...]]",
		Short: "Inside an instance: keep it awake while something is done",
		Long: `Run a command of an instance, and have the daemon not put the instance to sleep
until the command has ended. Several may be under way at once. The status is the
command's own.

With --begin and --end the instance itself says that it is in the middle of
something, and that it no longer is. A program can say the same without ten, with
BUSY=1 and BUSY=0 as sd_notify(3) sends them to NOTIFY_SOCKET.

Without a daemon that hears it, the command runs all the same.` + exitText,
		Args: func(cmd *cobra.Command, given []string) error {
			if (len(given) > 0) == (o.begin || o.end) || o.begin && o.end {
				return &usageError{errors.New("one of --begin, --end or a command")}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, given []string) error {
			return runBusy(cmd.Context(), e, o, given)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&o.begin, "begin", false, "the instance is busy from now on")
	f.BoolVar(&o.end, "end", false, "the instance is no longer busy")
	f.SetInterspersed(false) // what follows the command is its own
	return cmd
}

func runBusy(ctx context.Context, e *env, o busyOptions, command []string) error {
	socket := e.getenv(notify.Variable)
	if socket == "" {
		if len(command) == 0 {
			return &hintError{errors.New("this is not inside an instance: " + notify.Variable + " is not set"), "use it in the command of a service, or in what that starts"}
		}
		return runHeld(e, command)
	}
	switch {
	case o.begin:
		return say(ctx, socket, "BUSY=1")
	case o.end:
		return say(ctx, socket, "BUSY=0")
	}
	holder := "\nX_TEN_HOLDER=" + strconv.Itoa(os.Getpid())
	if err := say(ctx, socket, "BUSY=1"+holder); err != nil {
		fmt.Fprintf(e.stderr, "ten: %v; going on without\n", err)
	}
	err := runHeld(e, command)
	// Said even to a command that was interrupted: it has ended.
	_ = say(context.WithoutCancel(ctx), socket, "BUSY=0"+holder)
	return err
}

func say(ctx context.Context, socket, message string) error {
	ctx, cancel := context.WithTimeout(ctx, heardWithin)
	defer cancel()
	return notify.Say(ctx, socket, message)
}

// runHeld runs a command in the foreground, hands it the signals that ask to end,
// and ends as it did.
func runHeld(e *env, command []string) error {
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, e.stdout, e.stderr
	asked := make(chan os.Signal, 4)
	signal.Notify(asked, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	defer signal.Stop(asked)
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("run %s: %w", command[0], err)
	}
	ended := make(chan struct{})
	defer close(ended)
	go func() {
		for {
			select {
			case s := <-asked:
				_ = cmd.Process.Signal(s)
			case <-ended:
				return
			}
		}
	}()
	err := cmd.Wait()
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return err
	}
	if ws, ok := exit.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return exitError(128 + int(ws.Signal()))
	}
	return exitError(exit.ExitCode())
}
