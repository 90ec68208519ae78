package api

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"

	"github.com/tenement/ten/runtimes"
)

// Code is what programs branch on in an Error. The list is closed.
type Code string

// The codes.
const (
	CodeInvalid   Code = "invalid"    // the request makes no sense
	CodeNoToken   Code = "no-token"   // nobody knows who asks
	CodeForbidden Code = "forbidden"  // known, but may not
	CodeNotFound  Code = "not-found"  // no such service, instance, revision or address
	CodeStale     Code = "stale-plan" // the world moved since the plan that was shown
	CodeRefused   Code = "refused"    // understood, allowed, and still not done
	CodeBusy      Code = "busy"       // try again
	CodeInternal  Code = "internal"   // a fault of ten or its machine
)

func (c Code) status() int {
	switch c {
	case CodeInvalid:
		return http.StatusBadRequest
	case CodeNoToken:
		return http.StatusUnauthorized
	case CodeForbidden:
		return http.StatusForbidden
	case CodeNotFound:
		return http.StatusNotFound
	case CodeStale, CodeRefused:
		return http.StatusConflict
	case CodeBusy:
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}

// Error is an answer that is not what was asked for. An Actor or Viewer returns
// it to say more than text; it reaches the client as the same type.
type Error struct {
	Code    Code   `json:"code"`
	Message string `json:"error"`
	Hint    string `json:"hint,omitempty"`
}

func (e *Error) Error() string { return e.Message }

// asError gives every error a code and keeps the hint of those that have one.
func asError(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return &Error{Code: e.Code, Message: err.Error(), Hint: e.Hint}
	}
	e := &Error{Code: CodeInternal, Message: err.Error()}
	if u, ok := errors.AsType[*runtimes.UnsupportedError](err); ok {
		e.Code, e.Hint = CodeRefused, u.Hint
	} else if s, ok := errors.AsType[*runtimes.StartError](err); ok {
		e.Hint = s.Hint
	} else if errors.Is(err, runtimes.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
		e.Code = CodeNotFound
	} else if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		e.Code = CodeBusy
	}
	return e
}

// NotRunningError says that no daemon answers where one was looked for.
type NotRunningError struct {
	Where string // the socket's path or the URL
	Err   error
}

func (e *NotRunningError) Error() string { return "no daemon answers at " + e.Where }

func (e *NotRunningError) Unwrap() error { return e.Err }

// RunningError says that the data directory belongs to a live daemon already.
type RunningError struct {
	DataDir string
	Pid     int // 0 where the kernel doesn't tell
}

func (e *RunningError) Error() string {
	if e.Pid == 0 {
		return fmt.Sprintf("a daemon is already running on %s", e.DataDir)
	}
	return fmt.Sprintf("a daemon is already running on %s (pid %d)", e.DataDir, e.Pid)
}
