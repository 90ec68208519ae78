package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tenement/ten/host/api"
)

// exitText ends the help of commands that have nothing special to say of it.
const exitText = `

Exit status
  0  done
  1  refused, failed, or the daemon could not be asked
  2  wrong usage`

// do asks the daemon to carry out one command and prints what it answers.
func (e *env) do(ctx context.Context, cmd api.Command) error {
	c, err := e.client()
	if err != nil {
		return err
	}
	defer c.Close()
	text, err := e.ask(ctx, c, cmd)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(e.stdout, text)
	return err
}

// ask is Do for somebody who waits for it.
func (e *env) ask(ctx context.Context, c *api.Client, cmd api.Command) (text string, err error) {
	err = newPulse(e.stderr, "waiting", heartbeat).during(ctx, func() error {
		text, err = c.Do(ctx, cmd)
		return err
	})
	return text, err
}

// confirm lets a person decide. Only the whole word yes is one; without a
// terminal there is nobody to ask, and that is an error.
func (e *env) confirm(ctx context.Context, question string) error {
	if !isTerminal(e.stdin) {
		return &hintError{errors.New("this asks for a yes, and standard input is not a terminal"), "look at it first, then add --yes"}
	}
	fmt.Fprintf(e.stderr, "%s\n  Only yes is taken as one: ", question)
	answer := make(chan string, 1)
	go func() { // a read of a terminal can't be interrupted: it ends with the process
		line, err := bufio.NewReader(io.LimitReader(e.stdin, 1024)).ReadString('\n')
		if err != nil && line == "" {
			fmt.Fprintln(e.stderr)
		}
		answer <- strings.TrimSpace(line)
	}()
	select {
	case text := <-answer:
		if text == "yes" {
			return nil
		}
		return errors.New("not confirmed, nothing was done")
	case <-ctx.Done():
		fmt.Fprintln(e.stderr)
		return ctx.Err()
	}
}

// completeService offers the names of services for the shell's completion.
func completeService(e *env) cobra.CompletionFunc {
	return completeFrom(e, func(i api.Instance) string { return i.Service })
}

// completeInstance offers service:id.
func completeInstance(e *env) cobra.CompletionFunc {
	return completeFrom(e, func(i api.Instance) string { return i.Service + ":" + i.ID })
}

func completeFrom(e *env, name func(api.Instance) string) cobra.CompletionFunc {
	return func(cmd *cobra.Command, given []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(given) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		c, err := e.client()
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		defer c.Close()
		ctx, cancel := context.WithTimeout(cmd.Context(), 2*time.Second)
		defer cancel()
		list, err := c.Instances(ctx, true)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var names []cobra.Completion
		seen := map[string]bool{}
		for _, i := range list {
			if n := name(i); !seen[n] {
				seen[n] = true
				names = append(names, n)
			}
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}
