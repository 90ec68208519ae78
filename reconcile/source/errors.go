package source

import (
	"errors"
	"fmt"
)

// Class says what kind of trouble kept a revision from being fetched, so that a
// caller can choose when to try again.
type Class string

// The classes of a FetchError.
const (
	ClassNetwork Class = "network" // the remote didn't answer, or not in time; retry with backoff
	ClassAuth    Class = "auth"    // the remote refused the credentials, or its host key is not known
	ClassCorrupt Class = "corrupt" // objects are damaged or missing, here or at the remote
	ClassDisk    Class = "disk"    // no room, or the mirror can't be written
	ClassConfig  Class = "config"  // wrong URL, branch, path or key file; a person has to act
)

// Errors inside a FetchError of ClassConfig that callers may want to tell apart.
var (
	ErrEmptyRemote = errors.New("the remote repository has no commits")
	ErrNoBranch    = errors.New("the remote has no such branch")
	ErrNoPath      = errors.New("the revision has no such directory")
	ErrNoRevision  = errors.New("no such revision in the mirror")
	ErrTooBig      = errors.New("over the size limit")
	ErrLocked      = errors.New("the mirror is in use by another process")
)

// FetchError says that the state of the remote could not be learnt. What runs
// stays as it is; the mirror is kept unless it is ClassCorrupt.
type FetchError struct {
	Class Class
	URL   string // without credentials
	Err   error
	Hint  string // the next thing to do, one sentence; "" when waiting is all
}

// Error names the remote and the cause.
func (e *FetchError) Error() string { return fmt.Sprintf("fetch %s: %v", e.URL, e.Err) }

// Unwrap gives the cause.
func (e *FetchError) Unwrap() error { return e.Err }

// Kind says which rule refused a revision.
type Kind string

// The kinds of a RefusedError.
const (
	KindRewind    Kind = "rewind"    // not a descendant of what was accepted last
	KindSignature Kind = "signature" // no valid signature by an allowed signer
	KindContent   Kind = "content"   // its tree holds what a revision must not hold
)

// RefusedError says that a revision was fetched but breaks a rule of trust. It
// stays refused until the branch moves or a person acts; retrying won't help.
type RefusedError struct {
	Kind     Kind
	Revision string // "" for a working tree
	Reason   string
	Hint     string // the command that gets out of it
}

// Error names the revision and the rule it breaks.
func (e *RefusedError) Error() string {
	if e.Revision == "" {
		return "working tree refused: " + e.Reason
	}
	return fmt.Sprintf("revision %s refused: %s", short(e.Revision), e.Reason)
}

// corruptError marks damage of stored objects. Cause is a stable short name, by
// which repairs are counted.
type corruptError struct {
	cause string
	err   error
}

func (e *corruptError) Error() string { return e.cause + ": " + e.err.Error() }
func (e *corruptError) Unwrap() error { return e.err }

func corrupt(cause string, err error) error { return &corruptError{cause, err} }

func short(revision string) string {
	if len(revision) > 12 {
		return revision[:12]
	}
	return revision
}
