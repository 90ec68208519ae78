package api

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/user"
	"strconv"
)

// access is how much a caller may do.
type access int

const (
	accessNone access = iota
	accessRead
	accessAct
)

// caller is who asks, as found when the connection was made.
type caller struct {
	access access
	name   string
	// serving ends with the daemon, not with the request.
	serving context.Context
}

type callerKey struct{}

// identify runs once a connection. Peer credentials are those of the moment of
// connecting, so a request can't borrow the rights of a later process.
func identify(ctx context.Context, c net.Conn) context.Context {
	who := caller{serving: ctx}
	if p, err := peerOf(c); err == nil {
		who.name = userName(p.uid)
		who.access = accessRead
		if p.uid == 0 || p.uid == os.Getuid() {
			who.access = accessAct
		}
	}
	return context.WithValue(ctx, callerKey{}, who)
}

func callerOf(r *http.Request) caller {
	who, ok := r.Context().Value(callerKey{}).(caller)
	if !ok {
		return caller{serving: r.Context()}
	}
	return who
}

// permit refuses callers with less than need.
func permit(r *http.Request, need access) error {
	who := callerOf(r)
	switch {
	case who.access >= need:
		return nil
	case who.access == accessNone:
		return &Error{Code: CodeNoToken, Message: "this address does not know who you are", Hint: "use the socket in the data directory: --data-dir DIR"}
	}
	return &Error{
		Code:    CodeForbidden,
		Message: fmt.Sprintf("%s may look at this daemon but not act on it", who.name),
		Hint:    fmt.Sprintf("run the command as %s or as root", userName(os.Getuid())),
	}
}

func userName(uid int) string {
	id := strconv.Itoa(uid)
	if u, err := user.LookupId(id); err == nil {
		return u.Username
	}
	return "uid " + id
}
