// Package logs keeps what instances print: each instance in files of its own,
// so that a noisy one pushes out nobody else's lines, bounded by rotation.
//
// Reading from an instance never stops while it runs, whatever it prints and
// whatever the disk does: a program must not block or break because nobody
// takes its output. Lines that can't be kept are counted, and the count is
// written where they would have been.
package logs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tenement/ten/runtimes"
)

// Config says where logs are kept and how much of them.
type Config struct {
	Dir     string // DIR/SERVICE/ID.log; made when the first line comes
	Log     *slog.Logger
	MaxFile int64 // bytes of one file; 0 = 10 MB
	Files   int   // files of one instance, the rotated ones included; 0 = 2
}

// Collector copies the output of instances into files and reads them back.
type Collector struct {
	cfg Config

	mu       sync.Mutex
	closed   bool
	files    map[runtimes.ID]*file
	attached map[runtimes.Key]*attachment
	running  sync.WaitGroup

	appends   atomic.Uint64 // numbers every append of every file
	followers audience
	outage    outage
	poller    poller
	outputs   sync.Pool // *[]byte: formatted lines
}

// ErrClosed is returned by Attach after Close.
var ErrClosed = errors.New("the log collector is closed")

// New returns a Collector. It starts nothing and touches no file.
func New(cfg Config) *Collector {
	if cfg.MaxFile <= 0 {
		cfg.MaxFile = 10 << 20
	}
	if cfg.Files <= 0 {
		cfg.Files = 2
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Collector{
		cfg:      cfg,
		files:    map[runtimes.ID]*file{},
		attached: map[runtimes.Key]*attachment{},
		outputs:  sync.Pool{New: func() any { return new([]byte) }},
	}
}

// Attach starts to copy the output of an incarnation and returns at once. It
// goes on until both readers have ended, or ctx or the Collector does, and
// closes them in any case, also when it returns an error. What was not read
// stays in the pipe for the next daemon.
func (c *Collector) Attach(ctx context.Context, key runtimes.Key, stdout, stderr io.ReadCloser) error {
	a := &attachment{key: key, open: 2, ended: make(chan struct{})}
	for i, r := range []io.ReadCloser{stdout, stderr} {
		s := &stream{a: a, r: r, lines: lines{stream: [...]string{"out", "err"}[i]}}
		s.mu.Lock() // nothing happens to it before all is set
		defer s.mu.Unlock()
		a.streams[i] = s
	}
	if err := c.register(a); err != nil {
		stdout.Close()
		stderr.Close()
		return fmt.Errorf("keep logs of %s: %w", key, err)
	}
	a.file = c.hold(key.ID)
	a.stop = context.AfterFunc(ctx, func() { c.detach(a) })
	for _, s := range a.streams {
		c.begin(s)
	}
	return nil
}

// detach ends both streams of an attachment.
func (c *Collector) detach(a *attachment) {
	for _, s := range a.streams {
		c.end(s)
	}
}

func (c *Collector) register(a *attachment) error {
	if err := errors.Join(safe(a.key.Service), safe(a.key.Instance)); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		return ErrClosed
	case c.attached[a.key] != nil:
		return errors.New("its output is being read already")
	}
	c.attached[a.key] = a
	c.running.Add(a.open)
	return nil
}

// Attached reports whether the output of an incarnation is being read.
func (c *Collector) Attached(key runtimes.Key) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.attached[key] != nil
}

// Drained waits until the output of an incarnation that has ended is on disk to
// its last line, or until ctx ends: a process that it left behind may keep the
// pipe open.
func (c *Collector) Drained(ctx context.Context, key runtimes.Key) error {
	c.mu.Lock()
	a := c.attached[key]
	c.mu.Unlock()
	if a == nil {
		return nil
	}
	select {
	case <-a.ended:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close stops reading and waits until what was read is written and all files
// are closed, or ctx ends.
func (c *Collector) Close(ctx context.Context) error {
	c.mu.Lock()
	c.closed = true
	attached := slices.Collect(maps.Values(c.attached))
	c.mu.Unlock()
	done := make(chan struct{})
	go func() {
		for _, a := range attached {
			c.detach(a)
		}
		c.running.Wait()
		c.poller.close()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("close logs: %w", ctx.Err())
	}
}

// hold returns the file of an instance, which stays the same one until release.
func (c *Collector) hold(id runtimes.ID) *file {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := c.files[id]
	if f == nil {
		f = &file{id: id, path: c.path(id)}
		c.files[id] = f
	}
	f.holders++
	return f
}

func (c *Collector) release(f *file) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.holders--; f.holders == 0 {
		f.close(c)
		delete(c.files, f.id)
	}
}

func (c *Collector) path(id runtimes.ID) string {
	return filepath.Join(c.cfg.Dir, id.Service, id.Instance+".log")
}

// Remove deletes the logs of an instance. An instance that still runs begins anew.
func (c *Collector) Remove(service, id string) error {
	if err := errors.Join(safe(service), safe(id)); err != nil {
		return fmt.Errorf("remove logs: %w", err)
	}
	f := c.hold(runtimes.ID{Service: service, Instance: id})
	defer c.release(f)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.shut()
	for i := range c.cfg.Files {
		if err := os.Remove(f.rotated(i)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove logs of %s: %w", f.id, err)
		}
	}
	os.Remove(filepath.Dir(f.path)) // where it was the last of its service
	return nil
}

// safe refuses a name that could lead out of its directory or hide in it.
func safe(name string) error {
	const longest = 200
	if name == "" || len(name) > longest || name[0] == '.' || strings.ContainsAny(name, "/\\\x00\n") {
		return fmt.Errorf("%q can't be the name of a log", name)
	}
	return nil
}

// stampForm is RFC 3339 with nanoseconds at a fixed width.
const stampForm = "2006-01-02T15:04:05.000000000Z"

func appendStamp(b []byte, t time.Time) []byte { return t.UTC().AppendFormat(b, stampForm) }
