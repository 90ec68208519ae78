package source

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
)

// remote is a repository to fetch from.
type remote interface {
	// connect asks the remote for its refs. The session must be closed.
	connect(ctx context.Context) (session, error)
}

// session is one conversation with a remote.
type session interface {
	refs() *refs
	// fetch hands packs to sink that together with what is here already hold all
	// of wants: every commit, tree and file. With no haves they hold everything.
	fetch(ctx context.Context, want request, sink func(io.Reader) error) error
	close()
}

// refs is what a remote says of its branches.
type refs struct {
	head    string // the branch that HEAD names, "" when unknown
	heads   map[string]plumbing.Hash
	shallow []plumbing.Hash
}

type request struct {
	wants, haves []plumbing.Hash
	has          func(plumbing.Hash) bool // what is here already
}

// location is a parsed remote URL.
type location struct {
	scheme string // "local", "git", "ssh", "http" or "https"
	path   string // on this machine for local, else as sent to the server
	host   string // with port
	user   string
	secret string
	text   string // to show: no credentials
}

var scpLike = regexp.MustCompile(`^(?:([^@/\s]+)@)?([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):([^/].*|/.*)$`)

// parseURL reads a URL as git does: a scheme, or host:path, or a local path.
func parseURL(s string) (*location, error) {
	if i := strings.Index(s, "://"); i > 0 {
		return parseSchemed(s)
	}
	if _, err := os.Stat(s); err != nil {
		if m := scpLike.FindStringSubmatch(s); m != nil {
			return &location{scheme: "ssh", user: m[1], host: withPort(m[2], "22"), path: m[3], text: s}, nil
		}
	}
	if s == "" || strings.Contains(s, "\x00") {
		return nil, fmt.Errorf("%q is not a repository URL", s)
	}
	abs, err := filepath.Abs(s)
	return &location{scheme: "local", path: abs, text: abs}, err
}

func parseSchemed(s string) (*location, error) {
	u, err := url.Parse(s)
	if err != nil {
		// url.Parse repeats the URL, with a password if there is one.
		return nil, fmt.Errorf("the repository URL can't be parsed")
	}
	l := &location{scheme: strings.ToLower(u.Scheme), path: u.Path, text: u.Redacted()}
	if u.User != nil {
		l.user = u.User.Username()
		l.secret, _ = u.User.Password()
	}
	if l.scheme == "file" {
		if u.Host != "" && u.Host != "localhost" {
			return nil, fmt.Errorf("%s: file URLs name a path on this machine: file:///path", l.text)
		}
		l.scheme = "local"
		return l, nil
	}
	port, ok := map[string]string{"git": "9418", "ssh": "22", "git+ssh": "22", "ssh+git": "22", "http": "80", "https": "443"}[l.scheme]
	if !ok {
		return nil, fmt.Errorf("%s: scheme %q is none of https, http, ssh, git, file", l.text, u.Scheme)
	}
	if strings.Contains(l.scheme, "+") {
		l.scheme = "ssh"
	}
	if u.Hostname() == "" || strings.Trim(u.Path, "/") == "" {
		return nil, fmt.Errorf("%s: host or path is missing", l.text)
	}
	if u.Port() != "" {
		port = u.Port()
	}
	l.host = withPort(u.Hostname(), port)
	if strings.HasPrefix(l.path, "/~") && l.scheme == "ssh" {
		l.path = l.path[1:]
	}
	return l, nil
}

func withPort(host, port string) string {
	host = strings.Trim(host, "[]")
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return host + ":" + port
}
