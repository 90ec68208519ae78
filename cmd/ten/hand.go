package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/tenement/ten/host/api"
	"github.com/tenement/ten/runtimes"
	"github.com/tenement/ten/schema"
)

// What people do to single instances by hand. The daemon keeps it, every plan
// shows it, and it outlives restarts.

const keptText = `

What is done by hand is kept: it is shown by every plan, outlives restarts of the
daemon and of the machine, and a push does not take it back.` + exitText

// instanceArg reads SERVICE:ID, or SERVICE with the id in a flag of its own, as
// older command lines have it.
func instanceArg(given []string, flag, id string) (runtimes.ID, error) {
	if id == "" {
		return parseInstance(given[0])
	}
	target := runtimes.ID{Service: given[0], Instance: id}
	if !schema.ValidServiceName(target.Service) {
		return target, &usageError{fmt.Errorf("%q with --%s: want the name of a service, or SERVICE:ID without the flag", given[0], flag)}
	}
	return target, validInstance(target)
}

func parseInstance(text string) (runtimes.ID, error) {
	id, err := runtimes.ParseID(text)
	if err != nil {
		return id, &usageError{err}
	}
	return id, validInstance(id)
}

func validInstance(id runtimes.ID) error {
	if !schema.ValidServiceName(id.Service) || !schema.ValidInstanceID(id.Instance) {
		return &usageError{fmt.Errorf("instance %q: want service:id in lower-case letters, digits and -, for example web:prod", id)}
	}
	return nil
}

// withClient does something with the daemon that the command line means.
func (e *env) withClient(do func(*api.Client) error) error {
	c, err := e.client()
	if err != nil {
		return err
	}
	defer c.Close()
	return do(c)
}

// act has the daemon carry out one command and says in our words that it did.
func (e *env) act(ctx context.Context, cmd api.Command, done string) error {
	return e.withClient(func(c *api.Client) error {
		if _, err := e.ask(ctx, c, cmd); err != nil {
			return err
		}
		_, err := fmt.Fprintln(e.stdout, done)
		return err
	})
}

// forInstance completes a command whose first argument is an instance and which
// takes as many more.
func forInstance(e *env, cmd *cobra.Command, more int, do func(ctx context.Context, id runtimes.ID, more []string) error) *cobra.Command {
	cmd.Args = args(cobra.ExactArgs(1 + more))
	cmd.ValidArgsFunction = completeInstance(e)
	cmd.RunE = func(cmd *cobra.Command, given []string) error {
		id, err := parseInstance(given[0])
		if err != nil {
			return err
		}
		return do(cmd.Context(), id, given[1:])
	}
	return cmd
}

func newSpawnCommand(e *env) *cobra.Command {
	var id string
	cmd := &cobra.Command{
		Use:   "spawn SERVICE:ID",
		Short: "Make an instance of a service, and wait until it serves",
		Long: `Make an instance of a service that the repository declares, whether it declares
this instance or not, and wait until it serves. One that runs is left alone; one
that was stopped by hand starts again.` + keptText,
		Example: `  ten spawn web:acme
  ten spawn web --id acme`,
		Args:              args(cobra.ExactArgs(1)),
		ValidArgsFunction: completeInstance(e),
		RunE: func(cmd *cobra.Command, given []string) error {
			target, err := instanceArg(given, "id", id)
			if err != nil {
				return err
			}
			return runSpawn(cmd.Context(), e, target)
		},
	}
	cmd.Flags().StringVar(&id, "id", "", "the instance's id, where SERVICE stands alone")
	return cmd
}

func runSpawn(ctx context.Context, e *env, id runtimes.ID) error {
	return e.withClient(func(c *api.Client) error {
		if _, err := e.ask(ctx, c, api.Command{Verb: api.VerbSpawn, Service: id.Service, Instance: id.Instance}); err != nil {
			return err
		}
		if _, err := fmt.Fprintf(e.stdout, "Spawned %s\n", id); err != nil {
			return err
		}
		list, err := c.Instances(ctx, false)
		if err != nil {
			return err
		}
		address := ""
		for _, i := range list {
			if i.Service == id.Service && i.ID == id.Instance {
				address = i.Address
			}
		}
		if address == "" {
			_, err = fmt.Fprintln(e.stdout, "Listening nowhere")
			return err
		}
		_, err = fmt.Fprintf(e.stdout, "Listening on %s\n", address)
		return err
	})
}

func newStopCommand(e *env) *cobra.Command {
	return forInstance(e, &cobra.Command{
		Use:   "stop SERVICE:ID",
		Short: "Stop an instance until it is spawned again",
		Long: `Stop an instance: it gets no new requests, those under way may end, then it is
asked to stop, and at last made to. It stands still until ten spawn or ten
restart, or until a request where its service wakes on requests. An instance that
only ten spawn made is no more.` + keptText,
	}, 0, func(ctx context.Context, id runtimes.ID, _ []string) error {
		return e.act(ctx, api.Command{Verb: api.VerbStop, Service: id.Service, Instance: id.Instance}, "Stopped "+id.String())
	})
}

func newRestartCommand(e *env) *cobra.Command {
	return forInstance(e, &cobra.Command{
		Use:   "restart SERVICE:ID",
		Short: "Replace a running instance by a new one",
		Long: `Start an instance anew. The new one takes over when it is healthy, and then the
old one goes; where the two can't stand beside each other the old one goes first.
It does not count as a crash and waits for no backoff.` + exitText,
	}, 0, func(ctx context.Context, id runtimes.ID, _ []string) error {
		return e.act(ctx, api.Command{Verb: api.VerbRestart, Service: id.Service, Instance: id.Instance}, "Restarted "+id.String())
	})
}

func newWeightCommand(e *env) *cobra.Command {
	return forInstance(e, &cobra.Command{
		Use:   "weight SERVICE:ID 0-100",
		Short: "Set an instance's share of its service's requests",
		Long: `Set how many of a service's requests an instance gets, beside the weights of its
other instances. With 0 it gets none, but those for itself by name.` + keptText,
	}, 1, func(ctx context.Context, id runtimes.ID, more []string) error {
		weight, err := strconv.ParseUint(more[0], 10, 8)
		if err != nil || weight > 100 {
			return &usageError{fmt.Errorf("weight %q: want 0 to 100", more[0])}
		}
		c := api.Command{Verb: api.VerbWeight, Service: id.Service, Instance: id.Instance, Weight: int(weight)}
		return e.act(ctx, c, fmt.Sprintf("Set %s weight to %d", id, weight))
	})
}

type deployOptions struct {
	version         string
	weight, timeout int
}

func newDeployCommand(e *env) *cobra.Command {
	var opts deployOptions
	cmd := &cobra.Command{
		Use:   "deploy SERVICE:VERSION",
		Short: "Spawn an instance and give it requests once it is healthy",
		Long: `Spawn an instance of a service, wait until it is healthy, and only then give it
its share of the requests. With --weight 0 all of them stay where they are until
ten route or ten weight. One that does not become healthy in time is taken back.` + keptText,
		Example: `  ten deploy api:v2 --weight 0 && ten route api --from v1 --to v2
  ten deploy api --version v2`,
		Args:              args(cobra.ExactArgs(1)),
		ValidArgsFunction: completeService(e),
		RunE: func(cmd *cobra.Command, given []string) error {
			id, err := instanceArg(given, "version", opts.version)
			if err != nil {
				return err
			}
			return runDeploy(cmd.Context(), e, opts, id)
		},
	}
	f := cmd.Flags()
	f.StringVar(&opts.version, "version", "", "the instance's id, where SERVICE stands alone")
	f.IntVarP(&opts.weight, "weight", "w", 100, "its share of the requests, 0 to 100")
	f.IntVar(&opts.timeout, "timeout", 30, "seconds until it must be healthy")
	return cmd
}

// deployGrace is how much longer than --timeout an answer may take.
const deployGrace = 10 * time.Second

func runDeploy(ctx context.Context, e *env, opts deployOptions, id runtimes.ID) error {
	if opts.weight < 0 || opts.weight > 100 {
		return &usageError{fmt.Errorf("--weight %d: want 0 to 100", opts.weight)}
	}
	if opts.timeout < 1 || opts.timeout > 3600 {
		return &usageError{fmt.Errorf("--timeout %d: want 1 to 3600 seconds", opts.timeout)}
	}
	timeout := time.Duration(opts.timeout) * time.Second
	return e.withClient(func(c *api.Client) error {
		// Whoever reads no further still wants it deployed.
		fmt.Fprintf(e.stdout, "Deploying %s with weight %d\nWaiting for its health check (timeout: %ds)\n", id, opts.weight, opts.timeout)
		limited, cancel := context.WithTimeout(ctx, timeout+deployGrace)
		defer cancel()
		_, err := e.ask(limited, c, api.Command{Verb: api.VerbDeploy, Service: id.Service, Instance: id.Instance, Weight: opts.weight, Timeout: timeout})
		if err != nil && ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
			return &hintError{fmt.Errorf("%s did not become healthy within %s, and the daemon has not said why", id, timeout+deployGrace), "ten why " + id.Service}
		}
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(e.stdout, "Deployed %s\nWeight: %d\nStatus: healthy\n", id, opts.weight)
		return err
	})
}

func newRouteCommand(e *env) *cobra.Command {
	var from, to string
	cmd := &cobra.Command{
		Use:   "route SERVICE --from ID --to ID",
		Short: "Move all requests from one instance to another",
		Long: `Move the requests of a service from one instance to another at one moment: the one
gets weight 0, the other 100. The weights of others stay.` + keptText,
		Example:           `  ten route api --from v1 --to v2`,
		Args:              args(cobra.ExactArgs(1)),
		ValidArgsFunction: completeService(e),
		RunE: func(cmd *cobra.Command, given []string) error {
			if from == "" || to == "" {
				return &usageError{errors.New("want both --from and --to")}
			}
			a, b := runtimes.ID{Service: given[0], Instance: from}, runtimes.ID{Service: given[0], Instance: to}
			if err := errors.Join(validInstance(a), validInstance(b)); err != nil {
				return &usageError{err}
			}
			done := fmt.Sprintf("Routed traffic: %s -> %s\n  %s weight = 0\n  %s weight = 100", a, b, a, b)
			return e.act(cmd.Context(), api.Command{Verb: api.VerbRoute, Service: given[0], Instance: to, From: from}, done)
		},
	}
	cmd.Flags().StringVar(&from, "from", "", "the instance that gives its requests away")
	cmd.Flags().StringVar(&to, "to", "", "the instance that gets them")
	return cmd
}

func newHealthCommand(e *env) *cobra.Command {
	return forInstance(e, &cobra.Command{
		Use:   "health SERVICE:ID",
		Short: "Ask an instance now whether it answers",
		Long: `Ask an instance at this moment whether it answers, and print one word: healthy,
degraded, unhealthy, failed or unknown, which is what one is that does not run.

Exit status
  0  asked, whatever the answer
  1  the daemon could not be asked
  2  wrong usage`,
	}, 0, func(ctx context.Context, id runtimes.ID, _ []string) error {
		return e.withClient(func(c *api.Client) error {
			word, err := c.Health(ctx, id)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(e.stdout, "%s: %s\n", id, word)
			return err
		})
	})
}
