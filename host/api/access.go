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

// need is what a route asks of its caller. The zero value is met by nobody but
// those who may do anything, so that a route that says nothing is closed.
type need int

const (
	needAct     need = iota // the whole host, to act on it
	needLook                // the whole host, to look at it
	needOwnAct              // an instance, to act on it; the handler asks mayTouch
	needOwnLook             // an instance, to look at it; the handler shows what mayTouch allows
	needNothing
)

// caller is who asks: of a socket as found when the connection was made, on the
// network by the token of the request.
type caller struct {
	look, act bool   // the whole host
	tenant    string // else the instances of this id, in any service
	name      string // for people, and for the audit log
	source    string // where from
	token     string // the id of the one that was shown, "" for none
	// serving ends with the daemon, not with the request.
	serving context.Context
}

type callerKey struct{}

// socketSource is the source of those who came through the host's own socket.
const socketSource = "socket"

// identify runs once a connection. Peer credentials are those of the moment of
// connecting, so a request can't borrow the rights of a later process.
func identify(ctx context.Context, c net.Conn) context.Context {
	who := caller{serving: ctx, source: socketSource}
	if p, err := peerOf(c); err == nil {
		who.name = userName(p.uid)
		who.look = true
		who.act = p.uid == 0 || p.uid == os.Getuid()
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

func (c caller) unknown() bool { return !c.look && !c.act && c.tenant == "" }

// mayTouch reports whether an instance is the caller's to look at.
func (c caller) mayTouch(id string) bool { return c.look || c.tenant != "" && c.tenant == id }

// permit refuses callers who lack what a route needs.
func permit(r *http.Request, n need) error {
	who := callerOf(r)
	switch {
	case n == needNothing,
		n == needAct && who.act,
		n == needLook && who.look,
		n == needOwnAct && (who.act || who.tenant != ""),
		n == needOwnLook && (who.look || who.tenant != ""):
		return nil
	case who.unknown():
		return &Error{Code: CodeNoToken, Message: "this address does not know who you are", Hint: "use the socket in the data directory: --data-dir DIR, or a token: --token TOKEN"}
	case who.tenant != "":
		return &Error{Code: CodeForbidden, Message: "this needs an admin token; a tenant token may access only instance " + who.tenant}
	}
	return &Error{
		Code:    CodeForbidden,
		Message: fmt.Sprintf("%s may look at this daemon but not act on it", who.name),
		Hint:    fmt.Sprintf("run the command as %s or as root", userName(os.Getuid())),
	}
}

// own refuses an instance that is not the caller's.
func own(r *http.Request, id string) error {
	who := callerOf(r)
	if who.mayTouch(id) {
		return nil
	}
	return &Error{Code: CodeForbidden, Message: "a tenant token may access only instance " + who.tenant}
}

func userName(uid int) string {
	id := strconv.Itoa(uid)
	if u, err := user.LookupId(id); err == nil {
		return u.Username
	}
	return "uid " + id
}
