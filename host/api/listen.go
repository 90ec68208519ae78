package api

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
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
	return &listener{Listener: l, path: path, lock: lock}, nil
}

// ListenOn is Listen with the socket that a service manager opened and keeps:
// closing the listener leaves it in place, so that whoever asks meanwhile waits
// for the next daemon.
func ListenOn(dataDir string, passed net.Listener) (net.Listener, error) {
	if got, want := passed.Addr().String(), SocketPath(dataDir); got != want {
		return nil, fmt.Errorf("the service manager passed the socket %s: this data directory's is %s; put that into ListenStream= of the socket's unit", got, want)
	}
	lock, err := Lock(dataDir)
	if err != nil {
		return nil, err
	}
	return &listener{Listener: passed, lock: lock}, nil
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
			return lock, sign(lock)
		}
		if !errors.Is(err, unix.EWOULDBLOCK) || time.Now().After(end) {
			break
		}
	}
	defer lock.Close()
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, &RunningError{DataDir: dataDir, Pid: signature(lock)}
	}
	return nil, fmt.Errorf("lock %s: %w", lock.Name(), err)
}

// sign writes down who holds the lock. Who listens on the socket would not tell:
// that may be the service manager.
func sign(lock *os.File) error {
	err := lock.Truncate(0)
	if err == nil {
		_, err = lock.WriteAt([]byte(strconv.Itoa(os.Getpid())), 0)
	}
	if err != nil && !errors.Is(err, unix.ENOSPC) { // on a full disk it goes without
		lock.Close()
		return fmt.Errorf("lock the data directory: %w", err)
	}
	return nil
}

// signature is the process that holds the lock; 0 if that is not written there.
func signature(lock *os.File) int {
	text := make([]byte, 20)
	n, _ := lock.ReadAt(text, 0)
	pid, _ := strconv.Atoi(string(text[:n]))
	return pid
}

// listener removes its socket before it frees the directory, so that it never
// removes the socket of the next daemon.
type listener struct {
	net.Listener
	path string // of the socket to remove; "" = it is the service manager's
	lock *os.File
	once sync.Once
}

func (l *listener) Close() error {
	err := net.ErrClosed
	l.once.Do(func() {
		err = l.Listener.Close()
		if l.path != "" {
			os.Remove(l.path)
		}
		l.lock.Close()
	})
	return err
}

// peer is who is at the other end of a unix socket.
type peer struct {
	uid int
	pid int
}
