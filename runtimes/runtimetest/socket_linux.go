package runtimetest

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/tenement/ten/runtimes"
)

// onSocket runs a python program that does something about its socket, s, in its
// data directory, and waits until it has.
func (b *bench) onSocket(generation uint64, script string) runtimes.Spec {
	b.Helper()
	spec := b.python("import os, socket, time\n" + script + `
open("done.new", "w").close(); os.rename("done.new", "done")
time.sleep(1000)`)
	spec.Socket, spec.Key.Generation = filepath.Join(b.data, "s"), generation
	os.Remove(filepath.Join(b.data, "done"))
	b.start(spec)
	b.eventually("the program to be ready", func() bool {
		_, err := os.Stat(filepath.Join(b.data, "done"))
		return err == nil
	})
	return spec
}

// dialFollowsNoLink has a program put a link to a socket that it can't reach, such
// as the daemon's own, where its own is looked for. Who follows it is there, with
// the daemon's rights; Dial is not, unless the level has no wall.
func dialFollowsNoLink(b *bench) {
	secret := filepath.Join(filepath.Dir(b.data), "secret")
	l, err := net.Listen("unix", secret)
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	go func() {
		for c, err := l.Accept(); err == nil; c, err = l.Accept() {
			io.WriteString(c, "secret\n")
			c.Close()
		}
	}()
	for i, link := range []string{
		fmt.Sprintf("os.symlink(%q, 's')", secret),
		"os.symlink('../secret', 's')",
		"os.symlink('/proc/self/root' + os.path.abspath('../secret'), 's')",
	} {
		spec := b.onSocket(uint64(i+1), link)
		if said := greeting(net.Dial("unix", spec.Socket)); said != "secret\n" {
			b.Errorf("%s: who follows the link gets %q: the attack is none", link, said)
		}
		said := greeting(b.dialer().Dial(b.ctx(), spec.Key, "unix", spec.Socket))
		if walled := b.level != runtimes.Process; walled == (said == "secret\n") {
			b.Errorf("%s: Dial gives %q", link, said)
		} else if walled && !strings.Contains(said, "leads out") {
			b.Errorf("%s: Dial says %q, and not why", link, said)
		}
		b.stop(spec.Key)
		os.Remove(spec.Socket)
	}
	inner := b.onSocket(9, `s = socket.socket(socket.AF_UNIX); s.bind("t"); s.listen(); os.symlink("t", "s")`)
	if c, err := b.dialer().Dial(b.ctx(), inner.Key, "unix", inner.Socket); err != nil {
		b.Errorf("a link that stays inside: %v", err)
	} else {
		c.Close()
	}
}

// desertedSocket: what a program left where it listened makes room for the next,
// and what is no socket, or another's, stays.
func desertedSocket(b *bench) {
	const listen = `s = socket.socket(socket.AF_UNIX); s.bind("s"); s.listen()`
	first := b.onSocket(1, listen)
	b.stop(first.Key)
	if _, err := os.Lstat(first.Socket); err != nil {
		b.Fatalf("the program's socket is gone before it makes room: %v", err)
	}
	second := b.onSocket(2, listen)
	b.stop(second.Key)
	os.Remove(second.Socket)

	live, err := net.Listen("unix", second.Socket)
	if err != nil {
		b.Fatal(err)
	}
	b.stop(b.onSocket(3, "").Key)
	if c, err := net.Dial("unix", second.Socket); err != nil {
		b.Errorf("another's socket: %v", err)
	} else {
		c.Close()
	}
	live.Close()
	if err := os.WriteFile(second.Socket, []byte("kept"), 0o600); err != nil {
		b.Fatal(err)
	}
	b.stop(b.onSocket(4, "").Key)
	if got, err := os.ReadFile(second.Socket); string(got) != "kept" {
		b.Errorf("the file in its way is %q, %v", got, err)
	}
}
