package source

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"golang.org/x/crypto/ssh"
)

// signers are the keys that may sign commits, read from a file in OpenSSH's
// allowed_signers format which may hold armored OpenPGP public keys as well:
//
//	ann@example.com namespaces="git" ssh-ed25519 AAAA...
//	-----BEGIN PGP PUBLIC KEY BLOCK-----
//
// What can't be honoured, such as cert-authority, is an error and never skipped: a
// line that is ignored would be taken for a rule that holds.
type signers struct {
	sum string
	ssh []sshSigner
	pgp openpgp.EntityList
}

type sshSigner struct {
	principal     string
	key           ssh.PublicKey
	namespaces    []string // patterns; none is all
	after, before time.Time
}

const (
	pgpBegin = "-----BEGIN PGP PUBLIC KEY BLOCK-----"
	pgpEnd   = "-----END PGP PUBLIC KEY BLOCK-----"
)

func (s *signers) digest() string {
	if s == nil {
		return ""
	}
	return s.sum
}

// parseSigners reads the file's text. An error names the line.
func parseSigners(text []byte) (*signers, error) {
	sum := sha256.Sum256(text)
	s := &signers{sum: hex.EncodeToString(sum[:])}
	var armor strings.Builder
	began, number := 0, 0
	for line := range strings.Lines(string(text)) {
		number++
		line = strings.TrimSpace(line)
		switch {
		case line == pgpBegin && began == 0:
			began = number
			fallthrough
		case began > 0:
			armor.WriteString(line + "\n")
			if line != pgpEnd {
				continue
			}
			if err := s.addPGP(armor.String()); err != nil {
				return nil, fmt.Errorf("line %d: %w", began, err)
			}
			armor.Reset()
			began = 0
		case line == "" || line[0] == '#':
		default:
			if err := s.addSSH(line); err != nil {
				return nil, fmt.Errorf("line %d: %w", number, err)
			}
		}
	}
	if began > 0 {
		return nil, fmt.Errorf("line %d: the key block doesn't end", began)
	}
	if len(s.ssh)+len(s.pgp) == 0 {
		return nil, errors.New("there is no key in it")
	}
	return s, nil
}

func (s *signers) addPGP(armor string) error {
	keys, err := openpgp.ReadArmoredKeyRing(strings.NewReader(armor))
	if err != nil {
		return err
	}
	s.pgp = append(s.pgp, keys...)
	return nil
}

func (s *signers) addSSH(line string) error {
	principals, rest, ok := cutField(line)
	if !ok {
		return errors.New("not of the form: principals [options] keytype key")
	}
	key, _, options, _, err := ssh.ParseAuthorizedKey([]byte(rest))
	if err != nil {
		return err
	}
	if _, ok := key.(*ssh.Certificate); ok {
		return errors.New("certificates are not supported; list the key itself")
	}
	principal, _, _ := strings.Cut(principals, ",")
	signer := sshSigner{principal: principal, key: key}
	for _, o := range options {
		if err := signer.option(o); err != nil {
			return err
		}
	}
	s.ssh = append(s.ssh, signer)
	return nil
}

// cutField takes the first field, which may be quoted.
func cutField(line string) (field, rest string, ok bool) {
	if quoted, ok := strings.CutPrefix(line, `"`); ok {
		field, rest, ok = strings.Cut(quoted, `"`)
		return field, strings.TrimSpace(rest), ok && field != ""
	}
	i := strings.IndexAny(line, " \t")
	if i < 0 {
		return "", "", false
	}
	return line[:i], strings.TrimSpace(line[i:]), true
}

func (s *sshSigner) option(o string) (err error) {
	name, value, _ := strings.Cut(o, "=")
	value = strings.Trim(value, `"`)
	switch strings.ToLower(name) {
	case "namespaces":
		s.namespaces = strings.Split(value, ",")
	case "valid-after":
		s.after, err = signerTime(value)
	case "valid-before":
		s.before, err = signerTime(value)
	case "cert-authority":
		return errors.New("cert-authority is not supported; list each key on a line of its own")
	default:
		return fmt.Errorf("unknown option %q", name)
	}
	return err
}

// signerTime reads YYYYMMDD[HHMM[SS]][Z]; without Z it is this host's local time.
func signerTime(s string) (time.Time, error) {
	zone := time.Local
	digits, utc := strings.CutSuffix(s, "Z")
	if utc {
		zone = time.UTC
	}
	form, ok := map[int]string{8: "20060102", 12: "200601021504", 14: "20060102150405"}[len(digits)]
	if !ok {
		return time.Time{}, fmt.Errorf("time %q is not of the form YYYYMMDD[HHMM[SS]][Z]", s)
	}
	return time.ParseInLocation(form, digits, zone)
}

// allows says whether the signer's rules permit a git signature made at a time.
func (s *sshSigner) allows(at time.Time) error {
	if len(s.namespaces) > 0 && !matchesAny(s.namespaces, "git") {
		return fmt.Errorf("the key of %s is not allowed for git", s.principal)
	}
	if !s.after.IsZero() && at.Before(s.after) {
		return fmt.Errorf("the key of %s is valid after %s only", s.principal, s.after.Format(time.RFC3339))
	}
	if !s.before.IsZero() && !at.Before(s.before) {
		return fmt.Errorf("the key of %s is valid before %s only", s.principal, s.before.Format(time.RFC3339))
	}
	return nil
}

func matchesAny(patterns []string, s string) bool {
	hit := false
	for _, p := range patterns {
		if not, ok := strings.CutPrefix(p, "!"); ok {
			if glob(not, s) {
				return false
			}
			continue
		}
		hit = hit || glob(p, s)
	}
	return hit
}

func sameKey(a, b ssh.PublicKey) bool { return bytes.Equal(a.Marshal(), b.Marshal()) }
