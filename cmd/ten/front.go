package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/tenement/ten/host/activation"
	"github.com/tenement/ten/host/certs"
	"github.com/tenement/ten/host/front"
	"github.com/tenement/ten/host/router"
	"github.com/tenement/ten/reconcile"
	"github.com/tenement/ten/runtimes"
	"github.com/tenement/ten/schema"
)

// defaultPort is where requests are taken when nobody says otherwise. Being
// nobody's wish, it gives way: to a service that has it, and to another daemon.
const defaultPort = 8080

// frontOptions are the flags of ten serve that go before the settings.
type frontOptions struct {
	port                int
	portGiven           bool
	domain, bind, email string
	tls, staging        bool
	provider            string
}

func (o *frontOptions) addFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.IntVarP(&o.port, "port", "p", defaultPort, "port to take requests on; 0 = none (default: settings.port, else 8080 if it is free)")
	f.StringVarP(&o.domain, "domain", "d", "", "domain beneath which services are reached (default: settings.domain, else localhost)")
	f.StringVar(&o.bind, "bind", "", "address to take requests on (default: every one)")
	f.BoolVar(&o.tls, "tls", false, "take requests by HTTPS, with certificates obtained by ACME")
	f.StringVar(&o.email, "email", "", "address that the certificate authority writes to; needs --tls")
	f.BoolVar(&o.staging, "staging", false, "use the authority's staging address, whose certificates nobody trusts; needs --tls")
	f.StringVar(&o.provider, "dns-provider", "", "who serves the domain's DNS, for wildcard certificates; needs --tls")
	f.Lookup("port").DefValue = "0" // the help says it in words
}

// check refuses flags that have no meaning together.
func (o *frontOptions) check(cmd *cobra.Command) error {
	o.portGiven = cmd.Flags().Changed("port")
	o.domain = strings.ToLower(strings.TrimSuffix(o.domain, "."))
	switch {
	case !o.tls && (o.email != "" || o.staging || o.provider != ""):
		return &usageError{errors.New("--email, --staging and --dns-provider are for --tls, which is not given")}
	case o.provider != "" && !slices.Contains(schema.DNSProviders(), o.provider):
		return &usageError{fmt.Errorf("--dns-provider %q: want one of %s", o.provider, strings.Join(schema.DNSProviders(), ", "))}
	case o.port < 0 || o.port > 65535:
		return &usageError{fmt.Errorf("--port %d: want a port from 1 to 65535, or 0 for none", o.port)}
	case o.tls && o.domain == schema.DefaultDomain:
		return &usageError{errors.New("nobody gives certificates for localhost: name your domain with --domain")}
	}
	if o.bind != "" {
		if _, err := netip.ParseAddr(o.bind); err != nil {
			return &usageError{fmt.Errorf("--bind %q: want an IP address, for example 127.0.0.1", o.bind)}
		}
	}
	return nil
}

// entrance is what the front door is to be, out of flags and settings.
type entrance struct {
	domain  string
	door    front.Settings
	tls     schema.TLS
	certs   certs.Settings
	explain string // why it is not as somebody might expect; "" = nothing to say
}

// decide joins flags and settings; a flag wins.
func (o *frontOptions) decide(m *schema.Model, dataDir string) entrance {
	s := m.Settings
	in := entrance{domain: cmp.Or(o.domain, s.Domain), tls: s.TLS}
	if o.tls && !in.tls.Enabled {
		if in.tls.HTTPSPort == 0 {
			in.tls = schema.NewTLS(nil)
		}
		in.tls.Enabled = true
	}
	in.tls.ACMEEmail = cmp.Or(o.email, in.tls.ACMEEmail)
	in.tls.Staging = in.tls.Staging || o.staging
	in.tls.DNSProvider = cmp.Or(o.provider, in.tls.DNSProvider)
	in.tls.Domain = cmp.Or(o.domain, in.tls.Domain, in.domain)
	bind, port := cmp.Or(o.bind, s.Bind), s.Port
	switch {
	case o.portGiven:
		port = o.port
	case port == 0 && in.tls.Enabled:
		port = in.tls.HTTPPort
	case port == 0:
		port, in.door.Optional = defaultPort, true
		for _, svc := range m.Services {
			if svc.Port == defaultPort {
				port, in.door.Optional, in.explain = 0, false, fmt.Sprintf("port %d is that of service %s", defaultPort, svc.Name)
			}
		}
	}
	if port != 0 {
		in.door.HTTP = net.JoinHostPort(bind, strconv.Itoa(port))
	}
	in.door.ProxyProtocol, in.door.Trusted = s.ProxyProtocol, prefixes(s.TrustedProxies)
	if in.tls.Enabled {
		in.secure(bind, port, dataDir)
	}
	return in
}

// secure adds what TLS needs.
func (in *entrance) secure(bind string, httpPort int, dataDir string) {
	t := in.tls
	in.door.HTTPS = net.JoinHostPort(bind, strconv.Itoa(t.HTTPSPort))
	in.certs = certs.Settings{
		Domain: t.Domain, Email: t.ACMEEmail, Authority: t.ACMECA, Root: t.ACMECARoot, DNSProvider: t.DNSProvider,
		Files: t.Certificates, Dir: cmp.Or(t.CacheDir, filepath.Join(dataDir, "acme")),
		Host: bind, HTTPPort: httpPort, HTTPSPort: t.HTTPSPort,
	}
	if !filepath.IsAbs(in.certs.Dir) {
		in.certs.Dir = filepath.Join(dataDir, in.certs.Dir)
	}
	if t.Staging {
		in.certs.Authority = certs.Staging
	}
	if in.domain == schema.DefaultDomain || t.Domain == schema.DefaultDomain {
		in.certs.Email, in.explain = "", "no certificate can be had for localhost: name your domain with --domain or settings.domain"
	} else if t.ACMEEmail == "" && len(t.Certificates) == 0 {
		in.explain = "no certificate can be had without --email or settings.tls.acme_email"
	}
}

// frontDoor is all that takes requests.
type frontDoor struct {
	opts    frontOptions
	dataDir string
	log     *slog.Logger
	door    *front.Door
	router  *router.Router
	certs   *certs.Store
	manager *activation.Manager
	loop    atomic.Pointer[reconcile.Loop] // set before anything runs
	root    atomic.Pointer[http.Handler]   // likewise

	model atomic.Pointer[schema.Model]
	now   atomic.Pointer[entrance]
}

// newFrontDoor builds the front door; nothing is opened before open or run.
func newFrontDoor(e *env, o frontOptions, dataDir string, levels map[runtimes.Level]runtimes.Runtime, log *slog.Logger) *frontDoor {
	f := &frontDoor{opts: o, dataDir: dataDir, log: log, manager: cmp.Or(e.manager, new(activation.Manager))}
	f.router = router.New(router.Config{
		Options: router.Options{Domain: o.domain, RootPaths: []string{"/api", "/health"}},
		Waker:   f, Dialer: dialer(levels), Root: http.HandlerFunc(f.serveRoot), Log: log,
	})
	f.certs = certs.New(certs.Config{Known: f.known, Getenv: e.getenv, Log: log})
	f.door = front.New(front.Config{
		Handler: f.router, MaxHeader: 1 << 20, ServeConn: f.serveConn, Secure: f.certs.TLS(), Challenges: f.certs.Challenges,
		Listen: f.listen, Log: log,
	})
	return f
}

// open opens now what the command line asks for by number, so that a port that
// is taken ends ten serve with the reason.
func (f *frontDoor) open(ctx context.Context) error {
	if !f.opts.portGiven || f.opts.port == 0 {
		return nil
	}
	in := f.opts.decide(&schema.Model{Settings: schema.NewSettings(nil)}, f.dataDir)
	return f.door.Open(ctx, front.Settings{HTTP: in.door.HTTP})
}

// run takes requests until ctx ends; root answers what is for the daemon itself.
func (f *frontDoor) run(ctx context.Context, group *errgroup.Group, root http.Handler) {
	f.root.Store(&root)
	group.Go(func() error { return f.router.Run(ctx) })
	group.Go(func() error { return f.certs.Run(ctx) })
	group.Go(func() error {
		// Who connects before it is known what runs here waits: nothing is "not found" yet.
		if err := f.loop.Load().Ready(ctx); err != nil {
			return nil // the loop itself says why it ended
		}
		return f.door.Run(ctx)
	})
	group.Go(func() error { return f.manager.Watch(ctx, f.alive) })
	if err := f.manager.Ready("serving " + f.dataDir); err != nil {
		f.log.Warn("service manager not told", "err", err)
	}
	context.AfterFunc(ctx, func() {
		if err := f.manager.Stopping(); err != nil {
			f.log.Warn("service manager not told", "err", err)
		}
	})
	// A host that has nothing in force yet still answers that it is there.
	time.AfterFunc(firstModel, func() {
		if f.model.Load() == nil && ctx.Err() == nil {
			f.arrange(&schema.Model{Settings: schema.NewSettings(nil)})
		}
	})
}

// alive reports that the loop still answers.
func (f *frontDoor) alive(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, aliveTimeout)
	defer cancel()
	_, err := f.loop.Load().Status(ctx)
	return err == nil
}

// aliveTimeout is how long the loop may take to say how it stands.
const aliveTimeout = 10 * time.Second

// firstModel is how long the first model may take before the front door opens
// by the flags alone.
const firstModel = 3 * time.Second

// Publish takes what the loop tells: whom requests may reach, and the settings.
func (f *frontDoor) Publish(u router.Update) {
	f.router.Publish(u)
	if f.model.Swap(u.Model) != u.Model {
		f.arrange(u.Model)
	}
}

// arrange has listeners and certificates follow the settings.
func (f *frontDoor) arrange(m *schema.Model) {
	in := f.opts.decide(m, f.dataDir)
	before := f.now.Swap(&in)
	if in.explain != "" && (before == nil || before.explain != in.explain) {
		f.log.Warn("front door not as usual", "reason", in.explain)
	}
	f.certs.Set(in.certs)
	f.door.Set(in.door)
}

// Wake has the loop start an instance that a request asks for.
func (f *frontDoor) Wake(ctx context.Context, id runtimes.ID) error {
	return f.loop.Load().Wake(ctx, id)
}

// known reports whether a host name leads to something that has a certificate:
// the domain, a declared service or instance, a domain of theirs.
func (f *frontDoor) known(host string) bool {
	m, in := f.model.Load(), f.now.Load()
	if m == nil || in == nil {
		return false
	}
	if name, ok := strings.CutSuffix(host, "."+in.domain); ok {
		service, id := name, ""
		if first, rest, deeper := strings.Cut(name, "."); deeper {
			service, id = rest, first
		}
		s := m.Service(service)
		return s != nil && (id == "" || slices.Contains(s.Instances, id))
	}
	return ownDomain(m, host)
}

// ownDomain reports whether a host name is one of a service's own.
func ownDomain(m *schema.Model, host string) bool {
	_, parent, _ := strings.Cut(host, ".")
	if m.Routing.Subdomain[host] != "" || m.Routing.Subdomain["*."+parent] != "" {
		return true
	}
	for _, s := range m.Services {
		if slices.Contains(s.Domains, host) || s.InstanceDomains[host] != "" {
			return true
		}
	}
	return false
}

// serveRoot answers what is asked of the daemon itself.
func (f *frontDoor) serveRoot(w http.ResponseWriter, r *http.Request) {
	(*f.root.Load()).ServeHTTP(w, r)
}

// source is the address of a client. A trusted proxy is believed: else all who
// come through it would share its limits.
func (f *frontDoor) source(r *http.Request) netip.Addr {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	addr := peer.Addr().Unmap()
	in := f.now.Load()
	if in == nil {
		return addr
	}
	trusted := func(a netip.Addr) bool {
		return slices.ContainsFunc(in.door.Trusted, func(p netip.Prefix) bool { return p.Contains(a) })
	}
	hops := strings.Split(strings.Join(r.Header["X-Forwarded-For"], ","), ",")
	for i := len(hops) - 1; i >= 0 && trusted(addr); i-- {
		next, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			break
		}
		addr = next.Unmap()
	}
	return addr
}

// serveConn hands a connection to the router.
func (f *frontDoor) serveConn(ctx context.Context, c net.Conn) {
	f.router.ServeConn(ctx, c, connInfo(c))
}
