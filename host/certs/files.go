package certs

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// fileCert is a certificate of the user's own.
type fileCert struct {
	certFile, keyFile string
	stamp             string // of both files, to see that they changed
	cert              *tls.Certificate
}

// readPair reads a certificate and its key.
func readPair(certFile, keyFile string) (fileCert, error) {
	f := fileCert{certFile: certFile, keyFile: keyFile, stamp: stampOf(certFile) + stampOf(keyFile)}
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return f, fmt.Errorf("certificate %s with key %s: %w", certFile, keyFile, err)
	}
	if pair.Leaf == nil {
		if pair.Leaf, err = x509.ParseCertificate(pair.Certificate[0]); err != nil {
			return f, fmt.Errorf("certificate %s: %w", certFile, err)
		}
	}
	f.cert = &pair
	return f, nil
}

// stampOf changes when a file does.
func stampOf(file string) string {
	info, err := os.Stat(file)
	if err != nil {
		return "?"
	}
	return fmt.Sprintf("%d.%d.", info.Size(), info.ModTime().UnixNano())
}

// reread takes certificate files that changed. One that can't be read, half
// written say, leaves the certificate before in force.
func (s *Store) reread() {
	st := s.state.Load()
	var files []fileCert
	for i, f := range st.files {
		if stampOf(f.certFile)+stampOf(f.keyFile) == f.stamp {
			continue
		}
		fresh, err := readPair(f.certFile, f.keyFile)
		if err != nil {
			s.cfg.Log.Warn("certificate file not taken", "err", err)
			fresh.cert = f.cert
		} else {
			s.cfg.Log.Info("certificate file taken", "reason", f.certFile)
		}
		if files == nil {
			files = slices.Clone(st.files)
		}
		files[i] = fresh
	}
	if files != nil {
		next := *st
		next.files = files
		s.state.Store(&next)
	}
}

// readRoots reads the roots to trust an authority by; nil are the system's.
func readRoots(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("root of the certificate authority: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, errors.New("root of the certificate authority: no certificate in " + file)
	}
	return pool, nil
}

// Certificate is one certificate as people are told of it.
type Certificate struct {
	Name    string    `json:"name"`
	Source  string    `json:"source"` // "acme" or the file
	Issuer  string    `json:"issuer,omitempty"`
	Expires time.Time `json:"expires,omitzero"`
	Error   string    `json:"error,omitempty"` // why it was not obtained or renewed
}

// Status says which certificates there are, by name, and what is wrong with the
// settings, if anything.
func (s *Store) Status() ([]Certificate, error) {
	st := s.state.Load()
	var list []Certificate
	for _, f := range st.files {
		leaf := f.cert.Leaf
		name := leaf.Subject.CommonName
		if len(leaf.DNSNames) > 0 {
			name = strings.Join(leaf.DNSNames, " ")
		}
		list = append(list, Certificate{Name: name, Source: f.certFile, Issuer: leaf.Issuer.CommonName, Expires: leaf.NotAfter})
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, c := range s.events {
		if st.cache != nil {
			for _, held := range st.cache.AllMatchingCertificates(name) {
				if held.Leaf != nil {
					c.Issuer, c.Expires = held.Leaf.Issuer.CommonName, held.Leaf.NotAfter
				}
			}
		}
		list = append(list, c)
	}
	slices.SortFunc(list, func(a, b Certificate) int { return strings.Compare(a.Name+a.Source, b.Name+b.Source) })
	return list, s.fault
}
