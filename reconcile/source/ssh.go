package source

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"sync"

	"github.com/skeema/knownhosts"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// sshRemote runs git-upload-pack at a server. The server's key must be in a
// known_hosts file; a host may have several there, so that it can change keys.
type sshRemote struct {
	at   *location
	auth Credentials
}

func (r *sshRemote) connect(ctx context.Context) (session, error) {
	cfg, done, err := r.config()
	if err != nil {
		return nil, err
	}
	defer done()
	var dial net.Dialer
	conn, err := dial.DialContext(ctx, "tcp", r.at.host)
	if err != nil {
		return nil, endOf(ctx, err)
	}
	s, err := r.open(ctx, conn, cfg)
	if err != nil {
		conn.Close()
		return nil, endOf(ctx, err)
	}
	if err := s.advertise(ctx); err != nil {
		s.done()
		return nil, err
	}
	return s, nil
}

func (r *sshRemote) open(ctx context.Context, conn net.Conn, cfg *ssh.ClientConfig) (*stream, error) {
	defer bound(ctx, conn)()
	c, chans, reqs, err := ssh.NewClientConn(conn, r.at.host, cfg)
	if err != nil {
		return nil, r.handshakeFault(err)
	}
	client := ssh.NewClient(c, chans, reqs)
	sess, err := client.NewSession()
	if err != nil {
		return nil, err
	}
	in, err := sess.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := sess.StdoutPipe()
	if err != nil {
		return nil, err
	}
	said := &firstWords{}
	sess.Stderr = said
	if err := sess.Start("git-upload-pack " + shellQuote(r.at.path)); err != nil {
		return nil, err
	}
	return &stream{conn: conn, in: in, out: out, done: func() { client.Close() }, fault: func(err error) error {
		_ = in.Close()
		_ = sess.Wait() // so that all it said is here
		return sshFault(err, said.String())
	}}, nil
}

// config reads keys and known hosts anew. done lets go of the agent.
func (r *sshRemote) config() (cfg *ssh.ClientConfig, done func(), err error) {
	name := r.at.user
	if name == "" {
		u, err := user.Current()
		if err != nil {
			return nil, nil, err
		}
		name = u.Username
	}
	files := existing(r.knownHosts())
	if len(files) == 0 {
		return nil, nil, authError(errors.New("there is no known_hosts file"), r.keyscan())
	}
	db, err := knownhosts.NewDB(files...)
	if err != nil {
		return nil, nil, authError(err, "repair "+strings.Join(files, ", "))
	}
	method, done, err := r.method()
	if err != nil {
		return nil, nil, err
	}
	return &ssh.ClientConfig{User: name, Auth: []ssh.AuthMethod{method},
		HostKeyCallback: db.HostKeyCallback(), HostKeyAlgorithms: db.HostKeyAlgorithms(r.at.host)}, done, nil
}

func (r *sshRemote) knownHosts() []string {
	if len(r.auth.KnownHosts) > 0 {
		return r.auth.KnownHosts
	}
	files := []string{"/etc/ssh/ssh_known_hosts"}
	if home, err := os.UserHomeDir(); err == nil {
		files = append(files, filepath.Join(home, ".ssh", "known_hosts"))
	}
	return files
}

func existing(names []string) (found []string) {
	for _, n := range names {
		if _, err := os.Stat(n); err == nil {
			found = append(found, n)
		}
	}
	return found
}

func (r *sshRemote) keyscan() string {
	host, port, _ := net.SplitHostPort(r.at.host)
	files := r.knownHosts()
	return fmt.Sprintf("learn the server's keys, and compare them with what its operator publishes: ssh-keyscan -p %s %s >> %s", port, host, files[len(files)-1])
}

func (r *sshRemote) method() (ssh.AuthMethod, func(), error) {
	if r.auth.SSHKeyFile != "" {
		signer, err := readKey(r.auth.SSHKeyFile, r.auth.Passphrase)
		if err != nil {
			return nil, nil, authError(err, "check the key file")
		}
		return ssh.PublicKeys(signer), func() {}, nil
	}
	if r.auth.Agent == "" {
		return nil, nil, authError(errors.New("there is neither a key file nor an ssh agent"), "give a key file, or start ten with SSH_AUTH_SOCK set")
	}
	conn, err := net.Dial("unix", r.auth.Agent)
	if err != nil {
		return nil, nil, authError(fmt.Errorf("ssh agent: %w", err), "give a key file, or start the agent")
	}
	return ssh.PublicKeysCallback(agent.NewClient(conn).Signers), func() { conn.Close() }, nil
}

func readKey(name, passphrase string) (ssh.Signer, error) {
	pem, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	signer, err := ssh.ParsePrivateKey(pem)
	if missing := (*ssh.PassphraseMissingError)(nil); errors.As(err, &missing) && passphrase != "" {
		secret, err := os.ReadFile(passphrase)
		if err != nil {
			return nil, err
		}
		return ssh.ParsePrivateKeyWithPassphrase(pem, bytes.TrimRight(secret, "\r\n"))
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return signer, nil
}

func (r *sshRemote) handshakeFault(err error) error {
	switch {
	case knownhosts.IsHostKeyChanged(err):
		return authError(fmt.Errorf("the server's key is not the one in known_hosts: %w", err),
			"somebody may be listening in; if the key was changed on purpose, remove the old line: ssh-keygen -R "+strings.Split(r.at.host, ":")[0])
	case knownhosts.IsHostUnknown(err):
		return authError(fmt.Errorf("the server's key is not known: %w", err), r.keyscan())
	case strings.Contains(err.Error(), "unable to authenticate"):
		return authError(err, "add this host's public key to the repository as a deploy key")
	}
	return err
}

func authError(err error, hint string) error {
	return &FetchError{Class: ClassAuth, Err: err, Hint: hint}
}

// sshFault makes sense of what the server's side wrote to stderr.
func sshFault(err error, said string) error {
	if said = oneLine(said); said == "" {
		return serverFault(err)
	}
	low := strings.ToLower(said)
	for _, word := range []string{"denied", "permission", "unauthorized", "not allowed"} {
		if strings.Contains(low, word) {
			return authError(fmt.Errorf("the server says: %s", said), "give this host's key the right to read the repository")
		}
	}
	return &FetchError{Class: ClassConfig, Err: fmt.Errorf("the server says: %s", said), Hint: "check the URL"}
}

// shellQuote quotes for the POSIX shell at the other end.
func shellQuote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// firstWords keeps the beginning of what is written to it.
type firstWords struct {
	mu sync.Mutex
	b  []byte
}

func (f *firstWords) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.b = append(f.b, p[:min(len(p), 1024-min(len(f.b), 1024))]...)
	return len(p), nil
}

func (f *firstWords) String() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return string(f.b)
}
