package tokens

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// memory is a Keeper without a disk.
type memory struct {
	mu   sync.Mutex
	list []Record
	err  error
}

func (m *memory) Tokens(context.Context) ([]Record, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.list), m.err
}

func (m *memory) PutToken(_ context.Context, r Record) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return m.err
	}
	if r.Tenant == "" {
		m.list = slices.DeleteFunc(m.list, func(o Record) bool { return o.Tenant == "" })
	}
	m.list = append(m.list, r)
	return nil
}

func (m *memory) RevokeToken(_ context.Context, id string) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := len(m.list)
	m.list = slices.DeleteFunc(m.list, func(o Record) bool { return o.ID == id })
	return len(m.list) < n, m.err
}

func open(t testing.TB, m *memory) *Tokens {
	t.Helper()
	k, err := New(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func create(t testing.TB, k *Tokens, q Request) (string, Record) {
	t.Helper()
	token, r, err := k.Create(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	return token, r
}

var here, there = netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")

func TestTokenIs256BitsInURLSafeBase64(t *testing.T) {
	t.Parallel()
	m := &memory{}
	seen := map[string]bool{}
	for range 3 {
		token, r := create(t, open(t, m), Request{Tenant: "acme"})
		raw, err := base64.RawURLEncoding.DecodeString(token)
		if len(token) != 43 || len(raw) != 32 || err != nil || seen[token] {
			t.Errorf("token %q: %d characters, %d bytes, %v", token, len(token), len(raw), err)
		}
		seen[token] = true
		if !strings.HasPrefix(r.Hash, "$argon2id$v=19$m=19456,t=2,p=1$") || strings.Contains(fmt.Sprint(m.list), token) {
			t.Errorf("kept: %+v", r)
		}
	}
}

func TestVerify(t *testing.T) {
	t.Parallel()
	m := &memory{}
	k := open(t, m)
	admin, ra := create(t, k, Request{})
	tenant, rt := create(t, k, Request{Tenant: "acme", Description: "ci"})
	gone, rg := create(t, k, Request{Tenant: "acme"})
	if _, ok, err := k.Revoke(t.Context(), rg.ID); !ok || err != nil {
		t.Fatal(ok, err)
	}
	for _, again := range []*Tokens{k, open(t, m)} { // with what it made itself, and after a restart
		for _, tt := range []struct {
			token string
			want  Identity
			err   error
		}{
			{admin, Identity{ID: ra.ID}, nil},
			{admin, Identity{ID: ra.ID}, nil}, // from what it remembers
			{tenant, Identity{ID: rt.ID, Tenant: "acme", Description: "ci"}, nil},
			{gone, Identity{}, ErrUnknown},
			{"", Identity{}, ErrUnknown},
			{admin[:42], Identity{}, ErrUnknown},
			{admin + "x", Identity{}, ErrUnknown},
			{flip(admin), Identity{}, ErrUnknown},
			{strings.Repeat("A", 43), Identity{}, ErrUnknown},
		} {
			got, err := again.Verify(t.Context(), here, tt.token)
			if got != tt.want || !errors.Is(err, tt.err) {
				t.Errorf("Verify(%.8s...) = %+v, %v; want %+v, %v", tt.token, got, err, tt.want, tt.err)
			}
		}
	}
}

// flip changes the last character but one: the last has bits that count for nothing.
func flip(token string) string {
	b := []byte(token)
	if b[41] == 'A' {
		b[41] = 'B'
	} else {
		b[41] = 'A'
	}
	return string(b)
}

func TestANewAdminTokenEndsTheOneBefore(t *testing.T) {
	t.Parallel()
	k := open(t, &memory{})
	first, _ := create(t, k, Request{})
	second, _ := create(t, k, Request{})
	if _, err := k.Verify(t.Context(), here, first); !errors.Is(err, ErrUnknown) {
		t.Errorf("the old one: %v", err)
	}
	if id, err := k.Verify(t.Context(), here, second); err != nil || !id.Admin() {
		t.Errorf("the new one: %+v, %v", id, err)
	}
	if list, _ := k.List(t.Context()); len(list) != 1 {
		t.Errorf("kept: %v", list)
	}
}

func TestATokenExpiresWhileItIsRemembered(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := open(t, &memory{})
		token, _ := create(t, k, Request{Tenant: "acme", Expires: time.Now().Add(time.Hour)})
		time.Sleep(time.Hour - 1)
		if _, err := k.Verify(t.Context(), here, token); err != nil {
			t.Errorf("before its end: %v", err)
		}
		time.Sleep(time.Nanosecond)
		if _, err := k.Verify(t.Context(), here, token); !errors.Is(err, ErrUnknown) {
			t.Errorf("after its end: %v", err)
		}
	})
}

func TestRevokeCountsAtOnceAmidRequests(t *testing.T) {
	t.Parallel()
	k := open(t, &memory{})
	token, r := create(t, k, Request{Tenant: "acme"})
	var wg sync.WaitGroup
	revoked := make(chan struct{})
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-revoked:
					if _, err := k.Verify(t.Context(), here, token); err == nil {
						t.Error("valid after Revoke returned")
					}
					return
				default:
					k.Verify(t.Context(), here, token)
				}
			}
		})
	}
	if _, ok, err := k.Revoke(t.Context(), r.Prefix); !ok || err != nil {
		t.Error(ok, err)
	}
	close(revoked)
	wg.Wait()
	if _, ok, err := k.Revoke(t.Context(), r.ID); ok || err != nil {
		t.Errorf("revoked twice: %v %v", ok, err)
	}
}

func TestAFloodOfBadTokensKeepsNoGoodOneOut(t *testing.T) {
	t.Parallel()
	m := &memory{}
	made, _ := create(t, open(t, m), Request{})
	k := open(t, m) // restarted: the good one has not been proven yet
	limited := 0
	for i := range 10_000 {
		bad := base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "%032d", i))
		_, err := k.Verify(t.Context(), here, bad)
		if errors.Is(err, ErrLimited) {
			limited++
		} else if !errors.Is(err, ErrUnknown) {
			t.Fatalf("a bad token: %v", err)
		}
		if i%1000 != 999 {
			continue
		}
		for _, source := range []netip.Addr{here, there} {
			if _, err := k.Verify(t.Context(), source, made); err != nil {
				t.Fatalf("the good one from %v after %d bad ones: %v", source, i+1, err)
			}
		}
	}
	if limited < 9_000 {
		t.Errorf("only %d of 10,000 guesses were limited", limited)
	}
	// Somebody else has not been limited by it.
	if _, err := k.Verify(t.Context(), there, strings.Repeat("B", 43)); !errors.Is(err, ErrUnknown) {
		t.Errorf("a first mistake from another address: %v", err)
	}
}

func TestGuessesWithAKnownPrefixAreFewAndBounded(t *testing.T) {
	t.Parallel()
	m := &memory{}
	token, _ := create(t, open(t, m), Request{})
	k := open(t, m)
	var limited int
	for range 20 {
		if _, err := k.Verify(t.Context(), here, flip(token)); errors.Is(err, ErrLimited) {
			limited++
		}
	}
	if limited < 20-proofs-2 {
		t.Errorf("%d of 20 were limited: each other was a hashing", limited)
	}
	if _, err := k.Verify(t.Context(), there, token); err != nil {
		t.Errorf("the good one from elsewhere: %v", err)
	}
	if _, err := k.Verify(t.Context(), here, token); err != nil { // proven by now
		t.Errorf("the good one from here: %v", err)
	}
}

func TestSourcesAreBoundedAndIPv6CountsByNetwork(t *testing.T) {
	t.Parallel()
	l := newLimits()
	now := time.Now()
	for i := range 4 * maxSources {
		l.failed(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), now)
	}
	if len(l.sources) > maxSources {
		t.Errorf("%d sources are remembered", len(l.sources))
	}
	l = newLimits()
	for i := range 100 {
		l.failed(netip.MustParseAddr(fmt.Sprintf("2001:db8::%x", i+1)), now)
	}
	if len(l.sources) != 1 {
		t.Errorf("one network counts as %d sources", len(l.sources))
	}
	if err := l.failed(netip.MustParseAddr("2001:db8::ffff"), now.Add(guesses*guessEvery)); !errors.Is(err, ErrUnknown) {
		t.Errorf("limited for ever: %v", err)
	}
}

func TestWaitingForAHashingEndsWithItsContext(t *testing.T) {
	t.Parallel()
	m := &memory{}
	token, _ := create(t, open(t, m), Request{})
	k := open(t, m)
	for range maxProving {
		k.prove <- struct{}{}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := k.Verify(ctx, here, token); !errors.Is(err, context.Canceled) {
		t.Errorf("= %v", err)
	}
}

func TestDamagedHashesMatchNothing(t *testing.T) {
	t.Parallel()
	good := newHash("secret")
	if !matches(good, "secret") || matches(good, "Secret") {
		t.Error("a hash does not know its own token, or another")
	}
	for _, hash := range []string{
		"", "$", "$$$$$", strings.Replace(good, "argon2id", "argon2i", 1), strings.Replace(good, "v=19", "v=16", 1),
		strings.Replace(good, "m=19456", "m=4000000000", 1), strings.Replace(good, "t=2", "t=0", 1), strings.Replace(good, "p=1", "p=0", 1),
		good[:len(good)-40], good[:strings.LastIndex(good, "$")+1],
	} {
		if matches(hash, "secret") {
			t.Errorf("%q matches", hash)
		}
	}
}

func TestMakeRefuses(t *testing.T) {
	t.Parallel()
	for _, q := range []Request{
		{Tenant: "../x"}, {Tenant: "A"}, {Tenant: strings.Repeat("a", 64)},
		{Description: "two\nlines"}, {Description: strings.Repeat("x", maxNote+1)},
		{Expires: time.Now().Add(-time.Second)},
	} {
		if token, _, err := Make(q); err == nil || token != "" {
			t.Errorf("%+v made a token", q)
		}
	}
	k := open(t, &memory{})
	k.keeper = &memory{err: errors.New("disk full")}
	if token, _, err := k.Create(t.Context(), Request{}); err == nil || token != "" {
		t.Errorf("Create without a disk = %q, %v", token, err)
	}
}

func TestBearer(t *testing.T) {
	t.Parallel()
	for header, want := range map[string]string{
		"Bearer abc": "abc", "bearer abc": "abc", "BEARER abc": "abc",
		"Bearer  abc": " abc", // the second space is part of the token, which is therefore none
		"Bearer":      "", "Bearer ": "", "": "", "Basic abc": "", "Bearer\tabc": "",
	} {
		if got, ok := Bearer(header); ok != (want != "") || ok && got != want {
			t.Errorf("Bearer(%q) = %q, %v", header, got, ok)
		}
	}
}

func BenchmarkVerifyKnown(b *testing.B) {
	k := open(b, &memory{})
	for i := range 1000 {
		m := Record{ID: fmt.Sprint(i), Tenant: "t", Prefix: fmt.Sprintf("%08d", i)}
		k.now.Store(index(append(k.now.Load().entries(func(*entry) bool { return true }), &entry{Record: m})))
	}
	token, _ := create(b, k, Request{})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := k.Verify(b.Context(), here, token); err != nil {
			b.Fatal(err)
		}
	}
}
