package source

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sort"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// judge applies the rules of trust to fetched heads, in the order that matters:
// descent, signatures, content. Nothing is remembered of a head that fails.
func (g *Git) judge(ctx context.Context, want heads, a Anchor, signers *signers) (*Snapshot, error) {
	h := g.mirror.history()
	commits, known, err := g.descent(h, want.main, a)
	if err != nil {
		return nil, err
	}
	signer, err := g.signed(ctx, h, want.main, commits, plumbing.NewHash(a.Revision), signers)
	if err != nil {
		return nil, err
	}
	s := &Snapshot{Branch: want.branch, Signer: signer, Ahead: -1}
	head := want.main
	if known {
		s.Ahead = len(commits)
	}
	if above, by, err := g.hostBranch(ctx, h, want, signers); err != nil {
		if c := (*corruptError)(nil); errors.As(err, &c) || ctx.Err() != nil {
			return nil, err
		}
		s.Notice = fmt.Sprintf("branch host/%s at %s is ignored: %v", g.cfg.Host, short(want.host.String()), err)
	} else if above != nil {
		head = want.host
		s.Branch, s.Signer = "host/"+g.cfg.Host, by
		s.Notice = fmt.Sprintf("branch host/%s is tried out on this host: %d commits on top of %s", g.cfg.Host, len(above), want.branch)
		if s.Ahead >= 0 {
			s.Ahead += len(above)
		}
	}
	s.Anchor = want.main.String()
	return g.snapshot(h, s, head)
}

// descent lists what the head adds to the anchor. That is not known where there
// is no anchor, or a person accepted a rewind.
func (g *Git) descent(h history, head plumbing.Hash, a Anchor) (commits []*object.Commit, known bool, err error) {
	if a.Revision == "" {
		return nil, false, nil
	}
	commits, ok, err := h.since(plumbing.NewHash(a.Revision), head)
	if err != nil || ok {
		return commits, ok, err
	}
	if a.AcceptRewind == head.String() {
		return nil, false, nil
	}
	reason := fmt.Sprintf("%s is not on top of %s, which was accepted last: the branch was rewound or rewritten", short(head.String()), short(a.Revision))
	if len(h.shallow) > 0 {
		reason += " (or the way between them is cut off: the remote is a shallow clone)"
	}
	return nil, false, &RefusedError{Kind: KindRewind, Revision: head.String(), Reason: reason,
		Hint: "put the branch back, or accept it with: ten accept-rewind " + head.String()}
}

// hostBranch lists the commits of this host's own branch above the main one; nil
// when there is none. The error says why a branch that exists doesn't count.
func (g *Git) hostBranch(ctx context.Context, h history, want heads, signers *signers) ([]*object.Commit, string, error) {
	if want.host.IsZero() || want.host == want.main {
		return nil, "", nil
	}
	above, ok, err := h.since(want.main, want.host)
	if err != nil {
		return nil, "", err
	}
	if !ok {
		return nil, "", fmt.Errorf("it is not on top of %s; rebase it: git rebase %s", want.branch, want.branch)
	}
	by, err := g.signed(ctx, h, want.host, above, want.main, signers)
	return above, by, err
}

// snapshot walks the tree of a commit that passed.
func (g *Git) snapshot(h history, s *Snapshot, head plumbing.Hash) (*Snapshot, error) {
	c, err := h.commit(head)
	if err != nil {
		return nil, err
	}
	s.Revision = head.String()
	s.Subject, _, _ = strings.Cut(strings.TrimSpace(c.Message), "\n")
	s.Author = c.Author.Name
	s.Time = c.Committer.When
	id, err := g.subtree(h.from, c.TreeHash)
	if err != nil {
		return nil, refuseTree(s.Revision, err)
	}
	w := walker{
		tree:   func(id plumbing.Hash) ([]byte, error) { return h.from.read(plumbing.TreeObject, id) },
		has:    h.from.has,
		limits: g.cfg.Limits, known: g.nodes, seen: map[plumbing.Hash]*node{},
	}
	root, err := w.dir(id, 1)
	if err != nil {
		return nil, refuseTree(s.Revision, err)
	}
	g.nodes = w.seen
	s.Tree = &objectTree{root: root, from: g, when: s.Time}
	return s, nil
}

// subtree finds the directory that is served. The trees above it are read no
// further than the way to it.
func (g *Git) subtree(from *objects, id plumbing.Hash) (plumbing.Hash, error) {
	if g.cfg.Path == "." {
		return id, nil
	}
	for part := range strings.SplitSeq(g.cfg.Path, "/") {
		raw, err := from.read(plumbing.TreeObject, id)
		if err != nil {
			return id, err
		}
		next, found := plumbing.ZeroHash, ""
		err = eachEntry(raw, func(mode, name string, id plumbing.Hash) error {
			if name == part {
				next, found = id, mode
			}
			return nil
		})
		if err != nil {
			return id, err
		}
		if found != "40000" {
			return id, &FetchError{Class: ClassConfig, Err: fmt.Errorf("%w: %q", ErrNoPath, g.cfg.Path), Hint: "check --path, or bring the directory back"}
		}
		id = next
	}
	return id, nil
}

func refuseTree(revision string, err error) error {
	var t *treeError
	if !errors.As(err, &t) {
		return err
	}
	return &RefusedError{Kind: KindContent, Revision: revision, Reason: fmt.Sprintf("%q %s", strings.TrimSuffix(t.path, "/."), t.reason), Hint: t.hint}
}

// older makes a snapshot of any commit in the mirror, repairing that if need be.
func (g *Git) older(ctx context.Context, id plumbing.Hash) (*Snapshot, error) {
	if l := g.last.snapshot; l != nil && l.Revision == id.String() {
		return l, nil
	}
	if g.mirror.damage != nil || !g.mirror.store.has(id) {
		if err := g.refresh(ctx); err != nil {
			return nil, err
		}
	}
	s, err := g.stored(ctx, id)
	if c := (*corruptError)(nil); errors.As(err, &c) {
		if err := g.repair(ctx, c); err != nil {
			return nil, err
		}
		return g.stored(ctx, id)
	}
	return s, err
}

func (g *Git) stored(ctx context.Context, id plumbing.Hash) (*Snapshot, error) {
	if !g.mirror.store.has(id) {
		return nil, &FetchError{Class: ClassConfig, Err: fmt.Errorf("%s: %w", id, ErrNoRevision),
			Hint: "the branch was rewritten since; push the commit again"}
	}
	signers, err := g.signers()
	if err != nil {
		return nil, err
	}
	h := g.mirror.history()
	by, err := g.signed(ctx, h, id, nil, plumbing.ZeroHash, signers)
	if err != nil {
		return nil, err
	}
	return g.snapshot(h, &Snapshot{Signer: by, Ahead: -1, Branch: g.cfg.Branch}, id)
}

// refresh fetches without judging.
func (g *Git) refresh(ctx context.Context) error {
	sess, err := g.connect(ctx)
	if err != nil {
		return err
	}
	defer sess.close()
	want, err := g.heads(sess.refs())
	if err != nil {
		return err
	}
	return g.bring(ctx, sess, want)
}

// fromStore reads from the store in use; twice when it was replaced meanwhile.
func fromStore[T any](g *Git, read func(*objects) (T, error)) (T, error) {
	store := g.store.Load()
	v, err := read(store)
	if now := g.store.Load(); errors.Is(err, os.ErrClosed) && now != store {
		v, err = read(now)
	}
	return v, err
}

// content implements contents: snapshots outlive the mirror they were made from,
// and their objects are found by id in the one that replaced it.
func (g *Git) content(path string, id plumbing.Hash) ([]byte, error) {
	b, err := fromStore(g, func(o *objects) ([]byte, error) { return o.read(plumbing.BlobObject, id) })
	return b, g.noteDamage(path, err)
}

func (g *Git) length(path string, id plumbing.Hash) (int64, error) {
	n, err := fromStore(g, func(o *objects) (int64, error) { return o.size(id) })
	return n, g.noteDamage(path, err)
}

func (g *Git) noteDamage(path string, err error) error {
	if c := (*corruptError)(nil); errors.As(err, &c) {
		g.damage.Store(c)
		return fmt.Errorf("the mirror is damaged and will be cloned anew: %w", err)
	}
	return err
}

func someOf(heads map[string]plumbing.Hash) string {
	names := make([]string, 0, len(heads))
	for n := range heads {
		names = append(names, n)
	}
	sort.Strings(names)
	if len(names) > 5 {
		names = append(names[:5], "...")
	}
	return strings.Join(names, ", ")
}
