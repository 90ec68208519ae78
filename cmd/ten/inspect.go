package main

import (
	"context"
	"sync"
	"time"

	"github.com/tenement/ten/host/api"
	"github.com/tenement/ten/reconcile"
	"github.com/tenement/ten/reconcile/plan"
	"github.com/tenement/ten/runtimes"
)

// Counting what lies in a directory costs a look at every file.
const (
	countEvery  = time.Minute
	countWithin = 300 * time.Millisecond // for a whole list; what is left is counted with the next one
)

// inspector looks for the API: the loop's own answers, and what instances keep
// on disk.
type inspector struct {
	*reconcile.Loop
	dataDir string

	mu      sync.Mutex
	counted map[runtimes.ID]counted
}

type counted struct {
	bytes int64
	at    time.Time
}

var _ api.Inspector = (*inspector)(nil)

// Storage tells what instances keep on disk.
func (i *inspector) Storage(ctx context.Context, fresh bool, ids ...runtimes.ID) (map[runtimes.ID]api.Storage, error) {
	budget, cancel := context.WithTimeout(ctx, countWithin)
	defer cancel()
	if fresh {
		budget = ctx
	}
	all := make(map[runtimes.ID]api.Storage, len(ids))
	for _, id := range ids {
		path := plan.InstanceDir(plan.Host{DataDir: i.dataDir}, id)
		used, err := i.count(budget, fresh, id, path)
		if fresh && err != nil {
			return nil, err
		}
		all[id] = api.Storage{Path: path, Used: used, Quota: i.StorageQuota(id.Service)}
	}
	return all, ctx.Err()
}

// count gives the size of a directory, or what it was when it was last counted.
func (i *inspector) count(ctx context.Context, fresh bool, id runtimes.ID, path string) (int64, error) {
	i.mu.Lock()
	last := i.counted[id]
	i.mu.Unlock()
	if !fresh && time.Since(last.at) < countEvery {
		return last.bytes, nil
	}
	bytes, err := treeSize(ctx, path)
	if err != nil {
		return last.bytes, err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.counted == nil || len(i.counted) > maxCounted {
		i.counted = map[runtimes.ID]counted{}
	}
	i.counted[id] = counted{bytes, time.Now()}
	return bytes, nil
}

// maxCounted bounds what is remembered of instances that come and go.
const maxCounted = 20_000
