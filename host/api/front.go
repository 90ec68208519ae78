package api

import (
	"context"
	"errors"
	"net/http"
	"net/netip"

	"github.com/tenement/ten/host/tokens"
)

// NewFront makes the API for callers on the network: what a host answers on its
// own domain, beneath /api/ and at /health. What ten itself asks lies beneath
// /api/v1/. Everything but GET /health wants a token: without a good one the
// answer is a bare 401, or 429 to an address that tried too many, whatever was
// asked for. ctx ends with the daemon: what must not be cut by a client that
// leaves ends with it. source tells the address that a request came from, with
// what trusted proxies say; nil takes that of the connection.
func NewFront(ctx context.Context, s *Server, source func(*http.Request) netip.Addr) http.Handler {
	if source == nil {
		source = peerAddr
	}
	mux := s.Handler()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/health" {
			mux.ServeHTTP(w, r)
			return
		}
		from := source(r)
		who, err := s.holder(r, from)
		if err != nil {
			s.unknownToken(r, from, err)
			refuse(w, err)
			return
		}
		who.serving = ctx
		mux.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), callerKey{}, who)))
	})
}

// holder says who shows the token of a request. More than one is none.
func (s *Server) holder(r *http.Request, from netip.Addr) (caller, error) {
	headers := r.Header["Authorization"]
	if len(headers) != 1 {
		return caller{}, tokens.ErrUnknown
	}
	token, ok := tokens.Bearer(headers[0])
	if !ok {
		return caller{}, tokens.ErrUnknown
	}
	id, err := s.Tokens.Verify(r.Context(), from, token)
	if err != nil {
		return caller{}, err
	}
	who := caller{tenant: id.Tenant, token: id.ID, source: from.String(), name: "tenant " + id.Tenant + " (token " + id.ID + ")"}
	if id.Admin() {
		who.look, who.act, who.name = true, true, "admin (token "+id.ID+")"
	}
	return who, nil
}

// while gives the context of a request that goes on and on: it also ends with the
// token that let it in, and with the daemon.
func (s *Server) while(r *http.Request) (context.Context, context.CancelFunc) {
	who := callerOf(r)
	begin := func(ctx context.Context, _ string) (context.Context, context.CancelFunc) {
		return context.WithCancel(ctx)
	}
	if who.token != "" {
		begin = s.Tokens.While
	}
	ctx, cancel := begin(r.Context(), who.token)
	detach := context.AfterFunc(who.serving, cancel)
	return ctx, func() { detach(); cancel() }
}

// refuse says no without a word: a body would cost more than it tells.
func refuse(w http.ResponseWriter, err error) {
	status := http.StatusUnauthorized
	switch {
	case errors.Is(err, tokens.ErrLimited):
		status = http.StatusTooManyRequests
		w.Header().Set("Retry-After", "5")
	case errors.Is(err, tokens.ErrUnknown):
		w.Header().Set("WWW-Authenticate", "Bearer")
	default:
		status = http.StatusServiceUnavailable // the client left, or the daemon ends
	}
	w.WriteHeader(status)
}

// peerAddr is the other end of a request's connection; the zero Addr where that
// has no address.
func peerAddr(r *http.Request) netip.Addr {
	at, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return at.Addr()
}
