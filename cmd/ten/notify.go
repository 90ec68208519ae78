package main

import (
	"context"
	"log/slog"
	"path/filepath"

	"github.com/tenement/ten/host/notify"
	"github.com/tenement/ten/runtimes"
	"github.com/tenement/ten/runtimes/launch"
)

// maxSocketPath is what the address of a unix socket has room for.
const maxSocketPath = 107

// notifyDir is where instances find the socket to say things of themselves on;
// "" where the data directory lies too deep for one.
func notifyDir(dataDir string) string {
	dir := filepath.Join(dataDir, stateDir, "notify")
	if len(filepath.Join(dir, launch.NotifyName)) > maxSocketPath {
		return ""
	}
	return dir
}

// hears is what is known of what instances said. Its functions are nil where they
// can't say anything, but for run, which hears them until its context ends.
type hears struct {
	busy, ready func(runtimes.Key) bool
	run         func(context.Context) error
}

// hearInstances opens that socket.
func hearInstances(dataDir string, levels map[runtimes.Level]runtimes.Runtime, log *slog.Logger) (hears, error) {
	dir := notifyDir(dataDir)
	if dir == "" {
		log.Warn("instances cannot say that they are busy", "reason", "the data directory's path is too long for a socket in it")
		return hears{run: func(context.Context) error { return nil }}, nil
	}
	owner := func(pid int) (runtimes.Key, bool) {
		for _, level := range levels {
			if o, ok := level.(runtimes.Owner); ok {
				if key, ok := o.Owner(pid); ok {
					return key, true
				}
			}
		}
		return runtimes.Key{}, false
	}
	has := func(key runtimes.Key) bool {
		for _, level := range levels {
			if o, ok := level.(runtimes.Owner); ok && o.Has(key) {
				return true
			}
		}
		return false
	}
	l, err := notify.Listen(notify.Config{
		Socket: filepath.Join(dir, launch.NotifyName), Keep: filepath.Join(dataDir, stateDir, "said"),
		Owner: owner, Has: has, Log: log,
	})
	if err != nil {
		return hears{}, err
	}
	run := func(ctx context.Context) error {
		if err := l.Run(ctx); ctx.Err() == nil {
			return err
		}
		return nil
	}
	return hears{busy: l.Busy, ready: func(key runtimes.Key) bool { return l.Said(key).Ready }, run: run}, nil
}
