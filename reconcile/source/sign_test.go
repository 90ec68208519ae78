package source

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"
)

// signFunc signs the bytes of a commit.
type signFunc func(payload []byte) string

func sshSign(t testing.TB, key ssh.Signer, namespace string) signFunc {
	return func(payload []byte) string {
		sig, err := sshsig.Sign(bytes.NewReader(payload), key, sshsig.HashSHA512, namespace)
		if err != nil {
			t.Fatal(err)
		}
		return string(sshsig.Armor(sig))
	}
}

func pgpSign(t testing.TB, key *openpgp.Entity) signFunc {
	return func(payload []byte) string {
		var b bytes.Buffer
		if err := openpgp.ArmoredDetachSign(&b, key, bytes.NewReader(payload), nil); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
}

func pgpKey(t testing.TB) (*openpgp.Entity, string) {
	key, err := openpgp.NewEntity("Ann", "", "ann@example.com", &packet.Config{Algorithm: packet.PubKeyAlgoEdDSA})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	w, err := armor.Encode(&b, openpgp.PublicKeyType, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := key.Serialize(w); err != nil {
		t.Fatal(err)
	}
	w.Close()
	return key, b.String() + "\n"
}

// sign replaces the head of the work tree by one with a signature, and pushes it.
func (s *served) sign(sign signFunc) string {
	s.t.Helper()
	raw := runRaw(s.t, s.dir, "cat-file", "commit", "HEAD")
	head, message, _ := strings.Cut(raw, "\n\n")
	sig := strings.ReplaceAll(strings.TrimSpace(sign([]byte(raw))), "\n", "\n ")
	id := s.rawCommit(head + "\ngpgsig " + sig + "\n\n" + message)
	s.git("reset", "-q", "--hard", id)
	s.git("push", "-q", "--force", "origin", "HEAD:main")
	return id
}

func (s *served) rawCommit(text string) string {
	s.t.Helper()
	file := filepath.Join(s.t.TempDir(), "commit")
	writeFile(s.t, file, text)
	return s.git("hash-object", "-t", "commit", "-w", file)
}

// runRaw is runGit without trimming.
func runRaw(t testing.TB, dir string, args ...string) string {
	t.Helper()
	c := exec.Command("git", args...)
	c.Dir, c.Env = dir, gitEnv()
	out, err := c.Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func allow(t testing.TB, lines ...string) string {
	name := filepath.Join(t.TempDir(), "allowed_signers")
	writeFile(t, name, strings.Join(lines, ""))
	return name
}

func line(who string, key ssh.PublicKey) string {
	return who + " " + string(ssh.MarshalAuthorizedKey(key))
}

func TestHeadSignature(t *testing.T) {
	t.Parallel()
	s := newServed(t)
	ann, _ := newSigner(t)
	eve, _ := newSigner(t)
	pgp, pgpPublic := pgpKey(t)
	evePGP, _ := pgpKey(t)
	g := follow(t, GitConfig{URL: s.bare, AllowedSigners: allow(t, "# people\n", line("ann@example.com", ann.PublicKey()), pgpPublic)})
	anchor := ""
	for i, c := range []struct {
		name string
		sign signFunc
		by   string // "" is a refusal
		why  string
	}{
		{"ssh", sshSign(t, ann, "git"), "ann@example.com", ""},
		{"openpgp", pgpSign(t, pgp), "Ann <ann@example.com>", ""},
		{"another ssh key", sshSign(t, eve, "git"), "", "not an allowed signer"},
		{"another openpgp key", pgpSign(t, evePGP), "", "not an allowed signer"},
		{"another namespace", sshSign(t, ann, "file"), "", "does not hold"},
		{"another text", func([]byte) string { return sshSign(t, ann, "git")([]byte("x")) }, "", "does not hold"},
		{"another text, openpgp", func([]byte) string { return pgpSign(t, pgp)([]byte("x")) }, "", "does not hold"},
		{"twice", func(p []byte) string { return sshSign(t, ann, "git")(p) + sshSign(t, ann, "git")(p) }, "", "several"},
		{"no armor", func([]byte) string { return "x" }, "", "not signed"},
		{"X.509", func([]byte) string { return "-----BEGIN SIGNED MESSAGE-----\n-----END SIGNED MESSAGE-----" }, "", "neither"},
	} {
		if anchor != "" {
			s.git("reset", "-q", "--hard", anchor)
		}
		s.write("f", fmt.Sprint(i))
		s.commit(c.name)
		id := s.sign(c.sign)
		got, err := g.Latest(t.Context(), Anchor{Revision: anchor})
		if c.by == "" {
			if r := refused(t, err, KindSignature); r.Revision != id || !strings.Contains(r.Reason, c.why) || r.Hint == "" {
				t.Errorf("%s: %v", c.name, r)
			}
			if _, err := g.At(t.Context(), id); err == nil {
				t.Errorf("%s: At gave it out", c.name)
			}
			continue
		}
		if err != nil || got.Signer != c.by {
			t.Fatalf("%s: %+v, %v", c.name, got, err)
		}
		anchor = got.Anchor
	}
	s.git("reset", "-q", "--hard", anchor)
	s.push("not signed")
	refused(t, func() error { _, err := g.Latest(t.Context(), Anchor{Revision: anchor}); return err }(), KindSignature)
}

func TestTamperedCommit(t *testing.T) {
	t.Parallel()
	s := newServed(t)
	ann, _ := newSigner(t)
	s.write("f", "good")
	s.commit("one")
	s.sign(sshSign(t, ann, "git"))
	signed := runRaw(t, s.dir, "cat-file", "commit", "HEAD")
	s.write("f", "evil")
	s.git("add", "-A")
	tree := s.git("write-tree")
	evil := s.rawCommit("tree " + tree + signed[strings.Index(signed, "\n"):])
	s.git("push", "-q", "--force", "origin", evil+":refs/heads/main")
	g := follow(t, GitConfig{URL: s.bare, AllowedSigners: allow(t, line("ann", ann.PublicKey()))})
	_, err := g.Latest(t.Context(), Anchor{})
	refused(t, err, KindSignature)
}

// TestRangeSignatures puts an unsigned commit under a signed head.
func TestRangeSignatures(t *testing.T) {
	t.Parallel()
	s := newServed(t)
	ann, _ := newSigner(t)
	signers := allow(t, line("ann", ann.PublicKey()))
	head := follow(t, GitConfig{URL: s.bare, AllowedSigners: signers})
	all := follow(t, GitConfig{URL: s.bare, AllowedSigners: signers, SignMode: SignRange})
	s.write("f", "0")
	s.push("old, unsigned")
	s.write("f", "1")
	s.commit("first")
	base := s.sign(sshSign(t, ann, "git"))
	latest(t, head, "")
	latest(t, all, "") // without an anchor the head vouches
	s.write("f", "2")
	s.push("unsigned")
	s.write("f", "3")
	s.commit("signed on top")
	tip := s.sign(sshSign(t, ann, "git"))
	if got := latest(t, head, base); got.Revision != tip {
		t.Error(got)
	}
	_, err := all.Latest(t.Context(), Anchor{Revision: base})
	if r := refused(t, err, KindSignature); !strings.Contains(r.Reason, "unsigned") {
		t.Error(r)
	}
	// A merge brings in a side branch that began before the anchor.
	s.git("reset", "-q", "--hard", base)
	s.git("checkout", "-q", "-b", "side", base+"~1")
	s.write("side", "1")
	s.push("side")
	s.git("checkout", "-q", "-B", "main", base)
	s.git("merge", "-q", "--no-ff", "-m", "merge", "side")
	s.sign(sshSign(t, ann, "git"))
	_, err = all.Latest(t.Context(), Anchor{Revision: base})
	if r := refused(t, err, KindSignature); !strings.Contains(r.Reason, "side") {
		t.Error(r)
	}
	s.git("checkout", "-q", "side")
	signedSide := s.sign(sshSign(t, ann, "git"))
	s.git("checkout", "-q", "-B", "main", base)
	s.git("merge", "-q", "--no-ff", "-m", "merge", signedSide)
	tip = s.sign(sshSign(t, ann, "git"))
	if got := latest(t, all, base); got.Revision != tip || got.Ahead != 2 || got.Signer != "ann" {
		t.Errorf("%+v", got)
	}
}

// TestUnsignedNeverBecomesTheBase replays comin's fault: an unsigned head that was
// seen must not be what a later one is measured by.
func TestUnsignedNeverBecomesTheBase(t *testing.T) {
	t.Parallel()
	s := newServed(t)
	ann, _ := newSigner(t)
	g := follow(t, GitConfig{URL: s.bare, AllowedSigners: allow(t, line("ann", ann.PublicKey()))})
	s.write("f", "1")
	s.commit("good")
	good := s.sign(sshSign(t, ann, "git"))
	latest(t, g, "")
	s.write("f", "2")
	s.push("unsigned")
	_, err := g.Latest(t.Context(), Anchor{Revision: good})
	refused(t, err, KindSignature)
	s.git("push", "-q", "--force", "origin", good+":main")
	if got := latest(t, g, good); got.Revision != good {
		t.Error("taking the unsigned commit back counted as a rewind")
	}
}

func TestHostBranchMustBeSignedToo(t *testing.T) {
	t.Parallel()
	s := newServed(t)
	ann, _ := newSigner(t)
	g := follow(t, GitConfig{URL: s.bare, Host: "alpha", AllowedSigners: allow(t, line("ann", ann.PublicKey()))})
	s.write("f", "1")
	s.commit("good")
	good := s.sign(sshSign(t, ann, "git"))
	s.write("f", "2")
	s.commit("try")
	s.git("push", "-q", "origin", "HEAD:host/alpha")
	if got := latest(t, g, ""); got.Revision != good || !strings.Contains(got.Notice, "not signed") {
		t.Errorf("%+v", got)
	}
}

func TestSignersFileChanges(t *testing.T) {
	t.Parallel()
	s := newServed(t)
	ann, _ := newSigner(t)
	bob, _ := newSigner(t)
	file := allow(t, line("ann", ann.PublicKey()))
	g := follow(t, GitConfig{URL: s.bare, AllowedSigners: file})
	s.write("f", "1")
	s.commit("by bob")
	s.sign(sshSign(t, bob, "git"))
	_, err := g.Latest(t.Context(), Anchor{})
	refused(t, err, KindSignature)
	writeFile(t, file, line("ann", ann.PublicKey())+line("bob", bob.PublicKey()))
	if got := latest(t, g, ""); got.Signer != "bob" {
		t.Error(got)
	}
	writeFile(t, file, line("ann", ann.PublicKey()))
	_, err = g.Latest(t.Context(), Anchor{})
	refused(t, err, KindSignature)
	os.Remove(file)
	_, err = g.Latest(t.Context(), Anchor{})
	fetchError(t, err, ClassConfig)
}

// TestSignedByTheRealTools signs with git and ssh-keygen themselves.
func TestSignedByTheRealTools(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("ssh-keygen"); err != nil {
		t.Skip("ssh-keygen is not installed")
	}
	s := newServed(t)
	key := filepath.Join(t.TempDir(), "key")
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", key).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	s.git("config", "gpg.format", "ssh")
	s.git("config", "user.signingkey", key+".pub")
	s.git("config", "commit.gpgsign", "true")
	s.write("f", "1")
	id := s.push("signed")
	public, _ := os.ReadFile(key + ".pub")
	g := follow(t, GitConfig{URL: s.bare, AllowedSigners: allow(t, `"ann@example.com" namespaces="git" `+string(public))})
	if got := latest(t, g, ""); got.Revision != id || got.Signer != "ann@example.com" {
		t.Errorf("%+v", got)
	}
}

func TestAllowedSigners(t *testing.T) {
	t.Parallel()
	key, _ := newSigner(t)
	public := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key.PublicKey())))
	for name, text := range map[string]string{
		"empty":                 "# nobody\n",
		"line 1: cert-auth":     "*@example.com cert-authority " + public,
		"line 2: unknown":       "\nann no-such-option " + public,
		"line 1: not of":        "ann",
		"line 1: ssh: no key":   "ann ssh-ed25519 AAAA",
		"line 1: time":          `ann valid-after="2024" ` + public,
		"line 1: the key block": pgpBegin + "\nabc\n",
	} {
		_, err := parseSigners([]byte(text))
		if err == nil {
			t.Errorf("%s: accepted", name)
		} else if strings.HasPrefix(name, "line") && !strings.Contains(err.Error(), strings.SplitAfter(name, ":")[0]) {
			t.Errorf("%s: %v", name, err)
		}
	}
	at := time.Date(2024, 5, 1, 12, 0, 0, 0, time.UTC)
	for options, ok := range map[string]bool{
		"":                                     true,
		`namespaces="git"`:                     true,
		`namespaces="file,g*"`:                 true,
		`namespaces="file"`:                    false,
		`namespaces="!git,*"`:                  false,
		`valid-after="20240501Z"`:              true,
		`valid-after="20240502Z"`:              false,
		`valid-before="202405011200Z"`:         false,
		`valid-before="20240501120001Z"`:       true,
		`namespaces="git",valid-before="2023"`: false,
	} {
		s, err := parseSigners([]byte("ann " + options + " " + public))
		if err != nil {
			if options != `namespaces="git",valid-before="2023"` {
				t.Errorf("%s: %v", options, err)
			}
			continue
		}
		if err := s.ssh[0].allows(at); (err == nil) != ok {
			t.Errorf("%s: %v", options, err)
		}
	}
	if s, err := parseSigners([]byte("a,b " + public + " comment")); err != nil || s.ssh[0].principal != "a" {
		t.Error(s, err)
	}
}

func FuzzAllowedSigners(f *testing.F) {
	key, _ := newSigner(f)
	_, pgp := pgpKey(f)
	f.Add(line("ann", key.PublicKey()))
	f.Add(`"a b" namespaces="git",valid-after="20240101" ` + string(ssh.MarshalAuthorizedKey(key.PublicKey())))
	f.Add(pgp)
	f.Add("# x\n\n* cert-authority ssh-rsa AAAA")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := parseSigners([]byte(text))
		if err != nil {
			return
		}
		if len(s.ssh)+len(s.pgp) == 0 {
			t.Error("nobody, and no error")
		}
		forged := make([]byte, 64)
		rand.Read(forged)
		if by, err := s.verifySSH(forged, string(forged), time.Now()); err == nil {
			t.Errorf("noise was signed by %s", by)
		}
	})
}
