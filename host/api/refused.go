package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tenement/ten/host/tokens"
)

// This file notes who was refused what. Anybody can be refused as often as they
// like, so of each caller only the first of a minute are noted one by one, and
// the rest as a number; of all callers together likewise. Whatever is thrown at
// a host, the log grows by less than a line a second.
const (
	refusedWindow  = time.Minute
	refusedEach    = 5    // noted one by one, of one caller at one address
	refusedAll     = 20   // and of all of them
	refusedSums    = 10   // callers whose rest has a line of its own
	refusedCallers = 1000 // that are told apart
	maxTarget      = 200  // bytes of an address that was asked for
)

// refusals counts those of one window. The zero value is ready.
type refusals struct {
	mu    sync.Mutex
	until time.Time
	noted int
	by    map[refusedKey]*refusedOf
}

type refusedKey struct{ who, source string }

type refusedOf struct {
	noted, more int
	last        Act
}

// add takes a refused act and gives the lines to write now.
func (f *refusals) add(a Act) []Act {
	f.mu.Lock()
	defer f.mu.Unlock()
	lines := f.over(a.At, false)
	if f.by == nil {
		f.by, f.noted, f.until = map[refusedKey]*refusedOf{}, 0, a.At.Add(refusedWindow)
	}
	key := refusedKey{a.Who, network(a.Source)}
	if f.by[key] == nil && len(f.by) >= refusedCallers {
		key = refusedKey{}
	}
	of := f.by[key]
	if of == nil {
		of = &refusedOf{}
		f.by[key] = of
	}
	if of.noted < refusedEach && f.noted < refusedAll {
		of.noted++
		f.noted++
		return append(lines, a)
	}
	of.more++
	of.last = a
	return lines
}

// flush gives the lines of a window that is over, or of any with force.
func (f *refusals) flush(now time.Time, force bool) []Act {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.over(now, force)
}

// over ends the window where its time has come. Called with mu held.
func (f *refusals) over(now time.Time, force bool) (lines []Act) {
	if f.by == nil || now.Before(f.until) && !force {
		return nil
	}
	of := slices.SortedFunc(maps.Values(f.by), func(a, b *refusedOf) int { return cmp.Compare(b.more, a.more) })
	f.by = nil
	rest, callers := 0, 0
	for i, o := range of {
		switch {
		case o.more == 0:
		case i < refusedSums:
			a := o.last
			a.Detail = fmt.Sprintf("and %d more like it within a minute", o.more)
			lines = append(lines, a)
		default:
			rest += o.more
			callers++
		}
	}
	if rest > 0 {
		lines = append(lines, Act{
			At: now, Who: "others", Source: "many addresses", Action: refusedAction,
			Detail: fmt.Sprintf("%d requests of at least %d callers within a minute", rest, callers), Result: "refused",
		})
	}
	return lines
}

// network is the part of an address that one caller has: a /64 with IPv6.
func network(source string) string {
	if a, err := netip.ParseAddr(source); err == nil && a.Is6() && !a.Is4In6() {
		return netip.PrefixFrom(a.WithZone(""), 64).Masked().String()
	}
	return source
}

// refusedAction is the action of what was refused before it was known to be one.
const refusedAction = "request"

// deniedError is a refusal that knows what was refused.
type deniedError struct {
	error
	act Act
}

func (e *deniedError) Unwrap() error { return e.error }

// denied is the error for somebody who is known and may not do what was asked.
func denied(a Act, why error) error { return &deniedError{why, a} }

// refused notes an error where it is a refusal.
func (s *Server) refused(r *http.Request, err error) {
	if code := asError(err).Code; code != CodeForbidden && code != CodeNoToken {
		return
	}
	a := request(r)
	if d, ok := errors.AsType[*deniedError](err); ok {
		a = d.act
	}
	who := callerOf(r)
	a.Who, a.Source, a.Result = who.name, who.source, err.Error()
	s.noteRefused(r.Context(), a)
}

// unknownToken notes a request without a good token: every one that shows a bad
// one, and every one that would have changed something.
func (s *Server) unknownToken(r *http.Request, from netip.Addr, err error) {
	shown := len(r.Header["Authorization"]) > 0
	if !shown && (r.Method == http.MethodGet || r.Method == http.MethodHead || r.Method == http.MethodOptions) {
		return
	}
	a := request(r)
	a.Source = from.String()
	switch {
	case errors.Is(err, tokens.ErrLimited):
		a.Result = "too many bad tokens from this address"
	case !errors.Is(err, tokens.ErrUnknown):
		return // the client left, or the daemon ends
	case shown:
		a.Result = "a token that nobody knows"
	default:
		a.Result = "no token"
	}
	s.noteRefused(r.Context(), a)
}

func request(r *http.Request) Act {
	target := r.Method + " " + r.URL.Path
	return Act{Action: refusedAction, Target: strings.ToValidUTF8(target[:min(len(target), maxTarget)], "")}
}

// noteRefused writes the lines that are due with one refused act more.
func (s *Server) noteRefused(ctx context.Context, a Act) {
	a.At, a.Who = time.Now(), cmp.Or(a.Who, "nobody known")
	s.writeRefused(ctx, s.refusals.add(a))
}

func (s *Server) writeRefused(ctx context.Context, lines []Act) {
	for _, a := range lines {
		if err := s.Audit.Refused(context.WithoutCancel(ctx), a); err != nil {
			s.Log.Warn("audit log can't be written", "action", a.Action, "instance", a.Target, "err", err)
		}
	}
}

// sumUp writes the numbers of what was refused as their windows end, and what is
// left when ctx does.
func (s *Server) sumUp(ctx context.Context) {
	for rest(ctx, refusedWindow/10, nil) {
		s.writeRefused(ctx, s.refusals.flush(time.Now(), false))
	}
	s.writeRefused(ctx, s.refusals.flush(time.Now(), true))
}
