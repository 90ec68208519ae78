package api

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// SocketName is the socket's file name in the data directory.
const SocketName = "ten.sock"

// lockName is held by flock for as long as a daemon listens. The socket alone
// can't tell a daemon that starts from one that died.
const lockName = "ten.lock"

// SocketPath is where the daemon of a data directory listens.
func SocketPath(dataDir string) string { return filepath.Join(dataDir, SocketName) }

// Listen takes the data directory, which must exist, for this process and opens
// its socket. A socket that a dead daemon left is replaced; a live daemon is a
// *RunningError. Closing the listener removes the socket and frees the directory.
func Listen(dataDir string) (net.Listener, error) {
	lock, err := Lock(dataDir)
	if err != nil {
		return nil, err
	}
	path := SocketPath(dataDir)
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		lock.Close()
		return nil, fmt.Errorf("replace the stale socket: %w", err)
	}
	l, err := listenUnix(path)
	if err != nil {
		lock.Close()
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	l.SetUnlinkOnClose(false) // it would unlink by a name that may be gone
	return &listener{UnixListener: l, path: path, lock: lock}, nil
}

// lockPatience is how long a directory may seem taken by a daemon that was just
// killed: what it was starting at that moment holds copies of its files until it
// has executed its own program.
const lockPatience = time.Second

// Lock takes the data directory, which must exist, for this process until the
// file is closed, or is a *RunningError. No daemon starts on it meanwhile.
func Lock(dataDir string) (*os.File, error) {
	lock, err := os.OpenFile(filepath.Join(dataDir, lockName), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the data directory: %w", err)
	}
	for end := time.Now().Add(lockPatience); ; time.Sleep(lockPatience / 50) {
		err = unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return lock, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) || time.Now().After(end) {
			break
		}
	}
	lock.Close()
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, &RunningError{DataDir: dataDir, Pid: listenerPid(SocketPath(dataDir))}
	}
	return nil, fmt.Errorf("lock %s: %w", lock.Name(), err)
}

// listenerPid asks the kernel who listens on the socket at path; 0 if it won't say.
func listenerPid(path string) int {
	conn, err := dialUnix(context.Background(), path)
	if err != nil {
		return 0
	}
	defer conn.Close()
	p, err := peerOf(conn)
	if err != nil {
		return 0
	}
	return p.pid
}

// listener removes its socket before it frees the directory, so that it never
// removes the socket of the next daemon.
type listener struct {
	*net.UnixListener
	path string
	lock *os.File
	once sync.Once
}

func (l *listener) Close() error {
	err := net.ErrClosed
	l.once.Do(func() {
		err = l.UnixListener.Close()
		os.Remove(l.path)
		l.lock.Close()
	})
	return err
}

// peer is who is at the other end of a unix socket.
type peer struct {
	uid int
	pid int
}
