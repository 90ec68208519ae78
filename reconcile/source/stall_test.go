package source

import (
	"context"
	"errors"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
)

// TestForgottenCache reads on after the unpacked objects were dropped.
func TestForgottenCache(t *testing.T) {
	t.Parallel()
	s := newServed(t)
	_, _, want := sample(s)
	g := follow(t, GitConfig{URL: s.bare})
	a := latest(t, g, "")
	for range 2 {
		same(t, a.Tree, want)
		g.mirror.store.forget()
	}
}

// stalling is a server that sends a little and then nothing.
type stalling struct{ head plumbing.Hash }

func (s stalling) refs() *refs { return &refs{heads: map[string]plumbing.Hash{"main": s.head}} }
func (s stalling) close()      {}
func (s stalling) fetch(ctx context.Context, _ request, sink func(io.Reader) error) error {
	return sink(&drip{ctx, 5})
}

// drip gives a byte just before patience ends, a few times, and then nothing.
type drip struct {
	ctx  context.Context
	left int
}

func (d *drip) Read(p []byte) (int, error) {
	if d.left--; d.left < 0 {
		<-d.ctx.Done()
		return 0, context.Cause(d.ctx)
	}
	time.Sleep(stallTime - time.Second)
	p[0] = 'P'
	return 1, nil
}

// TestStall lets a slow server take its time, and gives up on one that is silent.
func TestStall(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		g, err := NewGit(GitConfig{URL: "git://host/x", MirrorDir: dir})
		if err != nil {
			t.Fatal(err)
		}
		m := &mirror{root: dir, limits: g.cfg.Limits}
		if err := m.create(); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		err = g.receive(t.Context(), stalling{}, m, request{})
		if !errors.Is(err, errStalled) {
			t.Error(err)
		}
		if d := time.Since(start); d != 6*stallTime-5*time.Second {
			t.Errorf("gave up after %s", d)
		}
	})
}

// TestBrokenOff cuts the connection at many places: always the network's fault.
func TestBrokenOff(t *testing.T) {
	t.Parallel()
	s := newServed(t)
	sample(s)
	backend := strings.TrimPrefix(gitDaemon(t, filepath.Dir(s.bare)), "git://")
	for _, after := range []int{0, 3, 40, 250, 400, 700, 1500} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		go func() {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			defer conn.Close()
			up, err := net.Dial("tcp", backend)
			if err != nil {
				return
			}
			defer up.Close()
			go io.Copy(up, conn)
			io.CopyN(conn, up, int64(after))
		}()
		m := filepath.Join(t.TempDir(), "mirror")
		_, err = follow(t, GitConfig{URL: "git://" + l.Addr().String() + "/r.git", MirrorDir: m}).Latest(t.Context(), Anchor{})
		fetchError(t, err, ClassNetwork)
		clean(t, m)
	}
}
