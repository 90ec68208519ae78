// Package certstest runs a real ACME certificate authority (pebble) and a name
// server on the loopback, for tests of whatever obtains certificates.
package certstest

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"

	"github.com/letsencrypt/pebble/v2/ca"
	"github.com/letsencrypt/pebble/v2/db"
	"github.com/letsencrypt/pebble/v2/va"
	"github.com/letsencrypt/pebble/v2/wfe"
	"github.com/miekg/dns"
)

// Authority is a certificate authority that validates what it signs.
type Authority struct {
	URL      string         // of its directory
	RootFile string         // PEM, the root of its own HTTPS
	Issues   *x509.CertPool // what its certificates chain up to
	// IssuesFile is the same as PEM, for clients that want a file.
	IssuesFile string
	server     *httptest.Server
}

// NewAuthority starts an authority that asks for challenges on two ports of the
// addresses that resolver gives. Its files go to dir. The caller closes it.
func NewAuthority(dir string, httpPort, httpsPort int, resolver string) (*Authority, error) {
	quiet := log.New(io.Discard, "", 0)
	// The authority's own knobs: no waiting for its own sake, no refused nonces.
	for key, value := range map[string]string{"PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "0", "PEBBLE_AUTHZREUSE": "0"} {
		if err := os.Setenv(key, value); err != nil {
			return nil, err
		}
	}
	store := db.NewMemoryStore()
	signer := ca.New(quiet, store, "", "ecdsa", 0, 1, map[string]ca.Profile{"default": {Description: "for tests"}})
	asker := va.New(quiet, httpPort, httpsPort, false, resolver, store)
	front := wfe.New(quiet, store, asker, signer, []string{"ca.example"}, false, false, 0, 0)
	server := httptest.NewTLSServer(front.Handler())
	server.Config.ErrorLog = quiet
	a := &Authority{URL: server.URL + wfe.DirectoryPath, RootFile: filepath.Join(dir, "authority.pem"), Issues: x509.NewCertPool(), server: server}
	root := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(a.RootFile, root, 0o644); err != nil {
		server.Close()
		return nil, err
	}
	issues := signer.GetRootCert(0).PEM()
	a.Issues.AppendCertsFromPEM(issues)
	a.IssuesFile = filepath.Join(dir, "issues.pem")
	if err := os.WriteFile(a.IssuesFile, issues, 0o644); err != nil {
		server.Close()
		return nil, err
	}
	return a, nil
}

// Close ends it.
func (a *Authority) Close() { a.server.Close() }

// NewResolver starts a name server that says 127.0.0.1 to every name, and gives
// its address and what ends it.
func NewResolver() (string, func(), error) {
	stream, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, fmt.Errorf("listen for names: %w", err)
	}
	packets, err := net.ListenPacket("udp", stream.Addr().String())
	if err != nil {
		stream.Close()
		return "", nil, fmt.Errorf("listen for names: %w", err)
	}
	servers := []*dns.Server{{PacketConn: packets, Handler: dns.HandlerFunc(loopback)}, {Listener: stream, Handler: dns.HandlerFunc(loopback)}}
	for _, s := range servers {
		go s.ActivateAndServe()
	}
	return stream.Addr().String(), func() {
		for _, s := range servers {
			s.Shutdown()
		}
	}, nil
}

// loopback answers every question for an address with the loopback's.
func loopback(w dns.ResponseWriter, ask *dns.Msg) {
	answer := new(dns.Msg)
	answer.SetReply(ask)
	for _, q := range ask.Question {
		if q.Qtype == dns.TypeA {
			answer.Answer = append(answer.Answer, &dns.A{
				Hdr: dns.RR_Header{Name: q.Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 1}, A: net.IPv4(127, 0, 0, 1),
			})
		}
	}
	w.WriteMsg(answer)
}
