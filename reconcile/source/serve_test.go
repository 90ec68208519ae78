package source

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
	"golang.org/x/crypto/ssh/knownhosts"
)

// served is a bare repository that can be pushed to by path and fetched by URL.
type served struct {
	*repo
	bare string
	name string
}

func newServed(t *testing.T) *served {
	t.Helper()
	r := newRepo(t)
	base := t.TempDir()
	bare := filepath.Join(base, "r.git")
	runGit(t, base, "init", "-q", "--bare", "-b", "main", bare)
	r.git("remote", "add", "origin", bare)
	return &served{r, bare, "r.git"}
}

// push commits everything and pushes the branch.
func (s *served) push(subject string) string {
	s.t.Helper()
	id := s.commit(subject)
	s.git("push", "-q", "--force", "origin", "HEAD:main")
	return id
}

func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// gitDaemon serves the repositories below base with the real git daemon.
func gitDaemon(t testing.TB, base string) string {
	t.Helper()
	port := freePort(t)
	// Not by way of git, which would leave it behind if this test is killed.
	c := exec.Command(filepath.Join(runGit(t, base, "--exec-path"), "git-daemon"), "--reuseaddr", "--listen=127.0.0.1", fmt.Sprintf("--port=%d", port), "--base-path="+base, "--export-all", base)
	c.Env = gitEnv()
	ownGroup(c)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { killGroup(c) })
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	for range 200 {
		if conn, err := net.Dial("tcp", addr); err == nil {
			conn.Close()
			return "git://" + addr
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("git daemon didn't start")
	return ""
}

// httpBackend serves base with git http-backend behind TLS; token, if set, is the
// password that it asks for.
func httpBackend(t *testing.T, base string, token func() string) (url, caFile string) {
	t.Helper()
	exe := filepath.Join(runGit(t, base, "--exec-path"), "git-http-backend")
	if _, err := os.Stat(exe); err != nil {
		t.Skip("git http-backend is not installed")
	}
	backend := &cgi.Handler{Path: exe, Env: append(gitEnv(), "GIT_PROJECT_ROOT="+base, "GIT_HTTP_EXPORT_ALL=1"),
		Stderr: io.Discard, Logger: log.New(io.Discard, "", 0)}
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, pass, _ := r.BasicAuth(); token != nil && pass != token() {
			w.Header().Set("WWW-Authenticate", "Basic")
			http.Error(w, strings.Repeat("<html>no</html>\n", 100), http.StatusUnauthorized)
			return
		}
		backend.ServeHTTP(w, r)
	}))
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.StartTLS()
	t.Cleanup(srv.Close)
	caFile = filepath.Join(t.TempDir(), "ca.pem")
	writeFile(t, caFile, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})))
	return srv.URL, caFile
}

// sshServer runs git-upload-pack for whoever has the client key.
type sshServer struct {
	addr       string
	keyFile    string // the client's
	knownHosts string
	hostKey    ssh.Signer
}

func newSigner(t testing.TB) (ssh.Signer, []byte) {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return signer, pem.EncodeToMemory(block)
}

func newSSHServer(t *testing.T, base string) *sshServer {
	t.Helper()
	client, clientPEM := newSigner(t)
	host, _ := newSigner(t)
	dir := t.TempDir()
	s := &sshServer{keyFile: filepath.Join(dir, "key"), knownHosts: filepath.Join(dir, "known_hosts"), hostKey: host}
	if err := os.WriteFile(s.keyFile, clientPEM, 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := &ssh.ServerConfig{PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		if !sameKey(key, client.PublicKey()) {
			return nil, fmt.Errorf("unknown key")
		}
		return nil, nil
	}}
	cfg.AddHostKey(host)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr = l.Addr().String()
	var wg sync.WaitGroup
	t.Cleanup(func() { l.Close(); wg.Wait() })
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { serveSSH(conn, cfg, base) })
		}
	})
	other, _ := newSigner(t)
	lines := knownhosts.Line([]string{s.addr}, other.PublicKey()) + "\n" + knownhosts.Line([]string{s.addr}, host.PublicKey()) + "\n"
	writeFile(t, s.knownHosts, lines)
	return s
}

// sshAgent serves one key on a socket.
func sshAgent(t *testing.T, key any) string {
	t.Helper()
	ring := agent.NewKeyring()
	if err := ring.Add(agent.AddedKey{PrivateKey: key}); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(t.TempDir(), "agent")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _ = agent.ServeAgent(ring, conn); conn.Close() }()
		}
	}()
	return socket
}

func encodePEM(b *pem.Block) []byte { return pem.EncodeToMemory(b) }

func serveSSH(conn net.Conn, cfg *ssh.ServerConfig, base string) {
	defer conn.Close()
	c, chans, reqs, err := ssh.NewServerConn(conn, cfg)
	if err != nil {
		return
	}
	defer c.Close()
	go ssh.DiscardRequests(reqs)
	for nc := range chans {
		ch, reqs, err := nc.Accept()
		if err != nil {
			return
		}
		for r := range reqs {
			if r.Type != "exec" {
				_ = r.Reply(false, nil)
				continue
			}
			_ = r.Reply(true, nil)
			path := strings.Trim(strings.TrimPrefix(string(r.Payload[4:]), "git-upload-pack "), "'")
			upload(ch, filepath.Join(base, path))
			ch.Close()
			break
		}
	}
}

func upload(ch ssh.Channel, dir string) {
	cmd := exec.Command("git", "upload-pack", dir)
	cmd.Env = gitEnv()
	cmd.Stdout, cmd.Stderr = ch, ch.Stderr()
	in, err := cmd.StdinPipe()
	if err != nil {
		return
	}
	go func() { _, _ = io.Copy(in, ch); in.Close() }()
	status := byte(0)
	if cmd.Run() != nil {
		status = 1
	}
	_, _ = ch.SendRequest("exit-status", false, []byte{0, 0, 0, status})
}

// transports are all the ways to a repository below base.
func transports(t *testing.T) map[string]func(t *testing.T, base string) GitConfig {
	return map[string]func(t *testing.T, base string) GitConfig{
		"local": func(_ *testing.T, base string) GitConfig { return GitConfig{URL: base} },
		"file":  func(_ *testing.T, base string) GitConfig { return GitConfig{URL: "file://" + base} },
		"git":   func(t *testing.T, base string) GitConfig { return GitConfig{URL: gitDaemon(t, base)} },
		"https": func(t *testing.T, base string) GitConfig {
			url, ca := httpBackend(t, base, nil)
			return GitConfig{URL: url, Auth: Credentials{CAFile: ca}}
		},
		"ssh": func(t *testing.T, base string) GitConfig {
			s := newSSHServer(t, base)
			return GitConfig{URL: "ssh://git@" + s.addr, Auth: Credentials{SSHKeyFile: s.keyFile, KnownHosts: []string{s.knownHosts}}}
		},
	}
}
