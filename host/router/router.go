package router

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tenement/ten/runtimes"
)

// Config is all a Router needs.
type Config struct {
	Options
	Waker   Waker
	Dialer  Dialer
	Root    http.Handler   // the daemon's own pages; nil = there are none
	Trusted []netip.Prefix // proxies whose word on the client counts
	Limits  Limits
	Log     *slog.Logger
}

// ConnInfo is what is known of a connection beside its bytes.
type ConnInfo struct {
	TLS    *tls.ConnectionState // nil where it came in the clear
	Remote netip.AddrPort       // of the client; zero = the connection's own
}

// Router takes requests to instances. Make it with New, tell it with Publish,
// and run it with Run: only then do limits of time hold.
type Router struct {
	cfg     Config
	log     *slog.Logger
	table   atomic.Pointer[Table]
	clock   clock
	publish sync.Mutex // one update at a time
	base    atomic.Pointer[context.Context]
	closing atomic.Bool // Run ends: connections are not kept

	waking sync.Mutex
	wakes  map[runtimes.ID]*wake
	// strangers of them are of instances that the table doesn't have.
	strangers int

	registry sync.Mutex
	live     map[interruptible]struct{} // connections and requests under way

	handed *handoff // connections for net/http
	proxy  http.Handler
	warnAt atomic.Int64
}

// interruptible is something under way that a sweep or a drain may end.
type interruptible interface {
	sweep(now int64)
	// cut ends it where it is at work on b; nil means whatever it does.
	cut(b *backend)
}

// New makes a router that knows no service.
func New(cfg Config) *Router {
	cfg.Limits = cfg.Limits.withDefaults()
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	r := &Router{
		cfg: cfg, log: cfg.Log, clock: clock{began: time.Now()},
		wakes: map[runtimes.ID]*wake{}, live: map[interruptible]struct{}{}, handed: newHandoff(),
	}
	r.clock.tick()
	r.table.Store(NewTable(cfg.Options))
	r.proxy = r.newProxy()
	return r
}

// Table is the one in force.
func (r *Router) Table() *Table { return r.table.Load() }

// Publish puts an update in force. It blocks on nothing.
func (r *Router) Publish(u Update) {
	r.publish.Lock()
	defer r.publish.Unlock()
	old := r.table.Load()
	next := old.With(u)
	mark := func(e *entry) {
		for i, b := range e.backends {
			b.draining.Store(e.Serving[i].Draining)
		}
	}
	for _, e := range u.Endpoints {
		if e := next.entry(e.ID); e != nil {
			mark(e)
		}
	}
	r.table.Store(next)
	var gone []*backend
	leave := func(b *backend) {
		if e := next.entry(b.in.Key.ID); e == nil || e.backend(b.in.Key) != b {
			gone = append(gone, b)
		}
	}
	if u.Whole || u.Model != old.model {
		old.backends(leave)
	} else {
		for _, e := range u.Endpoints {
			if e := old.entry(e.ID); e != nil {
				for _, b := range e.backends {
					leave(b)
				}
			}
		}
	}
	for _, b := range gone {
		b.retire()
	}
}

// Run keeps the limits of time and serves what net/http has to, until ctx ends.
// Then connections are closed as soon as they are idle; requests under way, and
// those that come on connections that are new, go on for a short time, and are cut.
func (r *Router) Run(ctx context.Context) error {
	r.base.Store(&ctx)
	server := r.newServer()
	served := make(chan error, 1)
	go func() { served <- server.Serve(r.handed) }()
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return r.end(server, served)
		case err := <-served:
			return err
		case <-tick.C:
			r.sweep(n%10 == 0)
		}
	}
}

// end closes what is idle, waits a little for the rest and cuts it.
func (r *Router) end(server *http.Server, served chan error) error {
	r.closing.Store(true)
	tick := time.NewTicker(sweepEvery / 10)
	defer tick.Stop()
	for end := time.Now().Add(time.Second); r.under() > 0; <-tick.C {
		if time.Now().After(end) {
			for _, one := range r.all() {
				one.cut(nil)
			}
			break
		}
		r.sweep(false)
	}
	err := server.Close()
	<-served
	r.table.Load().backends(func(b *backend) { b.trim(r.clock.load() + 1) })
	if errors.Is(err, net.ErrClosed) {
		err = nil
	}
	return err
}

// sweep ends what is overdue.
func (r *Router) sweep(backends bool) {
	now := r.clock.tick()
	for _, one := range r.all() {
		one.sweep(now)
	}
	if backends {
		r.table.Load().backends(func(b *backend) { b.trim(now - int64(idleUpstream)) })
	}
}

func (r *Router) all() []interruptible {
	r.registry.Lock()
	defer r.registry.Unlock()
	all := make([]interruptible, 0, len(r.live))
	for one := range r.live {
		all = append(all, one)
	}
	return all
}

func (r *Router) under() int {
	r.registry.Lock()
	defer r.registry.Unlock()
	return len(r.live)
}

func (r *Router) enter(one interruptible) {
	r.registry.Lock()
	r.live[one] = struct{}{}
	r.registry.Unlock()
}

func (r *Router) leave(one interruptible) {
	r.registry.Lock()
	delete(r.live, one)
	r.registry.Unlock()
}

func (r *Router) random() uint64 { return rand.Uint64() }

// warn logs what is wrong with an instance, at most ten times a second.
func (r *Router) warn(message string, id runtimes.ID, err error) {
	now := r.clock.load()
	if last := r.warnAt.Load(); now-last < int64(sweepEvery) && last != 0 || !r.warnAt.CompareAndSwap(last, now) {
		return
	}
	r.log.Warn(message, "instance", id.String(), "err", err)
}

// origin says who is at the other end of a connection.
func (r *Router) origin(info ConnInfo, conn net.Addr) origin {
	remote := info.Remote
	if !remote.IsValid() {
		if ap, ok := conn.(interface{ AddrPort() netip.AddrPort }); ok {
			remote = ap.AddrPort()
		}
	}
	addr := remote.Addr().Unmap()
	o := origin{remote: netip.AddrPortFrom(addr, remote.Port()), addr: addr.String(), tls: info.TLS != nil}
	if !addr.IsValid() { // a unix socket: whoever may open it is ours
		o.addr, o.trusted = "127.0.0.1", true
		o.remote = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 0)
	}
	o.trusted = o.trusted || r.trusts(addr)
	return o
}
