package logs

import (
	"bytes"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/tenement/ten/runtimes"
)

// maxBehind is how many bytes a follower may lag before it loses lines.
const maxBehind = 1 << 20

// audience is everybody who follows. The list is replaced, never changed, so
// that writers look at it without a lock.
type audience struct {
	mu   sync.Mutex
	list atomic.Pointer[[]*follower]
}

func (a *audience) join(f *follower) {
	a.mu.Lock()
	defer a.mu.Unlock()
	var list []*follower
	if old := a.list.Load(); old != nil {
		list = slices.Clone(*old)
	}
	list = append(list, f)
	a.list.Store(&list)
}

func (a *audience) leave(f *follower) {
	a.mu.Lock()
	defer a.mu.Unlock()
	list := slices.DeleteFunc(slices.Clone(*a.list.Load()), func(other *follower) bool { return other == f })
	a.list.Store(&list)
}

func (a *audience) send(id runtimes.ID, seq uint64, lines []byte, count int) {
	list := a.list.Load()
	if list == nil {
		return
	}
	for _, f := range *list {
		if (f.service == "" || f.service == id.Service) && (f.instance == "" || f.instance == id.Instance) {
			f.send(batch{id: id, seq: seq, lines: lines, lost: count})
		}
	}
}

// batch is what one append wrote. lost counts lines that could not be queued
// before it.
type batch struct {
	id    runtimes.ID
	seq   uint64
	lines []byte
	lost  int
}

// follower is one reader of live lines, with a bounded queue.
type follower struct {
	service, instance string
	wake              chan struct{} // holds a token when the queue is not empty

	mu    sync.Mutex
	queue []batch
	bytes int
	lost  int
}

// send never waits. b.lines is copied; b.lost says how many lines it has.
func (f *follower) send(b batch) {
	f.mu.Lock()
	if f.bytes+len(b.lines) > maxBehind {
		f.lost += b.lost
	} else {
		b.lines, b.lost, f.lost = bytes.Clone(b.lines), f.lost, 0
		f.queue = append(f.queue, b)
		f.bytes += len(b.lines)
	}
	f.mu.Unlock()
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// take returns all that is queued and how many lines were lost after it.
func (f *follower) take() ([]batch, int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	queue, lost := f.queue, f.lost
	f.queue, f.bytes, f.lost = nil, 0, 0
	return queue, lost
}
