package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/tenement/ten/host/api"
	"github.com/tenement/ten/reconcile"
	"github.com/tenement/ten/runtimes"
)

func newDownCommand(e *env) *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:   "down",
		Short: "Stop every instance of this host, and its daemon",
		Long: `Stop every instance of a data directory, then its daemon. Where no daemon runs,
the instances that it left are stopped all the same. Data directories stay; the
next ten serve starts everything again.` + exitText,
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return runDown(cmd.Context(), e, yes) },
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "don't ask")
	return cmd
}

func runDown(ctx context.Context, e *env, yes bool) error {
	c, err := e.client()
	if err != nil {
		return err
	}
	defer c.Close()
	list, err := c.Instances(ctx, false)
	if absent, ok := errors.AsType[*api.NotRunningError](err); ok {
		return e.downWithoutDaemon(ctx, yes, absent)
	}
	if err != nil {
		return err
	}
	if !yes {
		question := fmt.Sprintf("Stop %d instance(s) and the daemon at %s?", len(list), c.Where())
		if err := e.confirm(ctx, question); err != nil {
			return err
		}
	}
	text, err := e.ask(ctx, c, api.Command{Verb: api.VerbDown})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(e.stdout, text)
	return err
}

// downWithoutDaemon stops what a daemon that is gone left running.
func (e *env) downWithoutDaemon(ctx context.Context, yes bool, absent *api.NotRunningError) error {
	host, err := e.localHost(absent)
	if err != nil {
		return err
	}
	defer host.close()
	alive, err := host.alive(ctx)
	if err != nil {
		return err
	}
	if !yes && alive > 0 {
		if err := e.confirm(ctx, fmt.Sprintf("Stop %d instance(s) of %s? No daemon runs there.", alive, host.dataDir)); err != nil {
			return err
		}
	}
	n, err := reconcile.StopAll(ctx, host.levels)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(e.stdout, "no daemon was running; %d instances stopped\n", n)
	return err
}

// localHost is a data directory without its daemon, held so that none starts.
type localHost struct {
	dataDir string
	levels  map[runtimes.Level]runtimes.Runtime
	lock    *os.File
	free    func() error
}

// localHost opens the data directory that the command line means. Where there
// never was a daemon, the error is the one that its absence gave.
func (e *env) localHost(absent *api.NotRunningError) (*localHost, error) {
	if e.isRemote() {
		return nil, absent
	}
	dataDir, err := e.findDataDir()
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(filepath.Join(dataDir, stateDir)); err != nil {
		return nil, absent
	}
	lock, err := api.Lock(dataDir)
	if err != nil {
		return nil, err
	}
	levels, free, err := openLevels(dataDir, e.log)
	if err != nil {
		lock.Close()
		return nil, err
	}
	return &localHost{dataDir: dataDir, levels: levels, lock: lock, free: free}, nil
}

func (h *localHost) close() {
	h.free()
	h.lock.Close()
}

// instances asks every level that works here; one that fails is an error, since
// unknown is not none.
func (h *localHost) instances(ctx context.Context) ([]runtimes.Instance, error) {
	var all []runtimes.Instance
	for level, rt := range h.levels {
		if rt.Check(ctx) != nil {
			continue
		}
		list, err := rt.List(ctx)
		if err != nil {
			return nil, fmt.Errorf("list instances of level %s: %w", level, err)
		}
		all = append(all, list...)
	}
	return all, nil
}

func (h *localHost) alive(ctx context.Context) (int, error) {
	list, err := h.instances(ctx)
	n := 0
	for _, i := range list {
		if i.Phase.Alive() {
			n++
		}
	}
	return n, err
}
