// Package tokens says who holds a token. A token is 256 random bits; kept is an
// Argon2id hash, so that whoever reads the state can't use what is in it.
//
// A token that was proven once is known again by its SHA-256, in about a
// microsecond, until it is revoked or expires. Bad tokens are limited by where
// they come from and never by how many there are: a token that is known passes
// whatever flood goes on beside it. A guess with a prefix that no token has costs
// no hashing at all, and at most a few hashings go on at once.
package tokens

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode"

	"github.com/tenement/ten/schema"
)

const (
	tokenBytes  = 32
	tokenLength = 43 // in URL-safe base64 without padding
	prefixBytes = 8
	maxNote     = 200 // bytes of a description
)

// Record is a token as it is kept.
type Record struct {
	ID          string
	Tenant      string // "" = the admin's, of which there is one
	Description string
	Prefix      string
	Hash        string
	Created     time.Time
	Expires     time.Time // zero = never
}

// Keeper holds records through restarts.
type Keeper interface {
	Tokens(ctx context.Context) ([]Record, error)
	// PutToken adds a record; the admin's replaces the one before.
	PutToken(ctx context.Context, r Record) error
	RevokeToken(ctx context.Context, id string) (bool, error)
}

// Identity is who holds a token.
type Identity struct {
	ID          string
	Tenant      string // "" = admin
	Description string
}

// Admin reports whether every instance is its own.
func (i Identity) Admin() bool { return i.Tenant == "" }

// The refusals of Verify.
var (
	ErrUnknown = errors.New("unknown, revoked or expired token")
	ErrLimited = errors.New("too many bad tokens from this address")
)

// Tokens knows all tokens of a host. It is safe for concurrent use. All
// changes must go through it, or it would not know of them.
type Tokens struct {
	keeper Keeper
	limits *limits
	prove  chan struct{} // a place for each hashing under way

	changing sync.Mutex
	now      atomic.Pointer[state]
}

// state is all tokens at one moment. It is replaced, never changed; the entries
// live on from one to the next.
type state struct{ byPrefix map[string][]*entry }

type entry struct {
	Record
	// proven is the SHA-256 of the one token that fits, once it was shown.
	proven atomic.Pointer[[sha256.Size]byte]

	mu    sync.Mutex
	ended bool
	uses  map[*context.CancelFunc]struct{} // what goes on in its name
}

// end cuts what goes on in the name of a token that is none any more.
func (e *entry) end() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.ended = true
	for cancel := range e.uses {
		(*cancel)()
	}
}

// New reads all tokens that keeper has.
func New(ctx context.Context, keeper Keeper) (*Tokens, error) {
	list, err := keeper.Tokens(ctx)
	if err != nil {
		return nil, err
	}
	t := &Tokens{keeper: keeper, limits: newLimits(), prove: make(chan struct{}, maxProving)}
	entries := make([]*entry, len(list))
	for i, r := range list {
		entries[i] = &entry{Record: r}
	}
	t.now.Store(index(entries))
	return t, nil
}

func index(entries []*entry) *state {
	s := &state{byPrefix: map[string][]*entry{}}
	for _, e := range entries {
		s.byPrefix[e.Prefix] = append(s.byPrefix[e.Prefix], e)
	}
	return s
}

func (s *state) entries(keep func(*entry) bool) []*entry {
	var all []*entry
	for _, list := range s.byPrefix {
		for _, e := range list {
			if keep(e) {
				all = append(all, e)
			}
		}
	}
	return all
}

// has reports whether e is still a token.
func (s *state) has(e *entry) bool {
	for _, other := range s.byPrefix[e.Prefix] {
		if other == e {
			return true
		}
	}
	return false
}

// Verify says who holds token. source is where it came from, for the limits;
// the zero value is limited like any other address. The error is ErrUnknown,
// ErrLimited or that of ctx.
func (t *Tokens) Verify(ctx context.Context, source netip.Addr, token string) (Identity, error) {
	now := time.Now()
	if len(token) != tokenLength {
		return Identity{}, t.limits.failed(source, now)
	}
	sum := sha256.Sum256([]byte(token))
	var unproven []*entry
	for _, e := range t.now.Load().byPrefix[token[:prefixBytes]] {
		if !e.Expires.IsZero() && !now.Before(e.Expires) {
			continue
		}
		proven := e.proven.Load()
		if proven == nil {
			unproven = append(unproven, e)
		} else if subtle.ConstantTimeCompare(proven[:], sum[:]) == 1 {
			return e.identity(), nil
		}
	}
	if len(unproven) == 0 {
		return Identity{}, t.limits.failed(source, now)
	}
	return t.proveOne(ctx, source, token, sum, unproven)
}

func (e *entry) identity() Identity {
	return Identity{ID: e.ID, Tenant: e.Tenant, Description: e.Description}
}

// proveOne hashes the token for each entry that it might be. Bad tokens whose
// prefix is nobody's don't count against that: only proofs that failed do.
func (t *Tokens) proveOne(ctx context.Context, source netip.Addr, token string, sum [sha256.Size]byte, unproven []*entry) (Identity, error) {
	if !t.limits.mayProve(source, time.Now()) {
		return Identity{}, ErrLimited
	}
	select {
	case t.prove <- struct{}{}:
	case <-ctx.Done():
		return Identity{}, ctx.Err()
	}
	defer func() { <-t.prove }()
	for _, e := range unproven {
		proven := e.proven.Load() // another request may have been faster
		switch {
		case proven != nil && subtle.ConstantTimeCompare(proven[:], sum[:]) == 0:
			continue
		case proven == nil && !matches(e.Hash, token):
			continue
		}
		e.proven.Store(&sum)
		if !t.now.Load().has(e) {
			break // revoked in between
		}
		return e.identity(), nil
	}
	t.limits.failedProof(source, time.Now())
	return Identity{}, ErrUnknown
}

// Request describes a token that is to be made.
type Request struct {
	Tenant      string // "" = admin
	Description string
	Expires     time.Time // zero = never
}

// RequestError is what is wrong with a Request.
type RequestError struct{ text string }

func (e *RequestError) Error() string { return e.text }

// Create makes a token and keeps its hash. The token itself is in no other
// place than in the answer. An admin's ends the one before.
func (t *Tokens) Create(ctx context.Context, q Request) (token string, r Record, err error) {
	token, r, err = Make(q)
	if err != nil {
		return "", Record{}, err
	}
	t.changing.Lock()
	defer t.changing.Unlock()
	if err := t.keeper.PutToken(ctx, r); err != nil {
		return "", Record{}, err
	}
	e := &entry{Record: r}
	sum := sha256.Sum256([]byte(token))
	e.proven.Store(&sum)
	stays := func(e *entry) bool { return r.Tenant != "" || e.Tenant != "" }
	t.replace(stays, e)
	return token, r, nil
}

// Make makes a token and its record without keeping either.
func Make(q Request) (token string, r Record, err error) {
	switch {
	case q.Tenant != "" && !schema.ValidInstanceID(q.Tenant):
		return "", Record{}, &RequestError{fmt.Sprintf("tenant %q: want the id of its instances: lower-case letters, digits and -", q.Tenant)}
	case len(q.Description) > maxNote || strings.ContainsFunc(q.Description, unicode.IsControl):
		return "", Record{}, &RequestError{fmt.Sprintf("description: want one line of at most %d bytes", maxNote)}
	case !q.Expires.IsZero() && !q.Expires.After(time.Now()):
		return "", Record{}, &RequestError{"the token would have expired already"}
	}
	var secret [tokenBytes]byte
	rand.Read(secret[:]) // never fails
	var id [4]byte
	rand.Read(id[:])
	token = base64.RawURLEncoding.EncodeToString(secret[:])
	return token, Record{
		ID: hex.EncodeToString(id[:]), Tenant: q.Tenant, Description: q.Description, Prefix: token[:prefixBytes],
		Hash: newHash(token), Created: time.Now(), Expires: q.Expires,
	}, nil
}

// List returns what is kept of all tokens, oldest first.
func (t *Tokens) List(ctx context.Context) ([]Record, error) { return t.keeper.Tokens(ctx) }

// Revoke ends a token, named by its id or its prefix, before it returns. It
// reports which one that was; false when there is none.
func (t *Tokens) Revoke(ctx context.Context, name string) (Record, bool, error) {
	t.changing.Lock()
	defer t.changing.Unlock()
	r, ok, err := Revoke(ctx, t.keeper, name)
	if !ok || err != nil {
		return r, ok, err
	}
	t.replace(func(e *entry) bool { return e.ID != r.ID })
	return r, true, nil
}

// replace keeps the tokens that stay, adds more, and ends the others.
func (t *Tokens) replace(stays func(*entry) bool, more ...*entry) {
	old := t.now.Load()
	t.now.Store(index(append(old.entries(stays), more...)))
	for _, e := range old.entries(func(e *entry) bool { return !stays(e) }) {
		e.end()
	}
}

// While gives a context that also ends when the token with this id is revoked or
// expires: for what goes on longer than one look at it. cancel must be called.
func (t *Tokens) While(ctx context.Context, id string) (_ context.Context, cancel context.CancelFunc) {
	ctx, stop := context.WithCancel(ctx)
	found := t.now.Load().entries(func(e *entry) bool { return e.ID == id })
	if len(found) == 0 {
		stop()
		return ctx, stop
	}
	e := found[0]
	if !e.Expires.IsZero() {
		ctx, stop = withDeadline(ctx, stop, e.Expires)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ended {
		stop()
		return ctx, stop
	}
	if e.uses == nil {
		e.uses = map[*context.CancelFunc]struct{}{}
	}
	e.uses[&stop] = struct{}{}
	return ctx, func() {
		e.mu.Lock()
		delete(e.uses, &stop)
		e.mu.Unlock()
		stop()
	}
}

// withDeadline ends a context at a time, and both with one cancel.
func withDeadline(ctx context.Context, stop context.CancelFunc, at time.Time) (context.Context, context.CancelFunc) {
	ctx, inner := context.WithDeadline(ctx, at)
	return ctx, func() { inner(); stop() }
}

// Revoke ends a token where no Tokens stands before keeper.
func Revoke(ctx context.Context, keeper Keeper, name string) (Record, bool, error) {
	list, err := keeper.Tokens(ctx)
	if err != nil {
		return Record{}, false, err
	}
	for _, r := range list {
		if r.ID != name && r.Prefix != name {
			continue
		}
		ok, err := keeper.RevokeToken(ctx, r.ID)
		return r, ok, err
	}
	return Record{}, false, nil
}

// Bearer takes the token out of an Authorization header: one space between the
// scheme, in whatever case, and the token.
func Bearer(header string) (token string, ok bool) {
	scheme, token, ok := strings.Cut(header, " ")
	return token, ok && strings.EqualFold(scheme, "bearer") && token != ""
}

// String names a record for people.
func (r Record) String() string {
	who := "admin token"
	if r.Tenant != "" {
		who = fmt.Sprintf("token of tenant %s", r.Tenant)
	}
	return fmt.Sprintf("%s %s (%s...)", who, r.ID, r.Prefix)
}
