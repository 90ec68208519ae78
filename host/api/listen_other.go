//go:build !linux

package api

import (
	"context"
	"fmt"
	"net"
	"os"
)

// socketMode keeps everybody but the owner out, because there is no portable
// way here to ask who connected: who gets in is the owner or root.
const socketMode = 0o600

func listenUnix(path string) (*net.UnixListener, error) {
	l, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: path})
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, socketMode); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

func dialUnix(ctx context.Context, path string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "unix", path)
}

// peerOf takes whoever passed the socket's mode for its owner.
func peerOf(c net.Conn) (peer, error) {
	if _, ok := c.(*net.UnixConn); !ok {
		return peer{}, fmt.Errorf("no peer credentials on a %T", c)
	}
	return peer{uid: os.Getuid()}, nil
}
