package certs_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/miekg/dns"
)

const (
	keyName   = "ten-test."
	keySecret = "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LTEyMzQ="
)

// nameServer starts bind9 with the zone ten.test, which may be changed with a
// key, on a port of the loopback.
func nameServer(t *testing.T) string {
	t.Helper()
	named, err := exec.LookPath("named")
	if err != nil {
		t.Skip("named is not installed (Debian: bind9)")
	}
	dir, err := os.MkdirTemp("", "ten-named-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	l := listen(t)
	p := port(l)
	l.Close()
	files := map[string]string{
		"named.conf": fmt.Sprintf(`options { directory %q; listen-on port %d { 127.0.0.1; }; listen-on-v6 { none; }; pid-file none; session-keyfile none; recursion no; dnssec-validation no; };
controls { };
key %q { algorithm hmac-sha256; secret %q; };
zone "ten.test" { type primary; file "zone"; update-policy { grant %s zonesub TXT; }; };
`, dir, p, keyName, keySecret, keyName),
		"zone": "$TTL 1\n@ IN SOA ns.ten.test. ops.ten.test. 1 60 60 60 1\n@ IN NS ns.ten.test.\n@ IN A 127.0.0.1\n* IN A 127.0.0.1\nns IN A 127.0.0.1\n",
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(named, "-g", "-n", "1", "-c", filepath.Join(dir, "named.conf"))
	cmd.Stderr = t.Output()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	address := net.JoinHostPort("127.0.0.1", fmt.Sprint(p))
	eventually(t, "the name server answers", func() bool {
		ask := new(dns.Msg)
		ask.SetQuestion("ten.test.", dns.TypeSOA)
		answer, _, err := (&dns.Client{Timeout: time.Second}).Exchange(ask, address)
		return err == nil && len(answer.Answer) > 0
	})
	return address
}

// TestWildcards: with a DNS provider the domain and what is beneath a known
// service have wildcard certificates, by a real name server; records of the
// challenges are gone afterwards, and a stranger beneath no service has none.
func TestWildcards(t *testing.T) {
	t.Parallel()
	server := nameServer(t)
	env := map[string]string{"RFC2136_SERVER": server, "RFC2136_KEY_NAME": keyName, "RFC2136_KEY": keySecret}
	w := newWorld(t, server, func(name string) string { return env[name] }, "web.ten.test", "a.web.ten.test")
	w.settings.DNSProvider = "rfc2136"
	w.store.Set(w.settings)
	for _, name := range []string{"ten.test", "*.ten.test"} {
		eventually(t, name+" has a certificate", func() bool {
			c := w.certificates(t)[name]
			if c.Error != "" {
				t.Fatal(c.Error)
			}
			return !c.Expires.IsZero()
		})
	}
	for host, want := range map[string]string{"ten.test": "ten.test", "web.ten.test": "*.ten.test", "other.ten.test": "*.ten.test", "a.web.ten.test": "*.web.ten.test"} {
		if names, err := w.get(host, w.authority.Issues); err != nil || len(names) != 1 || names[0] != want {
			t.Errorf("%s: certificate for %v, %v; want %s", host, names, err, want)
		}
	}
	if names, err := w.get("a.other.ten.test", w.authority.Issues); err == nil {
		t.Errorf("a name beneath no service was given a certificate for %v", names)
	}
	eventually(t, "the records of the challenges are gone", func() bool {
		ask := new(dns.Msg)
		ask.SetQuestion("_acme-challenge.ten.test.", dns.TypeTXT)
		answer, _, err := (&dns.Client{Timeout: time.Second}).Exchange(ask, server)
		return err == nil && len(answer.Answer) == 0
	})
}
