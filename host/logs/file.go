package logs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/tenement/ten/runtimes"
)

// file is the log of one instance. Incarnations that run side by side during a
// rollout share it.
type file struct {
	id      runtimes.ID
	path    string
	holders int // guarded by Collector.mu

	mu      sync.Mutex
	f       *os.File // nil while there is nothing to write
	size    int64
	dropped int // lines lost since lines can't be written
	retry   time.Time
}

// retryEvery is how often a write is tried again while the disk refuses.
const retryEvery = 250 * time.Millisecond

// append writes whole lines. When it can't, it counts them and returns: the
// instance must not wait for a disk.
func (f *file) append(c *Collector, lines []byte, count int, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c.followers.send(f.id, c.appends.Add(1), lines, count)
	if f.dropped > 0 && time.Now().Before(f.retry) {
		f.dropped += count
		return
	}
	err := f.write(c, lines, now)
	switch {
	case err != nil:
		if f.dropped == 0 {
			c.outage.begin(c.cfg.Log, f.id, err)
		}
		f.dropped += count
		f.retry = time.Now().Add(retryEvery)
	case f.dropped > 0:
		c.outage.end(c.cfg.Log, f.dropped)
		f.dropped = 0
	}
}

func (f *file) write(c *Collector, lines []byte, now time.Time) error {
	if f.dropped > 0 {
		note := fmt.Appendf(appendStamp(nil, now), " err [ten: %d lines lost here, they could not be written]\n", f.dropped)
		lines = append(note, lines...)
	}
	if err := f.open(); err != nil {
		return err
	}
	if f.size > 0 && f.size+int64(len(lines)) > c.cfg.MaxFile {
		if err := errors.Join(f.rotate(c.cfg.Files), f.open()); err != nil {
			return err
		}
	}
	n, err := f.f.Write(lines)
	if err == nil {
		f.size += int64(n)
		return nil
	}
	// Half a line must not stay: what follows would be glued to it. Opening
	// the file again finds out what is there.
	return errors.Join(err, f.f.Truncate(f.size), f.shut())
}

// open opens the newest file for appending, if it is not open, and ends a line
// that a crash left without its newline.
func (f *file) open() error {
	if f.f != nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(f.path), 0o700); err != nil {
		return err
	}
	file, err := os.OpenFile(f.path, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	info, err := file.Stat()
	if err != nil {
		return errors.Join(err, file.Close())
	}
	f.f, f.size = file, info.Size()
	if f.size == 0 {
		return nil
	}
	var last [1]byte
	if _, err := file.ReadAt(last[:], f.size-1); err != nil {
		return errors.Join(err, f.shut())
	}
	if last[0] == '\n' {
		return nil
	}
	if _, err := file.Write([]byte("\n")); err != nil {
		return errors.Join(err, f.shut())
	}
	f.size++
	return nil
}

// rotate moves every file one place on; the oldest goes.
func (f *file) rotate(files int) error {
	if err := f.shut(); err != nil {
		return err
	}
	if files == 1 {
		return os.Remove(f.path)
	}
	for i := files - 2; i >= 0; i-- {
		err := os.Rename(f.rotated(i), f.rotated(i+1))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

// rotated is the path of the i-th newest file.
func (f *file) rotated(i int) string {
	if i == 0 {
		return f.path
	}
	return fmt.Sprintf("%s.%d", f.path, i)
}

// shut closes the file; the next write opens it again.
func (f *file) shut() error {
	if f.f == nil {
		return nil
	}
	err := f.f.Close()
	f.f, f.size = nil, 0
	return err
}

// close is the end of the file's last attachment.
func (f *file) close(c *Collector) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.dropped > 0 {
		c.outage.end(c.cfg.Log, f.dropped)
		f.dropped = 0
	}
	f.shut()
}
