package logs

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/tenement/ten/runtimes"
)

// maxLimit bounds how many past lines one query holds in memory.
const maxLimit = 100_000

// Query selects lines of one service, of one instance, or of all there is.
type Query struct {
	Service  string // "" = all of them
	Instance string // "" = all of the service; of every service without one
	Level    string // "stdout", "stderr" or "" for both
	Search   string // case-sensitive substring
	Limit    int    // the last so many; 0 = 100
	Follow   bool
}

// Write writes the matching lines of all instances, oldest first, each as
// "TIME LEVEL service:id TEXT\n", with Follow also those to come until ctx ends;
// that end is no error. A follower that reads too slowly loses lines and is
// told how many. Where there is no log at all the error is fs.ErrNotExist.
func (c *Collector) Write(ctx context.Context, w io.Writer, q Query) error {
	if err := q.check(); err != nil {
		return err
	}
	var live *follower
	if q.Follow {
		live = &follower{service: q.Service, instance: q.Instance, wake: make(chan struct{}, 1)}
		c.followers.join(live)
		defer c.followers.leave(live)
	}
	past, seen, err := c.past(ctx, q)
	if err != nil && !(q.Follow && errors.Is(err, fs.ErrNotExist)) {
		return fmt.Errorf("read logs of %s: %w", q.target(), err)
	}
	out := bufio.NewWriter(w)
	for _, l := range past {
		l.print(out)
	}
	past = nil
	for q.Follow {
		if err := out.Flush(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-live.wake:
		}
		live.print(out, q, seen)
	}
	return out.Flush()
}

func (q *Query) check() error {
	var err error
	if q.Service != "" {
		err = safe(q.Service)
	}
	if q.Instance != "" {
		err = errors.Join(err, safe(q.Instance))
	}
	if err != nil {
		return fmt.Errorf("read logs: %w", err)
	}
	if q.Level != "" && q.Level != "stdout" && q.Level != "stderr" {
		return fmt.Errorf("read logs: level %q: want stdout or stderr", q.Level)
	}
	if q.Limit < 0 || q.Limit > maxLimit {
		return fmt.Errorf("read logs: limit %d: want 1 to %d", q.Limit, maxLimit)
	}
	if q.Limit == 0 {
		q.Limit = 100
	}
	return nil
}

func (q *Query) target() string {
	if q.Service == "" {
		return "all services"
	}
	if q.Instance == "" {
		return q.Service
	}
	return q.Service + ":" + q.Instance
}

func (q *Query) match(l Line) bool {
	return (q.Level == "" || q.Level == l.Stream) && strings.Contains(l.Text, q.Search)
}

func (l Line) print(w *bufio.Writer) {
	w.Write(appendStamp(w.AvailableBuffer(), l.Time))
	for _, s := range []string{" ", l.Stream, " ", l.ID.Service, ":", l.ID.Instance, " ", l.Text, "\n"} {
		w.WriteString(s)
	}
}

// past returns the last lines of all instances that a query asks for, and up to
// which append each instance's are in it.
func (c *Collector) past(ctx context.Context, q Query) ([]Line, map[runtimes.ID]uint64, error) {
	ids, err := c.instances(q)
	if err != nil {
		return nil, nil, err
	}
	var newest []Line
	seen := map[runtimes.ID]uint64{}
	found := false
	for _, id := range ids {
		if err := ctx.Err(); err != nil {
			return nil, nil, err
		}
		b, seq, err := c.backward(id)
		seen[id] = seq
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		found = true
		newest, err = merge(ctx, newest, b, q)
		b.close()
		if err != nil {
			return nil, nil, err
		}
	}
	if !found {
		return nil, seen, fs.ErrNotExist
	}
	return newest, seen, nil
}

// instances lists whose logs a query asks for, sorted.
func (c *Collector) instances(q Query) ([]runtimes.ID, error) {
	if q.Service != "" && q.Instance != "" {
		return []runtimes.ID{{Service: q.Service, Instance: q.Instance}}, nil
	}
	services := []string{q.Service}
	if q.Service == "" {
		entries, err := os.ReadDir(c.cfg.Dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		services = nil
		for _, e := range entries {
			if e.IsDir() && safe(e.Name()) == nil {
				services = append(services, e.Name())
			}
		}
	}
	var ids []runtimes.ID
	for _, service := range services {
		more, err := c.instancesOf(service, q.Instance)
		if err != nil {
			return nil, err
		}
		ids = append(ids, more...)
	}
	return c.withHeld(ids, q), nil
}

// withHeld adds instances whose first line is being written: followers have been
// sent it already, and the file is not there yet.
func (c *Collector) withHeld(ids []runtimes.ID, q Query) []runtimes.ID {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id := range c.files {
		if (q.Service == "" || q.Service == id.Service) && (q.Instance == "" || q.Instance == id.Instance) && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, runtimes.ID.Compare)
	return ids
}

// instancesOf lists those of one service that wrote anything; only one of them
// where it is named.
func (c *Collector) instancesOf(service, instance string) ([]runtimes.ID, error) {
	entries, err := os.ReadDir(filepath.Join(c.cfg.Dir, service))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var ids []runtimes.ID
	for _, e := range entries { // ID.log, ID.log.1
		end := strings.LastIndex(e.Name(), ".log")
		if end < 0 || safe(e.Name()[:end]) != nil || instance != "" && e.Name()[:end] != instance {
			continue
		}
		id := runtimes.ID{Service: service, Instance: e.Name()[:end]}
		if !slices.Contains(ids[max(0, len(ids)-1):], id) {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// merge adds the lines of one more instance to the newest q.Limit lines. It
// reads no further back than the oldest line that would stay.
func merge(ctx context.Context, newest []Line, b *backward, q Query) ([]Line, error) {
	var floor time.Time
	if len(newest) >= q.Limit {
		floor = newest[0].Time
	}
	known := len(newest)
	for n := 0; len(newest)-known < q.Limit; n++ {
		const lookUp = 1024 // lines between two looks at ctx
		if n%lookUp == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		l, err := b.next()
		if err == io.EOF || (err == nil && l.Time.Before(floor)) {
			break
		}
		if err != nil {
			return nil, err
		}
		if q.match(l) {
			newest = append(newest, l)
		}
	}
	slices.Reverse(newest[known:])
	slices.SortStableFunc(newest, func(a, b Line) int { return a.Time.Compare(b.Time) })
	return slices.Delete(newest, 0, max(0, len(newest)-q.Limit)), nil
}

// newest returns the last n lines of one instance.
func (c *Collector) newest(id runtimes.ID, n int) ([]Line, error) {
	if err := errors.Join(safe(id.Service), safe(id.Instance)); err != nil {
		return nil, fmt.Errorf("read logs: %w", err)
	}
	b, _, err := c.backward(id)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read logs of %s: %w", id, err)
	}
	defer b.close()
	var found []Line
	for len(found) < n {
		l, err := b.next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read logs of %s: %w", id, err)
		}
		found = append(found, l)
	}
	slices.Reverse(found)
	return found, nil
}

// print writes what is queued and not in the past that was shown already.
func (f *follower) print(out *bufio.Writer, q Query, seen map[runtimes.ID]uint64) {
	queue, lost := f.take()
	for _, b := range queue {
		f.tell(out, b.lost)
		if b.seq <= seen[b.id] {
			continue
		}
		for raw := range bytes.Lines(b.lines) {
			if l, ok := parse(b.id, bytes.TrimSuffix(raw, []byte("\n"))); ok && q.match(l) {
				l.print(out)
			}
		}
	}
	f.tell(out, lost)
}

func (f *follower) tell(out *bufio.Writer, lost int) {
	if lost == 0 {
		return
	}
	id := runtimes.ID{Service: f.service, Instance: f.instance}
	if id.Service == "" {
		id.Service = "*"
	}
	if id.Instance == "" {
		id.Instance = "*"
	}
	Line{id, time.Now(), "stderr", fmt.Sprintf("[ten: %d lines lost here, they came faster than they were read]", lost)}.print(out)
}
