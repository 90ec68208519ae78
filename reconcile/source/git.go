package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
)

// GitConfig says which branch of which repository a host follows.
type GitConfig struct {
	URL       string
	Branch    string // "" is the branch that the remote's HEAD names
	Path      string // directory of the repository to serve; "" is all of it
	Host      string // its branch host/NAME is taken when it lies on top of Branch
	MirrorDir string // ours alone; made when missing
	Auth      Credentials

	// AllowedSigners is a file in OpenSSH's allowed_signers format, which may also
	// hold armored OpenPGP keys. "" asks for no signatures. It is read at each use.
	AllowedSigners string
	SignMode       SignMode // "" is SignHead

	Poll    time.Duration // how often to look; 0 is 30 s
	Timeout time.Duration // of a whole fetch; 0 is 15 minutes. A server that stalls gets a minute
	Limits  Limits
	Reserve int64 // bytes that must stay free on the mirror's disk; 0 is 64 MB
	Log     *slog.Logger
}

// Anchor is what the caller remembers, outside the mirror, of earlier revisions.
type Anchor struct {
	// Revision is the Anchor of the Snapshot that was accepted last; "" for none.
	Revision string
	// AcceptRewind is the one head that a person accepted although it doesn't
	// descend from Revision; "" for none.
	AcceptRewind string
}

// Git follows a branch. Its methods may be called from any goroutine; one at a
// time works on the mirror.
type Git struct {
	cfg    GitConfig
	at     *location
	remote remote
	wait   *waiter

	turn   chan struct{} // held by whoever works on the mirror
	mirror *mirror
	nodes  map[plumbing.Hash]*node
	last   verdict
	tried  map[string]time.Time // last new clone, by the damage that asked for it

	store  atomic.Pointer[objects] // what snapshots read from
	damage atomic.Pointer[corruptError]
}

// verdict is the answer to one question, kept so that asking again is cheap.
type verdict struct {
	heads    heads
	anchor   Anchor
	signers  string
	snapshot *Snapshot
	err      error
}

// heads are the commits that matter of a remote.
type heads struct {
	branch     string
	main, host plumbing.Hash
}

const connectTime = 30 * time.Second

// NewGit checks the configuration. Nothing is opened before the first call.
func NewGit(cfg GitConfig) (*Git, error) {
	at, err := parseURL(cfg.URL)
	if err != nil {
		return nil, &FetchError{Class: ClassConfig, URL: "the repository", Err: err, Hint: "check the URL given with --repo"}
	}
	bad := func(format string, args ...any) (*Git, error) {
		return nil, &FetchError{Class: ClassConfig, URL: at.text, Err: fmt.Errorf(format, args...)}
	}
	if cfg.MirrorDir == "" {
		return bad("no directory for the mirror was given")
	}
	if cfg.Path, err = cleanPath(cfg.Path); err != nil {
		return bad("path %q: %w", cfg.Path, err)
	}
	if cfg.SignMode == "" {
		cfg.SignMode = SignHead
	}
	if cfg.SignMode != SignHead && cfg.SignMode != SignRange {
		return bad("sign mode %q is neither %q nor %q", cfg.SignMode, SignHead, SignRange)
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = 15 * time.Minute
	}
	if cfg.Reserve <= 0 {
		cfg.Reserve = 64 << 20
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	cfg.Limits = cfg.Limits.orDefault()
	g := &Git{cfg: cfg, at: at, turn: make(chan struct{}, 1), tried: map[string]time.Time{}}
	g.remote, err = newRemote(at, cfg.Auth, cfg.Limits)
	if err != nil {
		return nil, &FetchError{Class: ClassConfig, URL: at.text, Err: err}
	}
	g.wait = newWaiter(cfg.Poll)
	return g, nil
}

// URL names the remote for people: without credentials.
func (g *Git) URL() string { return g.at.text }

// Latest gives the revision that this host should run: fetched whole, descending
// from the anchor, signed if that is asked for. As long as nothing moved it gives
// the same pointer, at the price of asking the remote for its refs. An error is a
// *FetchError, a *RefusedError or that of ctx.
func (g *Git) Latest(ctx context.Context, a Anchor) (*Snapshot, error) {
	s, err := g.locked(ctx, func(ctx context.Context) (*Snapshot, error) { return g.latest(ctx, a) })
	g.wait.done(err)
	return s, err
}

// At gives an older revision again, from the mirror, so that a host can go back
// to it after a restart. Its tree is walked and its own signature verified; that
// it was once accepted is for the caller to know.
func (g *Git) At(ctx context.Context, revision string) (*Snapshot, error) {
	if !plumbing.IsHash(revision) {
		return nil, g.explain(&FetchError{Class: ClassConfig, Err: fmt.Errorf("%q: %w", revision, ErrNoRevision)})
	}
	return g.locked(ctx, func(ctx context.Context) (*Snapshot, error) { return g.older(ctx, plumbing.NewHash(revision)) })
}

// Close lets go of the mirror. Snapshots can't be read any more.
func (g *Git) Close() error {
	g.turn <- struct{}{}
	defer func() { <-g.turn }()
	g.wait.close()
	if c, ok := g.remote.(io.Closer); ok {
		_ = c.Close()
	}
	if g.mirror != nil {
		g.mirror.close()
		g.mirror = nil
	}
	return nil
}

func (g *Git) locked(ctx context.Context, f func(context.Context) (*Snapshot, error)) (*Snapshot, error) {
	select {
	case g.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-g.turn }()
	inner, cancel := context.WithTimeout(ctx, g.cfg.Timeout)
	defer cancel()
	if g.mirror == nil {
		m, err := openMirror(g.cfg.MirrorDir, g.at.text, g.cfg.Limits)
		if err != nil {
			return nil, g.explain(err)
		}
		g.mirror = m
		g.store.Store(m.store)
	}
	if err := g.mirror.look(); err != nil {
		return nil, g.explain(err)
	}
	s, err := f(inner)
	if err != nil && ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return s, g.explain(err)
}

func (g *Git) latest(ctx context.Context, a Anchor) (*Snapshot, error) {
	if err := g.wait.watch(g.at); err != nil {
		g.cfg.Log.Debug("refs could not be watched", "err", err)
	}
	sess, err := g.connect(ctx)
	if err != nil {
		return nil, err
	}
	defer sess.close()
	want, err := g.heads(sess.refs())
	if err != nil {
		return nil, err
	}
	signers, err := g.signers()
	if err != nil {
		return nil, err
	}
	if g.mirror.damage == nil && g.damage.Load() == nil {
		if s, err, ok := g.again(want, a, signers.digest()); ok {
			return s, err
		}
	}
	if err := g.bring(ctx, sess, want); err != nil {
		return nil, err
	}
	s, err := g.judge(ctx, want, a, signers)
	if c := (*corruptError)(nil); errors.As(err, &c) {
		if err := g.repair(ctx, c); err != nil {
			return nil, err
		}
		s, err = g.judge(ctx, want, a, signers)
	}
	if r := (*RefusedError)(nil); err == nil || errors.As(err, &r) {
		g.last = verdict{want, a, signers.digest(), s, err}
	}
	return s, err
}

// again gives the last verdict if the same question is asked; that the anchor
// moved up to the revision itself changes nothing.
func (g *Git) again(want heads, a Anchor, signers string) (*Snapshot, error, bool) {
	l := g.last
	if l.heads != want || l.signers != signers {
		return nil, nil, false
	}
	if l.anchor == a || l.snapshot != nil && l.snapshot.Anchor == a.Revision {
		return l.snapshot, l.err, true
	}
	return nil, nil, false
}

func (g *Git) connect(ctx context.Context) (session, error) {
	ctx, cancel := context.WithTimeout(ctx, min(connectTime, g.cfg.Timeout))
	defer cancel()
	return g.remote.connect(ctx)
}

// heads picks the branches that matter.
func (g *Git) heads(r *refs) (heads, error) {
	if len(r.heads) == 0 {
		return heads{}, &FetchError{Class: ClassConfig, Err: ErrEmptyRemote, Hint: "push a commit to it"}
	}
	h := heads{branch: g.cfg.Branch}
	if h.branch == "" {
		h.branch = r.head
	}
	if h.branch == "" {
		return heads{}, &FetchError{Class: ClassConfig, Err: errors.New("the remote's HEAD names no branch"), Hint: "choose one with --branch: " + someOf(r.heads)}
	}
	var ok bool
	if h.main, ok = r.heads[h.branch]; !ok {
		hint := "choose another with --branch"
		if near := someOf(r.heads); near != "" {
			hint = "choose one with --branch: " + near
		}
		return heads{}, &FetchError{Class: ClassConfig, Err: fmt.Errorf("%w: %q", ErrNoBranch, h.branch), Hint: hint}
	}
	if g.cfg.Host != "" {
		h.host = r.heads["host/"+g.cfg.Host]
	}
	return h, nil
}

// explain makes a FetchError of any error that isn't a final one yet.
func (g *Git) explain(err error) error {
	var f *FetchError
	var r *RefusedError
	var c *corruptError
	var n net.Error
	switch {
	case err == nil || errors.As(err, &r):
		return err
	case errors.As(err, &f):
		f.URL = g.at.text
		return f
	case errors.As(err, &c):
		f = &FetchError{Class: ClassCorrupt, Err: err, Hint: "a new copy is fetched at the next try"}
	case errors.Is(err, ErrTooBig):
		f = &FetchError{Class: ClassConfig, Err: err, Hint: "keep large files out of the repository"}
	case errors.Is(err, fs.ErrPermission):
		f = &FetchError{Class: ClassConfig, Err: err, Hint: "give the user that ten runs as the right to read it"}
	case outOfSpace(err):
		f = diskError(err).(*FetchError)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		f = &FetchError{Class: ClassNetwork, Err: errors.New("no answer in time"), Hint: "look at the remote and the network to it"}
	case errors.As(err, &n), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		f = &FetchError{Class: ClassNetwork, Err: err, Hint: "look at the remote and the network to it"}
	default:
		f = &FetchError{Class: ClassNetwork, Err: err}
	}
	f.URL = g.at.text
	return f
}

func cleanPath(p string) (string, error) {
	p = strings.Trim(strings.TrimPrefix(p, "./"), "/")
	if p == "" || p == "." {
		return ".", nil
	}
	for part := range strings.SplitSeq(p, "/") {
		if err := checkName(part); err != nil {
			return p, err
		}
	}
	return p, nil
}
