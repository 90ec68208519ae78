package source

import (
	"container/heap"
	"fmt"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// history answers who descends from whom.
type history struct {
	from    *objects
	shallow map[plumbing.Hash]bool // commits whose parents the remote doesn't have
}

func (h history) commit(id plumbing.Hash) (*object.Commit, error) {
	obj, err := h.from.object(plumbing.CommitObject, id)
	if err != nil {
		return nil, err
	}
	c, err := object.DecodeCommit(nil, obj)
	if err != nil {
		return nil, corrupt("bad object", fmt.Errorf("commit %s: %w", id, err))
	}
	return c, nil
}

const (
	ofHead   = 1 << iota // reachable from the head
	ofAnchor             // reachable from the anchor
)

// since lists the commits that head has and anchor has not, newest first, and
// says whether head descends from anchor (or is it). That answer is exact: on a
// way from head to anchor no commit is behind the anchor, so the walk can't stop
// before it has followed that way. The list is exact where committer clocks run
// forward; otherwise it may name commits behind the anchor, never leave one out.
func (h history) since(anchor, head plumbing.Hash) (list []*object.Commit, descends bool, err error) {
	if anchor == head {
		return nil, true, nil
	}
	if anchor.IsZero() || !h.from.has(anchor) {
		return nil, false, nil
	}
	w := painter{history: h, flags: map[plumbing.Hash]int{}}
	if err := w.paint(head, ofHead); err != nil {
		return nil, false, err
	}
	if err := w.paint(anchor, ofAnchor); err != nil {
		return nil, false, err
	}
	seen := map[plumbing.Hash]bool{}
	for w.open() {
		c := heap.Pop(&w.queue).(*object.Commit)
		flags := w.flags[c.Hash]
		if flags == ofHead && !seen[c.Hash] {
			seen[c.Hash] = true
			list = append(list, c)
		}
		if h.shallow[c.Hash] {
			continue
		}
		for _, p := range c.ParentHashes {
			if err := w.paint(p, flags); err != nil {
				return nil, false, err
			}
		}
	}
	kept := list[:0]
	for _, c := range list {
		if w.flags[c.Hash] == ofHead {
			kept = append(kept, c)
		}
	}
	return kept, w.flags[anchor]&ofHead != 0, nil
}

// contains says whether old is head or an ancestor of it.
func (h history) contains(head, old plumbing.Hash) (bool, error) {
	_, ok, err := h.since(old, head)
	return ok, err
}

// painter walks commits newest first and hands their marks down to parents.
type painter struct {
	history
	queue commitQueue
	flags map[plumbing.Hash]int
}

func (w *painter) paint(id plumbing.Hash, flags int) error {
	if w.flags[id]|flags == w.flags[id] {
		return nil
	}
	w.flags[id] |= flags
	c, err := w.commit(id)
	if err != nil {
		return err
	}
	heap.Push(&w.queue, c)
	return nil
}

// open says whether something of the head is left that is not the anchor's too.
func (w *painter) open() bool {
	for _, c := range w.queue {
		if w.flags[c.Hash]&ofAnchor == 0 {
			return true
		}
	}
	return false
}

// commitQueue is a heap of commits, newest first.
type commitQueue []*object.Commit

func (q commitQueue) Len() int           { return len(q) }
func (q commitQueue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q commitQueue) Less(i, j int) bool { return q[i].Committer.When.After(q[j].Committer.When) }
func (q *commitQueue) Push(c any)        { *q = append(*q, c.(*object.Commit)) }
func (q *commitQueue) Pop() any {
	old := *q
	c := old[len(old)-1]
	*q = old[:len(old)-1]
	return c
}
