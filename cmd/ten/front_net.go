package main

import (
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"strings"

	"github.com/tenement/ten/host/router"
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

// listenTCP opens a listener of the front door.
func listenTCP(ctx context.Context, _, address string) (net.Listener, error) {
	return new(net.ListenConfig).Listen(ctx, "tcp", address)
}

// dialer connects to instances: into their own network where they have one.
type dialer map[runtimes.Level]runtimes.Runtime

// Dial connects to the address of an incarnation.
func (d dialer) Dial(ctx context.Context, in router.Incarnation) (net.Conn, error) {
	network, address := "tcp", in.Address
	if file, ok := strings.CutPrefix(address, "unix:"); ok {
		network, address = "unix", file
	}
	if in.Network == runtimes.NetworkNone && network == "tcp" {
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
