package certs_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tenement/ten/host/certs"
	"github.com/tenement/ten/host/certs/certstest"
	"github.com/tenement/ten/host/front"
)

// world is an authority, and a front door whose certificates come from it.
type world struct {
	authority   *certstest.Authority
	store       *certs.Store
	dir         string
	http, https net.Listener
	settings    certs.Settings
}

// newWorld starts both. known are the hosts that lead to something.
func newWorld(t *testing.T, resolver string, getenv func(string) string, known ...string) *world {
	t.Helper()
	w := &world{dir: t.TempDir()}
	if resolver == "" {
		r, end, err := certstest.NewResolver()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(end)
		resolver = r
	}
	w.http, w.https = listen(t), listen(t)
	authority, err := certstest.NewAuthority(w.dir, port(w.http), port(w.https), resolver)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(authority.Close)
	w.authority = authority
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	w.store = certs.New(certs.Config{
		Known: func(host string) bool {
			for _, k := range known {
				if host == k {
					return true
				}
			}
			return false
		},
		Getenv: getenv, Log: log,
	})
	door := front.New(front.Config{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Proto+" "+r.Host) }),
		Secure:  w.store.TLS(), Challenges: w.store.Challenges, Log: log, Grace: 100 * time.Millisecond,
		Listen: func(_ context.Context, name, _ string) (net.Listener, error) {
			return map[string]net.Listener{front.NameHTTP: w.http, front.NameHTTPS: w.https}[name], nil
		},
	})
	door.Set(front.Settings{HTTP: "given", HTTPS: "given"})
	w.settings = certs.Settings{
		Domain: "ten.test", Email: "ops@ten.test", Authority: authority.URL, Root: authority.RootFile,
		Dir: filepath.Join(w.dir, "acme"), Host: "127.0.0.1", HTTPPort: port(w.http), HTTPSPort: port(w.https),
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 2)
	go func() { done <- w.store.Run(ctx) }()
	go func() { done <- door.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		for range 2 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	})
	return w
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func port(l net.Listener) int { return l.Addr().(*net.TCPAddr).Port }

// get asks for a host over TLS, and gives the names of the certificate that it
// was answered with.
func (w *world) get(host string, trust *x509.CertPool) ([]string, error) {
	var names []string
	c := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true, ForceAttemptHTTP2: true,
		TLSClientConfig: &tls.Config{RootCAs: trust, VerifyConnection: func(s tls.ConnectionState) error {
			names = s.PeerCertificates[0].DNSNames
			return nil
		}},
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", w.https.Addr().String())
		},
	}}
	resp, err := c.Get("https://" + host + "/")
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && !strings.Contains(string(body), host) {
		err = fmt.Errorf("got %q", body)
	}
	return names, err
}

func (w *world) certificates(t *testing.T) map[string]certs.Certificate {
	t.Helper()
	list, _ := w.store.Status()
	byName := map[string]certs.Certificate{}
	for _, c := range list {
		byName[c.Name] = c
	}
	return byName
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

// TestObtain: the domain's certificate is obtained unasked, a known host's when
// it is asked for, and a stranger's never.
func TestObtain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "", os.Getenv, "web.ten.test", "shop.example")
	w.store.Set(w.settings)
	eventually(t, "the domain has a certificate", func() bool { return !w.certificates(t)["ten.test"].Expires.IsZero() })
	for _, host := range []string{"ten.test", "web.ten.test", "shop.example"} {
		if names, err := w.get(host, w.authority.Issues); err != nil || len(names) != 1 || names[0] != host {
			t.Errorf("%s: certificate for %v, %v", host, names, err)
		}
	}
	for _, host := range []string{"other.ten.test", "a.web.ten.test", "evil.example"} {
		if names, err := w.get(host, w.authority.Issues); err == nil {
			t.Errorf("%s was given a certificate for %v", host, names)
		}
	}
	if got := w.certificates(t); len(got) != 3 || got["web.ten.test"].Source != "acme" || got["web.ten.test"].Issuer == "" {
		t.Errorf("status: %v", got)
	}
	info, err := os.Stat(filepath.Join(w.dir, "acme"))
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the directory of keys: %v, %v", info.Mode(), err)
	}
	// What was obtained is not obtained again by the next daemon.
	again := w.settings
	again.Email = "new@ten.test"
	w.authority.Close()
	w.store.Set(again)
	eventually(t, "the new state serves what was kept", func() bool {
		_, err := w.get("web.ten.test", w.authority.Issues)
		return err == nil
	})
}

// TestWhicheverChallengeWorks: with one of the two ports shut to the authority,
// the other is enough.
func TestWhicheverChallengeWorks(t *testing.T) {
	t.Parallel()
	for _, shut := range []string{"http", "https"} {
		t.Run(shut+" shut", func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, "", os.Getenv)
			r, end, err := certstest.NewResolver()
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(end)
			nobody := listen(t)
			nobody.Close()
			h, s := port(w.http), port(w.https)
			if shut == "http" {
				h = port(nobody)
			} else {
				s = port(nobody)
			}
			a, err := certstest.NewAuthority(t.TempDir(), h, s, r)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(a.Close)
			w.settings.Authority, w.settings.Root = a.URL, a.RootFile
			w.store.Set(w.settings)
			eventually(t, "a certificate", func() bool {
				_, err := w.get("ten.test", a.Issues)
				return err == nil
			})
		})
	}
}

// TestFailureIsTold: what the authority refuses is in the status, in words.
func TestFailureIsTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "127.0.0.1:1", os.Getenv) // resolves nothing
	w.store.Set(w.settings)
	eventually(t, "the error is shown", func() bool { return w.certificates(t)["ten.test"].Error != "" })
	w.settings.DNSProvider = "rfc2136"
	w.store = certs.New(certs.Config{Known: func(string) bool { return false }, Getenv: func(string) string { return "" }, Log: slog.New(slog.DiscardHandler)})
	w.store.Set(w.settings)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { w.store.Run(ctx); close(done) }()
	defer func() { cancel(); <-done }()
	eventually(t, "missing credentials are named", func() bool {
		_, err := w.store.Status()
		return err != nil && strings.Contains(err.Error(), "RFC2136_SERVER, RFC2136_KEY_NAME, RFC2136_KEY not set")
	})
}

// TestFiles: certificates of the user's own go before all others, are taken when
// they change, and one that is broken leaves the one before in force.
func TestFiles(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "", os.Getenv)
	cert, key := filepath.Join(w.dir, "own.pem"), filepath.Join(w.dir, "own.key")
	first := writePair(t, cert, key, "*.own.test")
	w.settings.Email, w.settings.Files = "", map[string]string{cert: key}
	w.store.Set(w.settings)
	eventually(t, "the file is served", func() bool {
		_, err := w.get("a.own.test", first)
		return err == nil
	})
	if _, err := w.get("ten.test", first); err == nil {
		t.Error("a name of no certificate was answered")
	}
	if err := os.WriteFile(cert, []byte("half a"), 0o600); err != nil {
		t.Fatal(err)
	}
	second := writePair(t, filepath.Join(w.dir, "new.pem"), filepath.Join(w.dir, "new.key"), "*.own.test")
	if _, err := w.get("a.own.test", first); err != nil {
		t.Errorf("a broken file took the good certificate away: %v", err)
	}
	for from, to := range map[string]string{"new.pem": cert, "new.key": key} {
		if err := os.Rename(filepath.Join(w.dir, from), to); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the new file is served", func() bool {
		_, err := w.get("a.own.test", second)
		return err == nil
	})
	if list, err := w.store.Status(); err != nil || len(list) != 1 || list[0].Source != cert || list[0].Name != "*.own.test" {
		t.Errorf("status: %v, %v", list, err)
	}
}

// writePair makes a self-signed certificate, and gives the pool that trusts it.
func writePair(t *testing.T, certFile, keyFile, name string) *x509.CertPool {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	for file, text := range map[string][]byte{certFile: certPEM, keyFile: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})} {
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(certPEM)
	return pool
}

// TestVariables: each provider says which variables its credentials come in.
func TestVariables(t *testing.T) {
	t.Parallel()
	seen := map[string]string{}
	for _, provider := range []string{"cloudflare", "route53", "hetzner", "gandi", "acmedns", "rfc2136"} {
		list := certs.Variables(provider)
		if len(list) == 0 {
			t.Errorf("%s has no variables", provider)
		}
		for _, v := range list {
			if other := seen[v.Name]; other != "" || v.About == "" {
				t.Errorf("%s of %s: about %q, also of %q", v.Name, provider, v.About, other)
			}
			seen[v.Name] = provider
		}
	}
	if certs.Variables("other") != nil {
		t.Errorf("a provider that is not known has variables; all are %v", maps.Keys(seen))
	}
}
