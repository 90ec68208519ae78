package front

import (
	"net"
	"net/netip"

	proxyproto "github.com/pires/go-proxyproto"
)

// unwrapProxy reads the PROXY header of a connection that must have one: who
// the client is stands in it. Nobody but a trusted proxy is believed.
func unwrapProxy(c net.Conn, want *Settings) (net.Conn, error) {
	if !want.ProxyProtocol || !trusted(c.RemoteAddr(), want.Trusted) {
		return c, nil
	}
	p := proxyproto.NewConn(c, proxyproto.WithPolicy(proxyproto.REQUIRE), proxyproto.SetReadHeaderTimeout(proxyTimeout))
	if p.ProxyHeader() == nil {
		return nil, proxyproto.ErrNoProxyProtocol
	}
	return p, nil
}

func trusted(a net.Addr, list []netip.Prefix) bool {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return false
	}
	ip := t.AddrPort().Addr().Unmap()
	for _, p := range list {
		if p.Contains(ip) {
			return true
		}
	}
	return false
}
