package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
)

const (
	repairEvery  = 10 * time.Minute // for damage of one kind
	compactPacks = 50               // more than that and a new clone reads faster
	stallTime    = time.Minute
)

// bring fetches what the mirror lacks of want.
func (g *Git) bring(ctx context.Context, sess session, want heads) error {
	m := g.mirror
	if m.damage != nil {
		return g.rebuild(ctx, sess, want, m.damage)
	}
	if c := g.damage.Load(); c != nil {
		return g.rebuild(ctx, sess, want, c)
	}
	if m.store.packCount() >= m.first+compactPacks && g.room(2*m.bytes()) == nil {
		if err := g.replace(ctx, sess, want); err != nil {
			return err
		}
		g.cfg.Log.Info("mirror replaced", "reason", "many packs")
		return nil
	}
	return g.fetch(ctx, sess, m, want)
}

func (g *Git) fetch(ctx context.Context, sess session, m *mirror, want heads) error {
	tips := map[string]plumbing.Hash{"main": want.main}
	if !want.host.IsZero() {
		tips["host"] = want.host
	}
	req := request{has: m.store.has}
	for _, id := range tips {
		if !m.store.has(id) {
			req.wants = append(req.wants, id)
		}
	}
	if len(req.wants) > 0 {
		for _, id := range m.tips {
			req.haves = append(req.haves, g.recent(m, id)...)
		}
		if err := g.receive(ctx, sess, m, req); err != nil {
			return err
		}
	}
	for _, id := range tips {
		if !m.store.has(id) {
			return &FetchError{Class: ClassCorrupt, Err: fmt.Errorf("the remote promised commit %s and didn't send it", id)}
		}
	}
	return m.setTips(tips, sess.refs().shallow)
}

var errStalled = errors.New("the server sent nothing for a minute")

// receive takes the packs of one fetch. It ends when the server stalls, however
// long the whole may take; and damage of what was sent is not the mirror's.
func (g *Git) receive(ctx context.Context, sess session, m *mirror, req request) error {
	if err := g.room(0); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	t := time.AfterFunc(stallTime, func() { cancel(errStalled) })
	defer t.Stop()
	err := sess.fetch(ctx, req, func(r io.Reader) error { return m.store.storePack(ctx, &lively{r, t}) })
	c := (*corruptError)(nil)
	switch {
	case !errors.As(err, &c):
		return err
	case errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF):
		return &FetchError{Class: ClassNetwork, Err: errors.New("the connection broke off within a pack")}
	}
	return &FetchError{Class: ClassCorrupt, Err: fmt.Errorf("the remote sent a damaged pack: %w", err), Hint: "run git fsck in the remote repository"}
}

// lively puts a stall off with every read.
type lively struct {
	r io.Reader
	t *time.Timer
}

func (l *lively) Read(p []byte) (int, error) {
	n, err := l.r.Read(p)
	if err != nil {
		l.t.Stop() // what follows is our own work
	} else {
		l.t.Reset(stallTime)
	}
	return n, err
}

// recent is a tip and the first parents below it: enough for a remote whose
// branch was set back a little to find common ground.
func (g *Git) recent(m *mirror, tip plumbing.Hash) []plumbing.Hash {
	var list []plumbing.Hash
	for range 16 {
		c, err := m.history().commit(tip)
		if err != nil {
			break
		}
		list = append(list, tip)
		if len(c.ParentHashes) == 0 || m.shallow[tip] {
			break
		}
		tip = c.ParentHashes[0]
	}
	return list
}

// repair makes a new clone because of damage, in a conversation of its own.
func (g *Git) repair(ctx context.Context, c *corruptError) error {
	g.damage.Store(c)
	sess, err := g.connect(ctx)
	if err != nil {
		return err
	}
	defer sess.close()
	want, err := g.heads(sess.refs())
	if err != nil {
		return err
	}
	return g.rebuild(ctx, sess, want, c)
}

// rebuild makes a new clone, but not over and over for the same damage: a remote
// or a disk that keeps spoiling it would be copied for ever.
func (g *Git) rebuild(ctx context.Context, sess session, want heads, why error) error {
	cause := ""
	if c := (*corruptError)(nil); errors.As(why, &c) {
		cause = c.cause
		if at, ok := g.tried[cause]; ok && time.Since(at) < repairEvery {
			return &FetchError{Class: ClassCorrupt, Err: fmt.Errorf("damaged again %s after a new clone: %w", time.Since(at).Round(time.Second), why),
				Hint: "run git fsck in the remote repository, and look at this host's disk and memory"}
		}
		g.cfg.Log.Warn("mirror replaced", "reason", "damaged", "err", why)
	}
	if err := g.room(g.mirror.bytes()); err != nil {
		return err
	}
	if err := g.replace(ctx, sess, want); err != nil {
		return err
	}
	if cause != "" {
		g.tried[cause] = time.Now()
	}
	g.damage.Store(nil)
	return nil
}

func (g *Git) replace(ctx context.Context, sess session, want heads) error {
	old := g.mirror.store
	err := g.mirror.build(func(m *mirror) error { return g.fetch(ctx, sess, m, want) })
	if n := g.mirror.store; n != nil && n != old {
		g.store.Store(n)
		if old != nil {
			old.close()
		}
	}
	return err
}

// room makes sure that a fetch can't fill the disk on which services live too.
func (g *Git) room(need int64) error {
	free, err := freeBytes(g.cfg.MirrorDir)
	if err != nil {
		return diskError(err)
	}
	if need += g.cfg.Reserve; free < need {
		return diskError(fmt.Errorf("%d MB are free where the mirror is, %d MB are needed", free>>20, need>>20))
	}
	return nil
}
