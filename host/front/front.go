// Package front is the way in: it listens for connections, finds out what they
// speak (HTTP/1, HTTP/2 with or without TLS, the PROXY protocol of a balancer
// in front), and hands each on. Listeners come and go with the settings while
// the Door runs; a connection that was taken is served to its end. It knows
// nothing of services.
package front

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"syscall"
	"time"
)

// What a client may take of the daemon before it has asked for anything.
const (
	handshakeTimeout = time.Minute // a certificate may have to be obtained first
	proxyTimeout     = 5 * time.Second
	headerTimeout    = 15 * time.Second
	idleTimeout      = 2 * time.Minute
	retryAfter       = 3 * time.Second // until a listener that could not be opened is tried again
)

// DefaultGrace is how long requests under way have to end when the Door closes.
const DefaultGrace = 10 * time.Second

// The names of the listeners, which are also those of sockets that a service
// manager passes.
const (
	NameHTTP  = "http"
	NameHTTPS = "https"
)

// Settings are where the Door listens, and whom it believes.
type Settings struct {
	HTTP  string // "127.0.0.1:8080" or ":8080"; "" = no plain HTTP
	HTTPS string // "" = no TLS. With it, plain HTTP leads there
	// Trusted are the addresses of proxies in front. With ProxyProtocol each of
	// their connections begins with a PROXY header, and must.
	Trusted       []netip.Prefix
	ProxyProtocol bool
	// Optional says that nobody asked for HTTP by its port: where it is taken, the
	// Door goes without, and doesn't take it later from whom it belongs to.
	Optional bool
}

// Config is all a Door needs. Secure and Challenges are used with Settings.HTTPS only.
type Config struct {
	// Handler answers what ServeConn does not: HTTP/2 over TLS.
	Handler http.Handler
	// ServeConn serves a connection in the clear, whatever it speaks, or HTTP/1
	// over TLS, until it ends, and closes it. When ctx ends it finishes the request
	// under way and takes no other. nil: Handler answers these too.
	ServeConn func(ctx context.Context, c net.Conn)
	// Secure gives the certificates of the moment.
	Secure *tls.Config
	// Challenges answers what a certificate authority asks by plain HTTP, and
	// hands everything else on.
	Challenges func(next http.Handler) http.Handler
	// Listen opens the listener of a name. It may give one that was open before.
	Listen func(ctx context.Context, name, address string) (net.Listener, error)
	// MaxHeader bounds the header of a request that Handler answers, in bytes.
	MaxHeader int
	Grace     time.Duration
	Log       *slog.Logger
}

// Door is the front door. Make it with New, run it with Run.
type Door struct {
	cfg     Config
	changed chan struct{} // of capacity 1: wanted was set

	mu     sync.Mutex
	wanted *Settings // nil until the first Set
	open   map[string]*gate
	failed map[string]error // by name, why a listener is not open
}

// New builds a Door; nothing is opened until Open or Run.
func New(cfg Config) *Door {
	if cfg.Grace == 0 {
		cfg.Grace = DefaultGrace
	}
	if cfg.Challenges == nil {
		cfg.Challenges = func(next http.Handler) http.Handler { return next }
	}
	return &Door{cfg: cfg, changed: make(chan struct{}, 1), open: map[string]*gate{}, failed: map[string]error{}}
}

// Set says where to listen from now on. It never blocks; Run does the rest, and
// tries again what can't be opened yet.
func (d *Door) Set(s Settings) {
	d.mu.Lock()
	d.wanted = &s
	d.mu.Unlock()
	select {
	case d.changed <- struct{}{}:
	default:
	}
}

// Open is Set for who must know now whether it works. What was opened is served
// once Run runs, and queues until then.
func (d *Door) Open(ctx context.Context, s Settings) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.wanted = &s
	return d.arrange(ctx, nil)
}

// Run serves until ctx ends; then it takes no further connection, lets requests
// end for the grace period, cuts what is left and returns nil.
func (d *Door) Run(ctx context.Context) error {
	s := newServing(ctx, d.cfg)
	retry := time.NewTimer(0)
	defer retry.Stop()
	for ctx.Err() == nil {
		d.mu.Lock()
		if err := d.arrange(ctx, s); err != nil {
			retry.Reset(retryAfter)
		}
		d.mu.Unlock()
		select {
		case <-ctx.Done():
		case <-d.changed:
		case <-retry.C:
		}
	}
	d.mu.Lock()
	for name, g := range d.open {
		g.close()
		delete(d.open, name)
	}
	d.mu.Unlock()
	s.end()
	return nil
}

// arrange opens and closes listeners until they are those that are wanted, and
// has s serve them. Called with mu held.
func (d *Door) arrange(ctx context.Context, s *serving) error {
	if d.wanted == nil {
		return nil
	}
	want := *d.wanted
	var errs []error
	for name, address := range map[string]string{NameHTTP: want.HTTP, NameHTTPS: want.HTTPS} {
		g := d.open[name]
		if g != nil && g.address != address {
			g.close()
			delete(d.open, name)
			g = nil
		}
		switch {
		case address == "":
			delete(d.failed, name)
			continue
		case g == nil:
			l, err := d.listen(ctx, name, address, s != nil)
			if err != nil && !want.Optional {
				errs = append(errs, err)
			}
			if err != nil {
				continue
			}
			g = &gate{name: name, address: address, listener: l}
			d.open[name] = g
		}
		g.want.Store(&want)
		if s == nil {
			continue
		}
		if _, port, err := net.SplitHostPort(g.listener.Addr().String()); err == nil && name == NameHTTPS {
			s.https.Store(&port)
		}
		s.serve(g)
	}
	return errors.Join(errs...)
}

// listen opens one listener. With say it tells once why it can't; else its caller does.
func (d *Door) listen(ctx context.Context, name, address string, say bool) (net.Listener, error) {
	l, err := d.cfg.Listen(ctx, name, address)
	if err != nil {
		err = &ListenError{Name: name, Address: address, Err: err}
		if say && (d.failed[name] == nil || d.failed[name].Error() != err.Error()) {
			hint := ""
			if le := new(ListenError); errors.As(err, &le) {
				hint = le.Hint()
			}
			d.cfg.Log.Warn("front door not opened", "action", hint, "err", err)
		}
		d.failed[name] = err
		return nil, err
	}
	delete(d.failed, name)
	d.cfg.Log.Info("front door opened", "reason", name+" on "+l.Addr().String())
	return l, nil
}

// Listener is one listener as people are told of it.
type Listener struct {
	Name    string `json:"name"`
	Address string `json:"address"`
	Error   string `json:"error,omitempty"` // why it is not open
}

// Listeners says where the Door listens, and where it can't.
func (d *Door) Listeners() []Listener {
	d.mu.Lock()
	defer d.mu.Unlock()
	var list []Listener
	for _, name := range []string{NameHTTP, NameHTTPS} {
		if g := d.open[name]; g != nil {
			list = append(list, Listener{Name: name, Address: g.listener.Addr().String()})
		} else if err := d.failed[name]; err != nil {
			var le *ListenError
			errors.As(err, &le)
			list = append(list, Listener{Name: name, Address: le.Address, Error: err.Error()})
		}
	}
	return list
}

// ListenError says which listener could not be opened, and why.
type ListenError struct {
	Name    string // "http"
	Address string
	Err     error
}

func (e *ListenError) Error() string {
	return fmt.Sprintf("listen for %s on %s: %v", e.Name, e.Address, reason(e.Err))
}

func (e *ListenError) Unwrap() error { return e.Err }

// Hint says how to go on.
func (e *ListenError) Hint() string {
	_, port, _ := net.SplitHostPort(e.Address)
	switch {
	case errors.Is(e.Err, syscall.EADDRINUSE):
		return "choose another port: --port N, or see who has this one: ss -ltnp 'sport = :" + port + "'"
	case errors.Is(e.Err, syscall.EACCES):
		return "ports below 1024 need root or CAP_NET_BIND_SERVICE; choose another: --port 8080"
	case errors.Is(e.Err, syscall.EADDRNOTAVAIL):
		return "the address must be one of this host's: --bind ADDR"
	}
	return ""
}

// reason is an error of the network without what its message repeats.
func reason(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}
