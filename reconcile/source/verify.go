package source

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"
)

// SignMode says which commits must be signed.
type SignMode string

// The sign modes. As with git, a key's times are compared with the time that the
// commit itself names, so a key that must not sign any more is to be removed.
const (
	// SignHead lets the head vouch for everything below it.
	SignHead SignMode = "head"
	// SignRange asks it of every commit since the anchor; where there is no anchor
	// yet, or a person accepted a rewind, of the head.
	SignRange SignMode = "range"
)

// signers reads the file of allowed signers; nil when signatures aren't asked for.
// A file that can't be read allows nobody.
func (g *Git) signers() (*signers, error) {
	if g.cfg.AllowedSigners == "" {
		return nil, nil
	}
	text, err := os.ReadFile(g.cfg.AllowedSigners)
	if err == nil {
		var s *signers
		if s, err = parseSigners(text); err == nil {
			return s, nil
		}
		err = fmt.Errorf("%s: %w", g.cfg.AllowedSigners, err)
	}
	return nil, &FetchError{Class: ClassConfig, Err: fmt.Errorf("allowed signers: %w", err),
		Hint: "repair the file; nothing is deployed while it can't be read"}
}

// signed verifies a head and, in range mode, the commits that it adds to base. It
// names the head's signer.
func (g *Git) signed(ctx context.Context, h history, head plumbing.Hash, commits []*object.Commit, base plumbing.Hash, s *signers) (string, error) {
	if s == nil {
		return "", nil
	}
	c, err := h.commit(head)
	if err != nil {
		return "", err
	}
	by, err := s.verify(c)
	if err != nil {
		return "", g.unsigned(head, c, err)
	}
	if g.cfg.SignMode != SignRange {
		return by, nil
	}
	for _, c := range commits {
		if err := ctx.Err(); err != nil {
			return "", err
		}
		_, err := s.verify(c)
		if err == nil {
			continue
		}
		// Where clocks ran backwards the list may reach behind the base.
		if behind, herr := h.contains(base, c.Hash); herr != nil || !behind {
			return "", errors.Join(herr, g.unsigned(head, c, err))
		}
	}
	return by, nil
}

// unsigned refuses a head for one of its commits, or itself.
func (g *Git) unsigned(head plumbing.Hash, c *object.Commit, err error) error {
	if c.Hash != head {
		err = fmt.Errorf("of commit %s below it: %w", short(c.Hash.String()), err)
	}
	subject, _, _ := strings.Cut(strings.TrimSpace(c.Message), "\n")
	return &RefusedError{Kind: KindSignature, Revision: head.String(),
		Reason: fmt.Sprintf("%v (%q by %s)", err, oneLine(subject), oneLine(c.Author.Name)),
		Hint:   "sign it: git commit --amend -S, or rebase with --gpg-sign; or add the signer's key to " + g.cfg.AllowedSigners}
}

var errUnsigned = errors.New("it is not signed")

// verify checks a commit's signature over its stored bytes and names the signer.
func (s *signers) verify(c *object.Commit) (string, error) {
	sig := c.PGPSignature
	switch n := strings.Count(sig, "-----BEGIN "); {
	case n == 0:
		return "", errUnsigned
	case n > 1:
		return "", errors.New("it has several signatures")
	}
	bare := &plumbing.MemoryObject{}
	if err := c.EncodeWithoutSignature(bare); err != nil {
		return "", err
	}
	payload, err := objectBytes(bare)
	if err != nil {
		return "", err
	}
	switch {
	case strings.HasPrefix(sig, "-----BEGIN SSH SIGNATURE-----"):
		return s.verifySSH(payload, sig, c.Committer.When)
	case strings.HasPrefix(sig, "-----BEGIN PGP SIGNATURE-----"):
		return s.verifyPGP(payload, sig, c.Committer.When)
	}
	return "", errors.New("its signature is neither OpenSSH's nor OpenPGP's")
}

func (s *signers) verifySSH(payload []byte, armored string, at time.Time) (string, error) {
	sig, err := sshsig.Unarmor([]byte(armored))
	if err != nil {
		return "", fmt.Errorf("its signature is malformed: %w", err)
	}
	var why error
	for i := range s.ssh {
		k := &s.ssh[i]
		if !sameKey(k.key, sig.PublicKey) {
			continue
		}
		if err := k.allows(at); err != nil {
			why = err
			continue
		}
		if err := sshsig.Verify(bytes.NewReader(payload), sig, k.key, sig.HashAlgorithm, "git"); err != nil {
			return "", fmt.Errorf("its signature does not hold: %w", err)
		}
		return k.principal, nil
	}
	if why != nil {
		return "", why
	}
	return "", fmt.Errorf("it is signed by %s, which is not an allowed signer", ssh.FingerprintSHA256(sig.PublicKey))
}

func (s *signers) verifyPGP(payload []byte, armored string, at time.Time) (string, error) {
	cfg := &packet.Config{Time: func() time.Time { return at.Add(time.Minute) }}
	by, err := checkPGP(s.pgp, payload, armored, cfg)
	switch {
	case err == nil:
	case strings.Contains(err.Error(), "unknown entity"):
		return "", errors.New("it is signed by an OpenPGP key which is not an allowed signer")
	default:
		return "", fmt.Errorf("its signature does not hold: %w", err)
	}
	if id := by.PrimaryIdentity(); id != nil {
		return id.Name, nil
	}
	return fmt.Sprintf("%X", by.PrimaryKey.Fingerprint), nil
}

// checkPGP turns a panic over a hostile signature into a refusal.
func checkPGP(keys openpgp.EntityList, payload []byte, armored string, cfg *packet.Config) (by *openpgp.Entity, err error) {
	defer func() {
		if r := recover(); r != nil {
			by, err = nil, fmt.Errorf("malformed: %v", r)
		}
	}()
	return openpgp.CheckArmoredDetachedSignature(keys, bytes.NewReader(payload), io.LimitReader(strings.NewReader(armored), 1<<16), cfg)
}
