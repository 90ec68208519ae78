package source

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/transport"
	githttp "github.com/go-git/go-git/v5/plumbing/transport/http"
)

// httpRemote speaks git's smart HTTP. Redirects are followed for the first
// request only, and credentials don't follow them to another host.
type httpRemote struct {
	at     *location
	auth   Credentials
	trip   *http.Transport
	client transport.Transport
}

func newHTTPRemote(at *location, auth Credentials) (*httpRemote, error) {
	trip := &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 15 * time.Second}).DialContext,
		TLSHandshakeTimeout:   15 * time.Second,
		ResponseHeaderTimeout: 60 * time.Second,
		IdleConnTimeout:       90 * time.Second,
		MaxIdleConns:          2,
		ForceAttemptHTTP2:     true,
	}
	if auth.CAFile != "" {
		pem, err := os.ReadFile(auth.CAFile)
		if err != nil {
			return nil, err
		}
		pool, err := x509.SystemCertPool()
		if err != nil {
			return nil, err
		}
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no certificates in PEM form", auth.CAFile)
		}
		trip.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	client := githttp.NewClient(&http.Client{Transport: shortErrors{trip}})
	return &httpRemote{at, auth, trip, client}, nil
}

// Close ends connections that are kept for the next poll.
func (h *httpRemote) Close() error {
	h.trip.CloseIdleConnections()
	return nil
}

// shortErrors cuts the body of error answers, which go-git reads whole.
type shortErrors struct{ http.RoundTripper }

func (s shortErrors) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := s.RoundTripper.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	limit := int64(maxRefs)
	switch {
	case resp.StatusCode >= 300:
		limit = 512
	case r.Method == http.MethodPost:
		return resp, nil
	}
	resp.Body = struct {
		io.Reader
		io.Closer
	}{io.LimitReader(resp.Body, limit), resp.Body}
	return resp, nil
}

func (h *httpRemote) connect(ctx context.Context) (session, error) {
	login, err := h.login()
	if err != nil {
		return nil, err
	}
	ep, err := transport.NewEndpoint(h.at.scheme + "://" + h.at.host + h.at.path)
	if err != nil {
		return nil, &FetchError{Class: ClassConfig, Err: err}
	}
	var method transport.AuthMethod
	if login != nil {
		method = login
	}
	up, err := h.client.NewUploadPackSession(ep, method)
	if err != nil {
		return nil, err
	}
	adv, err := up.AdvertisedReferencesContext(ctx)
	if errors.Is(err, transport.ErrEmptyRemoteRepository) {
		adv, err = packp.NewAdvRefs(), nil
	}
	if err != nil {
		return nil, endOf(ctx, h.fault(err, login != nil))
	}
	return &httpSession{h, up, adv, toRefs(adv), login != nil}, nil
}

// login reads the token anew, so that an expired one can be replaced.
func (h *httpRemote) login() (*githttp.BasicAuth, error) {
	a := &githttp.BasicAuth{Username: h.at.user, Password: h.at.secret}
	if h.auth.Username != "" {
		a.Username = h.auth.Username
	}
	if h.auth.TokenFile != "" {
		b, err := os.ReadFile(h.auth.TokenFile)
		if err != nil {
			return nil, authError(fmt.Errorf("token file: %w", err), "put the access token there")
		}
		if a.Password = strings.TrimSpace(string(b)); a.Password == "" {
			return nil, authError(fmt.Errorf("token file %s is empty", h.auth.TokenFile), "put the access token there")
		}
	}
	if a.Password == "" {
		return nil, nil
	}
	if a.Username == "" {
		a.Username = "git"
	}
	if h.at.scheme == "http" && !isLoopback(h.at.host) {
		return nil, authError(errors.New("a token is not sent over http, where anybody on the way can read it"), "use https")
	}
	return a, nil
}

func isLoopback(hostport string) bool {
	host, _, _ := net.SplitHostPort(hostport)
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func (h *httpRemote) fault(err error, withToken bool) error {
	short := errors.New(oneLine(err.Error()))
	switch {
	case errors.Is(err, transport.ErrAuthenticationRequired) && withToken:
		return authError(short, "the token is wrong or expired: put a new one into its file; it is read at the next try")
	case errors.Is(err, transport.ErrAuthenticationRequired):
		return authError(short, "give a token file, or check the URL: a repository that doesn't exist answers the same")
	case errors.Is(err, transport.ErrAuthorizationFailed):
		return authError(short, "give the token the right to read this repository")
	case errors.Is(err, transport.ErrRepositoryNotFound):
		return &FetchError{Class: ClassConfig, Err: short, Hint: "check the URL; a private repository answers the same to a token that may not read it"}
	}
	var cert *tls.CertificateVerificationError
	if errors.As(err, &cert) {
		return authError(err, "if the server's certificate is of a private authority, name it as the CA file; else check this host's clock")
	}
	return serverFault(err)
}

type httpSession struct {
	h         *httpRemote
	up        transport.UploadPackSession
	adv       *packp.AdvRefs
	list      *refs
	withToken bool
}

func (s *httpSession) refs() *refs { return s.list }
func (s *httpSession) close()      { _ = s.up.Close() }

func (s *httpSession) fetch(ctx context.Context, want request, sink func(io.Reader) error) error {
	req := packRequest(s.adv, want)
	resp, err := s.up.UploadPack(ctx, req)
	if err != nil {
		return endOf(ctx, s.h.fault(err, s.withToken))
	}
	defer resp.Close()
	if err := sink(packStream(req, resp)); err != nil {
		return endOf(ctx, err)
	}
	return nil
}
