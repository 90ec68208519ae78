// Package certs holds the certificates of the front door: those it obtains by
// ACME and renews, and files of the user's own, read again when they change. A
// certificate is obtained on demand only for a host that is known to be served.
package certs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/certmagic"
)

// filePoll is how often certificate files are looked at.
const filePoll = 2 * time.Second

// obtainTimeout bounds a handshake that has to wait for its certificate.
const obtainTimeout = 3 * time.Minute

// Settings are what certificates to hold.
type Settings struct {
	// Domain is the one beneath which services are reached. With DNSProvider all
	// names beneath it have wildcard certificates.
	Domain string
	Email  string // of the ACME account; "" = no certificates are obtained
	// Authority is the directory URL; "" = Let's Encrypt. Root is a PEM file with
	// the root certificate of its own HTTPS, "" = the system's.
	Authority string
	Root      string
	// DNSProvider is who serves the domain's DNS, "" = certificates for single
	// names only.
	DNSProvider string
	Files       map[string]string // certificate file to key file
	Dir         string            // where certificates are kept, made 0700
	// Host and the ports are where the front door listens, for challenges; without
	// an HTTPPort there are none by HTTP.
	Host                string
	HTTPPort, HTTPSPort int
}

// Staging is Let's Encrypt's authority for trying things out.
const Staging = certmagic.LetsEncryptStagingCA

// Config is all a Store needs. Every field is required.
type Config struct {
	// Known says whether a host name leads to something. It is asked in the middle
	// of handshakes, so it is quick.
	Known func(host string) bool
	// Getenv gives the credentials of DNS providers.
	Getenv func(string) string
	Log    *slog.Logger
}

// Store holds certificates. Make it with New, run it with Run.
type Store struct {
	cfg     Config
	changed chan struct{} // of capacity 1: wanted was set

	state  atomic.Pointer[state]
	mu     sync.Mutex
	wanted *Settings
	events map[string]Certificate // what became of obtaining, by name
	fault  error                  // of the settings
}

// state is what handshakes are answered from. It is not changed, only swapped.
type state struct {
	settings Settings
	files    []fileCert
	cache    *certmagic.Cache
	eager    *certmagic.Config // for the domain itself, asked for or not; nil without an account
	single   *certmagic.Config // on demand, for one name at a time; nil without an account
	wild     *certmagic.Config // on demand, for wildcards beneath the domain; nil without DNS
	issuers  []*certmagic.ACMEIssuer
}

// New builds a Store; nothing is read or obtained until Run.
func New(cfg Config) *Store {
	s := &Store{cfg: cfg, changed: make(chan struct{}, 1), events: map[string]Certificate{}}
	s.state.Store(&state{})
	return s
}

// Set says what certificates to hold from now on. It never blocks.
func (s *Store) Set(settings Settings) {
	s.mu.Lock()
	s.wanted = &settings
	s.mu.Unlock()
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// Run obtains, renews and reads until ctx ends.
func (s *Store) Run(ctx context.Context) error {
	tick := time.NewTicker(filePoll)
	defer tick.Stop()
	defer func() { s.state.Swap(&state{}).close() }()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.changed:
			s.arrange(ctx)
		case <-tick.C:
			if s.faulty() {
				s.arrange(ctx)
			}
			s.reread()
		}
	}
}

// arrange makes the state that the settings ask for. Where they can't be had,
// the one before stays and the fault is told.
func (s *Store) arrange(ctx context.Context) {
	s.mu.Lock()
	want, fault := s.wanted, s.fault
	s.mu.Unlock()
	if want == nil || fault == nil && reflect.DeepEqual(*want, s.state.Load().settings) {
		return
	}
	next, err := s.build(*want)
	s.mu.Lock()
	s.fault = err
	s.mu.Unlock()
	if err != nil {
		if fault == nil || fault.Error() != err.Error() {
			s.cfg.Log.Warn("certificates not changed", "err", err)
		}
		return
	}
	s.state.Swap(next).close()
	if next.eager == nil {
		return
	}
	if err := next.eager.ManageAsync(ctx, next.names()); err != nil {
		s.cfg.Log.Warn("certificates not managed", "err", err)
	}
}

// faulty reports that the settings could not be carried out.
func (s *Store) faulty() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fault != nil
}

// build makes a state, with certificate files read.
func (s *Store) build(want Settings) (*state, error) {
	st := &state{settings: want}
	for certFile, keyFile := range want.Files {
		f, err := readPair(certFile, keyFile)
		if err != nil {
			return nil, err
		}
		st.files = append(st.files, f)
	}
	if want.Email == "" {
		return st, nil
	}
	roots, err := readRoots(want.Root)
	if err != nil {
		return nil, err
	}
	var dns *certmagic.DNS01Solver
	if want.DNSProvider != "" {
		if dns, err = solver(want.DNSProvider, s.cfg.Getenv); err != nil {
			return nil, err
		}
	}
	if err := os.MkdirAll(want.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("certificate directory: %w", err)
	}
	if err := os.Chmod(want.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("certificate directory: %w", err)
	}
	st.cache = certmagic.NewCache(certmagic.CacheOptions{
		GetConfigForCert: func(c certmagic.Certificate) (*certmagic.Config, error) {
			if slices.Contains(st.names(), c.Names[0]) {
				return st.eager, nil
			}
			return st.configFor(c.Names[0]), nil
		},
		Logger: silent(),
	})
	st.eager, st.single = s.config(st, roots, dns), s.config(st, roots, nil)
	st.eager.OnDemand = nil
	if dns != nil {
		st.wild = s.config(st, roots, dns)
		st.wild.SubjectTransformer = func(_ context.Context, name string) string { return wildcard(name, want.Domain) }
	}
	return st, nil
}

// config makes one certmagic config of its own; nothing global is touched.
func (s *Store) config(st *state, roots *x509.CertPool, dns *certmagic.DNS01Solver) *certmagic.Config {
	want := st.settings
	cfg := certmagic.New(st.cache, certmagic.Config{
		Storage:           &certmagic.FileStorage{Path: want.Dir},
		DefaultServerName: want.Domain,
		OnDemand:          &certmagic.OnDemandConfig{DecisionFunc: s.decide},
		OnEvent:           s.note,
		Logger:            silent(),
	})
	issuer := certmagic.ACMEIssuer{
		CA: want.Authority, Email: want.Email, Agreed: true, TrustedRoots: roots, Logger: silent(),
		ListenHost: want.Host, AltHTTPPort: want.HTTPPort, AltTLSALPNPort: want.HTTPSPort,
		// Else it would open port 80 by itself: nobody asked for that.
		DisableHTTPChallenge: want.HTTPPort == 0,
	}
	if dns != nil {
		issuer.DNS01Solver = dns
	}
	if want.Authority == "" {
		issuer.CA, issuer.TestCA = certmagic.LetsEncryptProductionCA, certmagic.LetsEncryptStagingCA
	}
	made := certmagic.NewACMEIssuer(cfg, issuer)
	cfg.Issuers = []certmagic.Issuer{made}
	st.issuers = append(st.issuers, made)
	return cfg
}

// errUnknown says that nothing is served under a name.
var errUnknown = errors.New("nothing is served under this name")

// decide allows certificates only for hosts that lead to something, so that
// strangers can't have us ask for any.
func (s *Store) decide(_ context.Context, name string) error {
	settings := s.state.Load().settings
	plain := strings.TrimPrefix(name, "*.")
	if plain == settings.Domain || s.cfg.Known(plain) {
		return nil
	}
	return errUnknown
}

// names are those that are obtained and renewed whether somebody asks for them
// or not.
func (st *state) names() []string {
	if st.wild != nil {
		return []string{st.settings.Domain, "*." + st.settings.Domain}
	}
	return []string{st.settings.Domain}
}

// configFor gives the config that answers for a name: wildcards and what is
// beneath the domain have DNS-01, a service's own domains the other ways.
func (st *state) configFor(name string) *certmagic.Config {
	if st.wild != nil && within(strings.TrimPrefix(name, "*."), st.settings.Domain) {
		return st.wild
	}
	return st.single
}

func (st *state) close() {
	if st.cache != nil {
		st.cache.Stop()
	}
}

// TLS gives the server's side of handshakes. It follows Set.
func (s *Store) TLS() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"h2", "http/1.1", "acme-tls/1"},
		GetCertificate: s.certificate,
	}
}

// certificate answers one handshake.
func (s *Store) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	st := s.state.Load()
	if len(hello.SupportedProtos) != 1 || hello.SupportedProtos[0] != "acme-tls/1" {
		for i := range st.files {
			if hello.ServerName != "" && st.files[i].cert.Leaf.VerifyHostname(hello.ServerName) == nil {
				return st.files[i].cert, nil
			}
		}
	}
	name := strings.ToLower(strings.TrimSuffix(hello.ServerName, "."))
	if st.single != nil {
		// A client that leaves does not cancel what others will want as well.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(hello.Context()), obtainTimeout)
		defer cancel()
		return st.configFor(or(name, st.settings.Domain)).GetCertificateWithContext(ctx, hello)
	}
	if len(st.files) > 0 && name == "" {
		return st.files[0].cert, nil
	}
	return nil, fmt.Errorf("no certificate for %q", hello.ServerName)
}

// Challenges answers the questions that an authority asks by plain HTTP, and
// hands all else on.
func (s *Store) Challenges(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, issuer := range s.state.Load().issuers {
			if issuer.HandleHTTPChallenge(w, r) {
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

// within reports whether a name is the domain or beneath it.
func within(name, domain string) bool {
	return name == domain || strings.HasSuffix(name, "."+domain)
}

// wildcard gives the name of the certificate that covers a name beneath the
// domain: *.DOMAIN, *.SERVICE.DOMAIN. The domain itself stands alone.
func wildcard(name, domain string) string {
	if name == domain || !within(name, domain) || strings.HasPrefix(name, "*.") {
		return name
	}
	_, parent, _ := strings.Cut(name, ".")
	return "*." + parent
}
