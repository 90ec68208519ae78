package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tenement/ten/host/api"
	"github.com/tenement/ten/reconcile/plan"
	"github.com/tenement/ten/runtimes"
	"github.com/tenement/ten/schema"
)

func newDataCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "data",
		Short: "List and remove the data directories of instances",
		Long: `Every instance owns the directory SERVICE/ID in the data directory. Nothing that
a repository says ever deletes one; these commands do, by hand.` + exitText,
		Args: args(cobra.ArbitraryArgs),
		RunE: func(cmd *cobra.Command, given []string) error {
			if len(given) > 0 {
				return unknownCommand(cmd, given[0])
			}
			return cmd.Help()
		},
	}
	cmd.AddCommand(newDataListCommand(e), newDataRmCommand(e))
	return cmd
}

// dataDirOf is the data of one instance. Phase is "" when no instance of that
// name is declared or there.
type dataDirOf struct {
	Instance string         `json:"instance"`
	Path     string         `json:"path"`
	Bytes    int64          `json:"bytes"`
	Phase    runtimes.Phase `json:"phase,omitempty"`
}

func newDataListCommand(e *env) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List data directories, their size and whose they are",
		Long:    `List data directories, their size, and how the instance that owns each stands.` + exitText,
		Args:    args(cobra.NoArgs),
		RunE:    func(cmd *cobra.Command, _ []string) error { return runDataList(cmd.Context(), e, asJSON) },
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func runDataList(ctx context.Context, e *env, asJSON bool) error {
	dataDir, phases, err := e.owners(ctx)
	if err != nil {
		return err
	}
	dirs, err := instanceDirs(dataDir)
	if err != nil {
		return err
	}
	list := []dataDirOf{}
	for _, id := range dirs {
		path := plan.InstanceDir(plan.Host{DataDir: dataDir}, id)
		size, err := treeSize(ctx, path)
		if err != nil {
			return err
		}
		list = append(list, dataDirOf{Instance: id.String(), Path: path, Bytes: size, Phase: phases[id]})
	}
	if asJSON {
		return writeJSON(e.stdout, map[string][]dataDirOf{"data": list})
	}
	rows := [][]string{{"INSTANCE", "SIZE", "OWNER", "PATH"}}
	for _, d := range list {
		owner := string(d.Phase)
		if owner == "" {
			owner = "none"
		}
		rows = append(rows, []string{d.Instance, bytesText(d.Bytes), owner, d.Path})
	}
	return table(e.stdout, []int{20, 8, 8, 0}, rows)
}

func newDataRmCommand(e *env) *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:   "rm SERVICE:ID...",
		Short: "Delete the data directories of instances for good",
		Long: `Delete the data directories of instances for good. Refused while one of the
instances is alive: remove it from the repository or stop it first.` + exitText,
		Args: args(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, given []string) error { return runDataRm(cmd.Context(), e, given, yes) },
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "don't ask")
	return cmd
}

func runDataRm(ctx context.Context, e *env, names []string, yes bool) error {
	ids, err := parseIDs(names)
	if err != nil {
		return err
	}
	dataDir, phases, err := e.owners(ctx)
	if err != nil {
		return err
	}
	var lines []string
	for _, id := range ids {
		path := plan.InstanceDir(plan.Host{DataDir: dataDir}, id)
		if phases[id].Alive() {
			return &hintError{fmt.Errorf("%s is %s and uses %s", id, phases[id], path), "remove it from the repository first; ten plan shows what goes"}
		}
		size, err := treeSize(ctx, path)
		if errors.Is(err, fs.ErrNotExist) {
			return &hintError{fmt.Errorf("%s has no data: %s does not exist", id, path), "ten data list"}
		}
		if err != nil {
			return err
		}
		lines = append(lines, fmt.Sprintf("  %s  %s", bytesText(size), path))
	}
	if !yes {
		if err := e.confirm(ctx, "Delete for good?\n"+strings.Join(lines, "\n")); err != nil {
			return err
		}
	}
	for _, id := range ids {
		if err := removeData(dataDir, id); err != nil {
			return err
		}
		if _, err := fmt.Fprintf(e.stdout, "deleted the data of %s\n", id); err != nil {
			return err
		}
	}
	return nil
}

func parseIDs(names []string) ([]runtimes.ID, error) {
	var ids []runtimes.ID
	for _, name := range names {
		id, err := runtimes.ParseID(name)
		if err != nil {
			return nil, &usageError{err}
		}
		if !schema.ValidServiceName(id.Service) || !schema.ValidInstanceID(id.Instance) {
			return nil, &usageError{fmt.Errorf("instance %q: no such name is possible", name)}
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// removeData moves the directory out of reach first, so that an instance which
// starts meanwhile finds all of it or nothing.
func removeData(dataDir string, id runtimes.ID) error {
	trash := filepath.Join(dataDir, stateDir, "trash")
	if err := os.MkdirAll(trash, 0o700); err != nil {
		return err
	}
	grave, err := os.MkdirTemp(trash, id.Service+"-"+id.Instance+"-")
	if err != nil {
		return err
	}
	if err := os.Rename(plan.InstanceDir(plan.Host{DataDir: dataDir}, id), filepath.Join(grave, id.Instance)); err != nil {
		return errors.Join(fmt.Errorf("delete the data of %s: %w", id, err), os.Remove(grave))
	}
	if err := os.RemoveAll(grave); err != nil {
		return fmt.Errorf("delete the data of %s: %w", id, err)
	}
	os.Remove(trash)                              // only when empty
	os.Remove(filepath.Join(dataDir, id.Service)) // only when empty
	return nil
}

// owners gives the data directory and how the instances of this host stand, as
// its daemon sees them, or without one as far as they run.
func (e *env) owners(ctx context.Context) (string, map[runtimes.ID]runtimes.Phase, error) {
	if e.isRemote() {
		return "", nil, &usageError{errors.New("data lies on the host itself: give --data-dir, not a server")}
	}
	dataDir, err := e.findDataDir()
	if err != nil {
		return "", nil, err
	}
	phases := map[runtimes.ID]runtimes.Phase{}
	note := func(id runtimes.ID, phase runtimes.Phase) {
		if !phases[id].Alive() { // one living incarnation is enough
			phases[id] = phase
		}
	}
	c := api.NewLocalClient(dataDir)
	defer c.Close()
	list, err := c.Instances(ctx, true)
	for _, i := range list {
		note(runtimes.ID{Service: i.Service, Instance: i.ID}, i.Phase)
	}
	absent, ok := errors.AsType[*api.NotRunningError](err)
	if !ok {
		return dataDir, phases, err
	}
	host, err := e.localHost(absent)
	if err != nil {
		return "", nil, err
	}
	defer host.close()
	fmt.Fprintf(e.stderr, "ten: no daemon answers at %s: only what runs is known\n", c.Where())
	found, err := host.instances(ctx)
	for _, i := range found {
		note(i.Spec.Key.ID, i.Phase)
	}
	return dataDir, phases, err
}

// instanceDirs finds SERVICE/ID in a data directory, sorted. What is not named
// like a service is ten's own.
func instanceDirs(dataDir string) ([]runtimes.ID, error) {
	services, err := os.ReadDir(dataDir)
	if err != nil {
		return nil, fmt.Errorf("list data: %w", err)
	}
	var ids []runtimes.ID
	for _, s := range services {
		if !s.IsDir() || !schema.ValidServiceName(s.Name()) {
			continue
		}
		instances, err := os.ReadDir(filepath.Join(dataDir, s.Name()))
		if err != nil {
			return nil, fmt.Errorf("list data: %w", err)
		}
		for _, i := range instances {
			if i.IsDir() && schema.ValidInstanceID(i.Name()) {
				ids = append(ids, runtimes.ID{Service: s.Name(), Instance: i.Name()})
			}
		}
	}
	return ids, nil
}

// treeSize sums the sizes of the files beneath path. Files that vanish
// meanwhile count nothing.
func treeSize(ctx context.Context, path string) (int64, error) {
	var total int64
	err := filepath.WalkDir(path, func(name string, d fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			if name != path && errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return err
		}
		if info, err := d.Info(); err == nil && d.Type().IsRegular() {
			total += info.Size()
		}
		return nil
	})
	return total, err
}

func bytesText(n int64) string {
	const units = "kMGTP"
	if n < 1000 {
		return fmt.Sprintf("%d B", n)
	}
	v, unit := float64(n)/1000, 0
	for v >= 999.5 && unit < len(units)-1 {
		v /= 1000
		unit++
	}
	if v < 9.95 {
		return fmt.Sprintf("%.1f %cB", v, units[unit])
	}
	return fmt.Sprintf("%.0f %cB", v, units[unit])
}
