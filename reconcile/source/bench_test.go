package source

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// bigRepo is a bare repository of 5,000 files in 50 directories and some history.
// Its function adds a commit that changes one file.
func bigRepo(b *testing.B, commits int) (bare string, edit func()) {
	b.Helper()
	base := b.TempDir()
	bare = filepath.Join(base, "r.git")
	runGit(b, base, "init", "-q", "--bare", "-b", "main", bare)
	text := func(i, n int) string {
		return fmt.Sprintf("# service %d\ncommand = \"/usr/bin/serve\"\nargs = [\"--port\", \"{port}\"]\nrevision = %d\n%s", i, n, bytes.Repeat([]byte("note = \"x\"\n"), 60))
	}
	var in bytes.Buffer
	blob := func(i, n int) {
		s := text(i, n)
		fmt.Fprintf(&in, "M 100644 inline d%02d/s%04d.toml\ndata %d\n%s\n", i%50, i, len(s), s)
	}
	head := func(n int) {
		fmt.Fprintf(&in, "commit refs/heads/main\ncommitter Ann <ann@example.com> %d +0000\ndata 2\nc\n", 1700000000+n)
		if n > 0 && in.Len() < 200 {
			in.WriteString("from refs/heads/main^0\n")
		}
	}
	head(0)
	for i := range 5000 {
		blob(i, 0)
	}
	n := 1
	for ; n < commits; n++ {
		fmt.Fprintf(&in, "commit refs/heads/main\ncommitter Ann <ann@example.com> %d +0000\ndata 2\nc\n", 1700000000+n)
		blob(n*7%5000, n)
	}
	fastImport(b, bare, &in)
	runGit(b, bare, "gc", "-q")
	return bare, func() {
		in.Reset()
		head(n)
		blob(n*7%5000, n)
		n++
		fastImport(b, bare, &in)
	}
}

// BenchmarkFetchDelta fetches a one-commit change of a 5,000-file repository, and
// has git fetch the same.
func BenchmarkFetchDelta(b *testing.B) {
	for _, kind := range []string{"daemon", "local"} {
		b.Run(kind, func(b *testing.B) {
			bare, edit := bigRepo(b, 300)
			url := bare
			peerURL := "file://" + bare
			if kind == "daemon" {
				url = gitDaemon(b, filepath.Dir(bare)) + "/r.git"
				peerURL = url
			}
			peer := filepath.Join(b.TempDir(), "peer.git")
			runGit(b, b.TempDir(), "clone", "-q", "--mirror", peerURL, peer)
			g, err := NewGit(GitConfig{URL: url, MirrorDir: b.TempDir()})
			if err != nil {
				b.Fatal(err)
			}
			defer g.Close()
			anchor := ""
			look := func() {
				s, err := g.Latest(b.Context(), Anchor{Revision: anchor})
				if err != nil {
					b.Fatal(err)
				}
				anchor = s.Anchor
			}
			start := time.Now()
			look()
			b.ReportMetric(float64(time.Since(start).Microseconds())/1000, "ms/clone")
			var theirs time.Duration
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				edit()
				start := time.Now()
				runGit(b, peer, "fetch", "-q")
				theirs += time.Since(start)
				b.StartTimer()
				look()
			}
			ours := float64(b.Elapsed().Microseconds()) / 1000 / float64(b.N)
			git := float64(theirs.Microseconds()) / 1000 / float64(b.N)
			b.ReportMetric(ours, "ms/fetch")
			b.ReportMetric(git, "git-ms/fetch")
			b.ReportMetric(ours/git, "x-git")
		})
	}
}

// BenchmarkNothingNew looks at a remote that did not move.
func BenchmarkNothingNew(b *testing.B) {
	for _, kind := range []string{"daemon", "local"} {
		b.Run(kind, func(b *testing.B) {
			bare, _ := bigRepo(b, 2)
			url := bare
			if kind == "daemon" {
				url = gitDaemon(b, filepath.Dir(bare)) + "/r.git"
			}
			g, err := NewGit(GitConfig{URL: url, MirrorDir: b.TempDir()})
			if err != nil {
				b.Fatal(err)
			}
			defer g.Close()
			first, err := g.Latest(b.Context(), Anchor{})
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				s, err := g.Latest(b.Context(), Anchor{Revision: first.Revision})
				if err != nil || s != first {
					b.Fatal(s, err)
				}
			}
		})
	}
}

// BenchmarkReadAll reads every file of a revision, verified.
func BenchmarkReadAll(b *testing.B) {
	bare, _ := bigRepo(b, 300)
	g, err := NewGit(GitConfig{URL: bare, MirrorDir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer g.Close()
	s, err := g.Latest(b.Context(), Anchor{})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		err := fs.WalkDir(s.Tree, ".", func(p string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				_, err = s.Tree.ReadFile(p)
			}
			return err
		})
		if err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkOpenDir takes a snapshot of a 5,000-file working tree: all of it, and
// again with nothing changed.
func BenchmarkOpenDir(b *testing.B) {
	dir := b.TempDir()
	old := time.Now().Add(-time.Hour)
	for i := range 5000 {
		name := filepath.Join(dir, fmt.Sprintf("d%02d/s%04d.toml", i%50, i))
		writeFile(b, name, string(bytes.Repeat([]byte(fmt.Sprintf("note = %d\n", i)), 60)))
		os.Chtimes(name, old, old)
	}
	b.Run("cold", func(b *testing.B) {
		for b.Loop() {
			if _, err := OpenDir(dir, DirOptions{}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("again", func(b *testing.B) {
		d, err := NewDir(DirConfig{Dir: dir})
		if err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			if _, err := d.Latest(b.Context(), Anchor{}); err != nil {
				b.Fatal(err)
			}
		}
	})
}
