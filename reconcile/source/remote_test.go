package source

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

func fetchError(t *testing.T, err error, class Class) *FetchError {
	t.Helper()
	var f *FetchError
	if !errors.As(err, &f) || f.Class != class {
		t.Fatalf("got %v (%T), want class %s", err, err, class)
	}
	return f
}

func refused(t *testing.T, err error, kind Kind) *RefusedError {
	t.Helper()
	var r *RefusedError
	if !errors.As(err, &r) || r.Kind != kind {
		t.Fatalf("got %v (%T), want a refusal for %s", err, err, kind)
	}
	return r
}

// TestEveryTransport walks one repository through its life by every transport.
func TestEveryTransport(t *testing.T) {
	t.Parallel()
	for name, serve := range transports(t) {
		if testing.Short() && name != "local" && name != "https" {
			continue // the others have tests of their own below
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServed(t)
			cfg := serve(t, filepath.Dir(s.bare))
			url := cfg.URL
			cfg.URL += "/r.git"
			cfg.Host = "alpha"
			g := follow(t, cfg)

			_, err := g.Latest(t.Context(), Anchor{})
			if f := fetchError(t, err, ClassConfig); !errors.Is(f, ErrEmptyRemote) || f.Hint == "" {
				t.Fatalf("empty remote: %v", err)
			}
			s.write("a/b/c", "1")
			first := s.push("one")
			a := latest(t, g, "")
			if a.Revision != first || latest(t, g, first) != a {
				t.Fatalf("first: %+v", a)
			}
			s.write("a/b/c", "2")
			s.write("d", "3")
			second := s.push("two")
			b := latest(t, g, first)
			if got := listing(t, b.Tree); b.Revision != second || b.Ahead != 1 || got["a/b/c"] != "2" || got["d"] != "3" {
				t.Fatalf("second: %+v %v", b, got)
			}
			if listing(t, a.Tree)["a/b/c"] != "1" {
				t.Error("the first snapshot changed")
			}

			s.git("reset", "-q", "--hard", first)
			s.write("e", "4")
			third := s.push("rewritten")
			r := refused(t, func() error { _, err := g.Latest(t.Context(), Anchor{Revision: second}); return err }(), KindRewind)
			if r.Revision != third || !strings.Contains(r.Hint, "ten accept-rewind "+third) {
				t.Errorf("rewind: %v, hint %q", r, r.Hint)
			}
			c, err := g.Latest(t.Context(), Anchor{Revision: second, AcceptRewind: third})
			if err != nil || c.Revision != third || c.Ahead != -1 {
				t.Fatal(c, err)
			}
			if _, err := g.Latest(t.Context(), Anchor{Revision: second, AcceptRewind: first}); err == nil {
				t.Error("a rewind to another revision was accepted")
			}
			if old, err := g.At(t.Context(), second); err != nil || listing(t, old.Tree)["d"] != "3" {
				t.Errorf("the old revision is gone: %v", err)
			}

			s.write("try", "5")
			s.commit("try out")
			s.git("push", "-q", "origin", "HEAD:host/alpha")
			h := latest(t, g, third)
			if h.Branch != "host/alpha" || h.Anchor != third || h.Subject != "try out" || h.Ahead != 1 || h.Notice == "" {
				t.Errorf("host branch: %+v", h)
			}
			missing := cfg
			missing.URL, missing.MirrorDir = url+"/none.git", t.TempDir()
			_, err = follow(t, missing).Latest(t.Context(), Anchor{})
			if f := fetchError(t, err, ClassConfig); f.Hint == "" {
				t.Errorf("no hint: %v", err)
			}
			missing = cfg
			missing.Branch, missing.MirrorDir = "none", t.TempDir()
			_, err = follow(t, missing).Latest(t.Context(), Anchor{})
			if f := fetchError(t, err, ClassConfig); !errors.Is(err, ErrNoBranch) || !strings.Contains(f.Hint, "main") {
				t.Errorf("branch: %v, hint %q", err, f.Hint)
			}
		})
	}
}

func TestHostBranch(t *testing.T) {
	t.Parallel()
	s := newServed(t)
	s.write("f", "1")
	base := s.push("base")
	s.write("f", "try 1")
	try := s.commit("try 1")
	s.git("push", "-q", "origin", "HEAD:host/alpha")
	alpha := follow(t, GitConfig{URL: s.bare, Host: "alpha"})
	beta := follow(t, GitConfig{URL: s.bare, Host: "beta"})
	if got := latest(t, alpha, base); got.Revision != try || got.Anchor != base {
		t.Fatalf("alpha: %+v", got)
	}
	if got := latest(t, beta, base); got.Revision != base || got.Notice != "" {
		t.Fatalf("beta: %+v", got)
	}
	// The host branch may be set to anything on top of main.
	s.git("reset", "-q", "--hard", base)
	s.write("f", "try 2")
	again := s.commit("try 2")
	s.git("push", "-q", "--force", "origin", "HEAD:host/alpha")
	if got := latest(t, alpha, base); got.Revision != again {
		t.Fatalf("reset: %+v", got)
	}
	// main moves on: the branch is no longer on top and is ignored, with the reason.
	s.git("reset", "-q", "--hard", base)
	s.write("g", "2")
	main := s.push("main goes on")
	if got := latest(t, alpha, base); got.Revision != main || got.Branch != "main" || !strings.Contains(got.Notice, "not on top of main") {
		t.Fatalf("stale: %+v", got)
	}
	s.git("push", "-q", "--delete", "origin", "host/alpha")
	if got := latest(t, alpha, main); got.Revision != main || got.Notice != "" {
		t.Fatalf("deleted: %+v", got)
	}
}

func TestSubdirectory(t *testing.T) {
	t.Parallel()
	s := newServed(t)
	s.write("deploy/prod/f", "1")
	s.write("other", "1")
	s.push("one")
	g := follow(t, GitConfig{URL: s.bare, Path: "./deploy/prod/"})
	a := latest(t, g, "")
	if got := listing(t, a.Tree); len(got) != 1 || got["f"] != "1" {
		t.Fatal(got)
	}
	s.write("other", "2")
	s.push("elsewhere")
	b := latest(t, g, a.Revision)
	ida, _ := a.Tree.ID(".")
	idb, _ := b.Tree.ID(".")
	if ida != idb {
		t.Error("a change elsewhere changed the subtree")
	}
	s.git("rm", "-q", "-r", "deploy")
	s.push("gone")
	_, err := g.Latest(t.Context(), Anchor{Revision: a.Revision})
	if f := fetchError(t, err, ClassConfig); !errors.Is(err, ErrNoPath) || f.Hint == "" {
		t.Error(err)
	}
	for _, bad := range []string{"../x", "a/../b", ".git", "a//b"} {
		if _, err := NewGit(GitConfig{URL: s.bare, MirrorDir: t.TempDir(), Path: bad}); err == nil {
			t.Errorf("path %q was accepted", bad)
		}
	}
}

func TestRefusedContent(t *testing.T) {
	t.Parallel()
	s := newServed(t)
	s.write("f", "1")
	good := s.push("good")
	g := follow(t, GitConfig{URL: s.bare})
	latest(t, g, "")
	blob := s.git("hash-object", "-w", "f")
	for name, entry := range map[string]string{
		"a submodule":   "160000 commit " + good + "\tsub",
		"another mode":  "100664 blob " + blob + "\tf",
		"an odd name":   "100644 blob " + blob + "\tbad\xff",
		"a .git inside": "100644 blob " + blob + "\t.GIT",
	} {
		tree := hashTree(t, s.dir, entry)
		inner := hashTree(t, s.dir, "40000 tree "+tree+"\tinner")
		head := s.git("commit-tree", "-p", good, "-m", name, inner)
		s.git("push", "-q", "--force", "origin", head+":refs/heads/main")
		_, err := g.Latest(t.Context(), Anchor{Revision: good})
		r := refused(t, err, KindContent)
		if r.Revision != head || !strings.Contains(r.Reason, "inner/") || r.Hint == "" {
			t.Errorf("%s: %v, hint %q", name, r, r.Hint)
		}
		if _, again := g.Latest(t.Context(), Anchor{Revision: good}); again != err {
			t.Errorf("%s: judged twice", name)
		}
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	s := newServed(t)
	s.write("zeros", strings.Repeat("\x00", 3<<20)) // a few KB in a pack
	for i := range 20 {
		s.write("d"+strings.Repeat("/d", i)+"/f", "")
	}
	s.push("big")
	daemon := gitDaemon(t, filepath.Dir(s.bare)) + "/r.git"
	for name, limits := range map[string]Limits{
		"object": {ObjectBytes: 1 << 20},
		"pack":   {PackBytes: 500},
	} {
		for _, url := range []string{daemon, s.bare} {
			_, err := follow(t, GitConfig{URL: url, Limits: limits}).Latest(t.Context(), Anchor{})
			if fetchError(t, err, ClassConfig); !errors.Is(err, ErrTooBig) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	for name, limits := range map[string]Limits{"files": {Files: 5}, "depth": {Depth: 5}, "path": {PathBytes: 10}} {
		_, err := follow(t, GitConfig{URL: s.bare, Limits: limits}).Latest(t.Context(), Anchor{})
		if r := refused(t, err, KindContent); !strings.Contains(r.Reason, "than") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTokenIsReadAgain(t *testing.T) {
	t.Parallel()
	s := newServed(t)
	s.write("f", "1")
	s.push("one")
	token := "right"
	url, ca := httpBackend(t, filepath.Dir(s.bare), func() string { return token })
	file := filepath.Join(t.TempDir(), "token")
	g := follow(t, GitConfig{URL: url + "/r.git", Auth: Credentials{TokenFile: file, CAFile: ca}})
	attempt := func() error { _, err := g.Latest(t.Context(), Anchor{}); return err }
	fetchError(t, attempt(), ClassAuth)
	writeFile(t, file, "wrong\n")
	f := fetchError(t, attempt(), ClassAuth)
	if !strings.Contains(f.Hint, "token") || len(f.Error()) > 400 || strings.Contains(f.Error(), "wrong\n") {
		t.Errorf("%v, hint %q", f, f.Hint)
	}
	writeFile(t, file, "right\n")
	if err := attempt(); err != nil {
		t.Fatal(err)
	}
	token = "expired"
	fetchError(t, attempt(), ClassAuth)
	token = "right"
	if err := attempt(); err != nil {
		t.Fatal(err)
	}
	_, err := follow(t, GitConfig{URL: url + "/r.git", Auth: Credentials{TokenFile: file}}).Latest(t.Context(), Anchor{})
	if f := fetchError(t, err, ClassAuth); !strings.Contains(f.Hint, "CA") {
		t.Errorf("unknown authority: %v, hint %q", err, f.Hint)
	}
	_, err = follow(t, GitConfig{URL: "http://git.example.com/r.git", Auth: Credentials{TokenFile: file}}).Latest(t.Context(), Anchor{})
	if f := fetchError(t, err, ClassAuth); !strings.Contains(f.Hint, "https") {
		t.Errorf("a token over http: %v", err)
	}
}

func TestSSHKeys(t *testing.T) {
	t.Parallel()
	s := newServed(t)
	s.write("f", "1")
	s.push("one")
	srv := newSSHServer(t, filepath.Dir(s.bare))
	good := Credentials{SSHKeyFile: srv.keyFile, KnownHosts: []string{srv.knownHosts}}
	attempt := func(auth Credentials) error {
		_, err := follow(t, GitConfig{URL: "ssh://git@" + srv.addr + "/r.git", Auth: auth}).Latest(t.Context(), Anchor{})
		return err
	}
	if err := attempt(good); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	pem, err := os.ReadFile(srv.keyFile)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := ssh.ParseRawPrivateKey(pem)
	if err != nil {
		t.Fatal(err)
	}
	if err := attempt(Credentials{Agent: sshAgent(t, raw), KnownHosts: good.KnownHosts}); err != nil {
		t.Errorf("agent: %v", err)
	}
	locked, phrase := filepath.Join(dir, "locked"), filepath.Join(dir, "phrase")
	block, err := ssh.MarshalPrivateKeyWithPassphrase(raw, "", []byte("open sesame"))
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, locked, string(encodePEM(block)))
	writeFile(t, phrase, "open sesame\n")
	if err := attempt(Credentials{SSHKeyFile: locked, Passphrase: phrase, KnownHosts: good.KnownHosts}); err != nil {
		t.Errorf("passphrase: %v", err)
	}
	fetchError(t, attempt(Credentials{SSHKeyFile: locked, KnownHosts: good.KnownHosts}), ClassAuth)
	other, otherPEM := newSigner(t)
	unknown, changed, key := filepath.Join(dir, "unknown"), filepath.Join(dir, "changed"), filepath.Join(dir, "key")
	writeFile(t, unknown, knownhosts.Line([]string{"elsewhere"}, other.PublicKey())+"\n")
	writeFile(t, changed, knownhosts.Line([]string{srv.addr}, other.PublicKey())+"\n")
	os.WriteFile(key, otherPEM, 0o600)
	for hint, auth := range map[string]Credentials{
		"ssh-keyscan":   {SSHKeyFile: srv.keyFile, KnownHosts: []string{unknown}},
		"ssh-keygen -R": {SSHKeyFile: srv.keyFile, KnownHosts: []string{changed}},
		"deploy key":    {SSHKeyFile: key, KnownHosts: good.KnownHosts},
		"key file":      {SSHKeyFile: filepath.Join(dir, "none"), KnownHosts: good.KnownHosts},
		"SSH_AUTH_SOCK": {KnownHosts: good.KnownHosts},
	} {
		if f := fetchError(t, attempt(auth), ClassAuth); !strings.Contains(f.Hint, hint) {
			t.Errorf("%v: hint %q lacks %q", f, f.Hint, hint)
		}
	}
}

// TestHungServer has servers that accept and then say nothing, or stop in the
// middle of a pack.
func TestHungServer(t *testing.T) {
	t.Parallel()
	s := newServed(t)
	s.write("f", strings.Repeat("x", 100))
	s.push("one")
	backend := strings.TrimPrefix(gitDaemon(t, filepath.Dir(s.bare)), "git://")
	srv := newSSHServer(t, filepath.Dir(s.bare))
	for name, c := range map[string]struct {
		scheme string
		pass   int // bytes of the answer that get through
	}{"git silent": {"git", 0}, "ssh silent": {"ssh", 0}, "http silent": {"http", 0}, "git refs": {"git", 30}, "git pack": {"git", 500}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			addr := stallingProxy(t, backend, c.pass)
			g := follow(t, GitConfig{URL: c.scheme + "://" + addr + "/r.git", Timeout: 300 * time.Millisecond,
				Auth: Credentials{SSHKeyFile: srv.keyFile, KnownHosts: []string{srv.knownHosts}}})
			start := time.Now()
			_, err := g.Latest(t.Context(), Anchor{})
			fetchError(t, err, ClassNetwork)
			if d := time.Since(start); d > 3*time.Second {
				t.Errorf("took %s", d)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			if _, err := g.Latest(ctx, Anchor{}); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("the caller's own deadline: %v", err)
			}
		})
	}
}

func stallingProxy(t *testing.T, backend string, pass int) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
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
			go stall(conn, backend, pass)
		}
	}()
	return l.Addr().String()
}

func stall(conn net.Conn, backend string, pass int) {
	defer conn.Close()
	if pass > 0 {
		up, err := net.Dial("tcp", backend)
		if err != nil {
			return
		}
		defer up.Close()
		go func() {
			b := make([]byte, 1)
			for range pass {
				if _, err := up.Read(b); err != nil {
					return
				}
				if _, err := conn.Write(b); err != nil {
					return
				}
			}
		}()
		b := make([]byte, 1024)
		for {
			n, err := conn.Read(b)
			if err != nil {
				return
			}
			if _, err := up.Write(b[:n]); err != nil {
				return
			}
		}
	}
	b := make([]byte, 1024)
	for {
		if _, err := conn.Read(b); err != nil {
			return
		}
	}
}

func TestUnreachable(t *testing.T) {
	t.Parallel()
	addr := net.JoinHostPort("127.0.0.1", "1")
	for _, scheme := range []string{"git", "http"} {
		_, err := follow(t, GitConfig{URL: scheme + "://" + addr + "/r.git"}).Latest(t.Context(), Anchor{})
		fetchError(t, err, ClassNetwork)
	}
	s := newServed(t)
	s.write("f", "1")
	first := s.push("one")
	g := follow(t, GitConfig{URL: s.bare})
	a := latest(t, g, "")
	os.Rename(s.bare, s.bare+".gone")
	_, err := g.Latest(t.Context(), Anchor{Revision: first})
	fetchError(t, err, ClassConfig)
	if listing(t, a.Tree)["f"] != "1" {
		t.Error("the snapshot went with the repository")
	}
	if old, err := g.At(t.Context(), first); err != nil || old != a {
		t.Error(old, err)
	}
	os.Rename(s.bare+".gone", s.bare)
	if latest(t, g, first) != a {
		t.Error("another snapshot after the repository came back")
	}
}

func TestParseURL(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]location{
		"https://user:secret@host/a/b.git": {scheme: "https", host: "host:443", path: "/a/b.git", user: "user", secret: "secret", text: "https://user:xxxxx@host/a/b.git"},
		"git@github.com:a/b.git":           {scheme: "ssh", host: "github.com:22", path: "a/b.git", user: "git", text: "git@github.com:a/b.git"},
		"ssh://git@[::1]:2222/~/b.git":     {scheme: "ssh", host: "[::1]:2222", path: "~/b.git", user: "git", text: "ssh://git@[::1]:2222/~/b.git"},
		"git://host/x":                     {scheme: "git", host: "host:9418", path: "/x", text: "git://host/x"},
		"file:///srv/x.git":                {scheme: "local", path: "/srv/x.git", text: "file:///srv/x.git"},
		"/srv/x.git":                       {scheme: "local", path: "/srv/x.git", text: "/srv/x.git"},
	} {
		got, err := parseURL(in)
		if err != nil || *got != want {
			t.Errorf("%s: %+v, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "ftp://host/x", "https://host", "https:///x", "https://user:secret@ho st/x", "file://other/x"} {
		if l, err := parseURL(in); err == nil {
			t.Errorf("%q gave %+v", in, l)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("%q shows the password: %v", in, err)
		}
	}
}
