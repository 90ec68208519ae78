package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/tenement/ten/host/router"
	"github.com/tenement/ten/reconcile"
	"github.com/tenement/ten/runtimes"
)

// connInfo is what the router can't see in the bytes.
func connInfo(c net.Conn) router.ConnInfo {
	if t, ok := c.(*tls.Conn); ok {
		state := t.ConnectionState()
		return router.ConnInfo{TLS: &state}
	}
	return router.ConnInfo{}
}

// listen gives the front door's listener of a name: the one that the service
// manager passed for the port, else a new one, which the manager is asked to keep
// while the daemon is replaced.
func (f *frontDoor) listen(ctx context.Context, name, address string) (net.Listener, error) {
	if l := f.manager.Take(name, addressPort(address)); l != nil {
		return l, nil
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	if err := f.manager.Forget(name); err == nil {
		err = f.manager.Store(name, l)
		if err != nil {
			f.log.Warn("listener not kept by the service manager", "err", err)
		}
	}
	return l, nil
}

// runLoop runs the loop. After ten down nobody who connects may start the daemon again.
func (f *frontDoor) runLoop(ctx context.Context, loop *reconcile.Loop) error {
	err := loop.Run(ctx)
	if err == nil && ctx.Err() == nil {
		err = f.manager.Retire(ctx)
	}
	return err
}

// endWithHost stops the instances, in their own way and while there still is a
// network, when it is the whole host that goes down. A frozen one would not even
// hear that it has to end, and the host would wait for it.
func (f *frontDoor) endWithHost(ctx context.Context, levels map[runtimes.Level]runtimes.Runtime) error {
	if !f.manager.HostEnds(ctx) {
		return nil
	}
	n, err := reconcile.StopAll(ctx, levels)
	if err != nil {
		return fmt.Errorf("stop the instances with the host: %w", err)
	}
	f.log.Info("instances stopped", "reason", fmt.Sprintf("the host goes down: %d of them", n))
	return nil
}

// dialer connects to instances: into their own network where they have one, and to
// their sockets by no link of theirs.
type dialer map[runtimes.Level]runtimes.Runtime

// Dial connects to the address of an incarnation.
func (d dialer) Dial(ctx context.Context, in router.Incarnation) (net.Conn, error) {
	network, address := "tcp", in.Address
	if file, ok := strings.CutPrefix(address, "unix:"); ok {
		network, address = "unix", file
	}
	if in.Network == runtimes.NetworkNone || network == "unix" {
		if level, ok := d[in.Level].(runtimes.Dialer); ok {
			return level.Dial(ctx, in.Key, network, address)
		}
	}
	return new(net.Dialer).DialContext(ctx, network, address)
}

// prefixes reads addresses and networks that schema/load found good.
func prefixes(list []string) []netip.Prefix {
	var all []netip.Prefix
	for _, text := range list {
		if p, err := netip.ParsePrefix(text); err == nil {
			all = append(all, p)
		} else if a, err := netip.ParseAddr(text); err == nil {
			all = append(all, netip.PrefixFrom(a, a.BitLen()))
		}
	}
	return all
}
