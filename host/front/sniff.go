package front

import (
	"io"
	"net"
	"net/netip"
	"time"

	proxyproto "github.com/pires/go-proxyproto"
)

// preface is how HTTP/2 begins; no method of HTTP/1 does.
const preface = "PRI"

// sniff waits for the first bytes of a connection and says whether they are
// HTTP/2's. The connection it gives has lost none of them; where the system can
// look without taking, it is the one that came in.
func sniff(c net.Conn) (net.Conn, bool, error) {
	if err := c.SetReadDeadline(time.Now().Add(firstByteTimeout)); err != nil {
		return nil, false, err
	}
	defer c.SetReadDeadline(time.Time{})
	if first, ok := peek(c); ok && (first[0] != preface[0] || first[1] != 0 && first[1] != preface[1]) {
		return c, false, nil
	}
	var head [len(preface)]byte
	n, err := io.ReadFull(c, head[:1])
	for err == nil && n < len(head) && head[n-1] == preface[n-1] {
		var more int
		more, err = c.Read(head[n : n+1])
		n += more
	}
	if err != nil {
		return nil, false, err
	}
	return &started{Conn: c, head: head[:n]}, string(head[:n]) == preface, nil
}

// started is a connection of which the first bytes were read already.
type started struct {
	net.Conn
	head []byte
}

func (s *started) Read(p []byte) (int, error) {
	if len(s.head) == 0 {
		return s.Conn.Read(p)
	}
	n := copy(p, s.head)
	s.head = s.head[n:]
	return n, nil
}

// CloseWrite ends one direction, where the connection can.
func (s *started) CloseWrite() error {
	if c, ok := s.Conn.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return s.Conn.Close()
}

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
