package notify

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"
)

// Variable is where an instance learns of the socket.
const Variable = "NOTIFY_SOCKET"

// Say sends a message to the daemon's socket and waits until it was heard: a
// sender that ends sooner may not be recognised any more.
func Say(ctx context.Context, socket, message string) error {
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("speak to the daemon: %w", err)
	}
	defer conn.Close()
	heard, held, err := os.Pipe()
	if err != nil {
		return err
	}
	defer heard.Close()
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetWriteDeadline(deadline)
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var sent error
	err = raw.Write(func(fd uintptr) bool {
		sent = syscall.Sendmsg(int(fd), []byte(message), syscall.UnixRights(int(held.Fd())), nil, 0)
		return !errors.Is(sent, syscall.EAGAIN)
	})
	held.Close()
	if err = errors.Join(err, sent); err != nil {
		return fmt.Errorf("speak to the daemon: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { heard.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	// The daemon closes its copy of the other end, and so does its death.
	if _, err := heard.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("speak to the daemon: %w", context.Cause(ctx))
	}
	return nil
}
