// Package source says where a revision comes from: a git remote, or a working
// tree at somebody's desk. It hands out a Snapshot only when the revision was
// fetched whole, walked strictly and passed the trust rules; everything else is
// an error, never a smaller tree.
package source

import (
	"io/fs"
	"time"
)

// Tree is a read-only file tree whose files and directories carry git object
// ids, so that "did it change" costs no reading. Reads verify content against
// the id. Symbolic links are entries of their own and are not followed.
type Tree interface {
	fs.ReadDirFS
	fs.ReadFileFS
	fs.StatFS
	// ID is the git object id (40 hex digits) of the file or directory at a
	// slash path; "." is the root. fs.ErrNotExist where there is none.
	ID(path string) (string, error)
	// ReadLink gives the target of the symbolic link at path, as stored.
	ReadLink(path string) (string, error)
}

// Snapshot is one verified revision: complete and immutable.
type Snapshot struct {
	// Revision is the commit's hash, or "dir-" and the first 12 digits of the
	// tree's id for a working tree.
	Revision string
	Subject  string // first line of the commit message
	Author   string
	Time     time.Time
	Signer   string // who signed it, by allowed_signers; "" when not asked for
	Dirty    bool   // a working tree, not a commit
	Ahead    int    // commits between the anchor it was fetched against and it; -1 unknown
	// Branch is where it was found: the configured branch, or "host/NAME" when
	// this host's own branch lies on top of it. "" for a working tree.
	Branch string
	// Anchor is the revision to keep as the next Anchor once this one is
	// accepted: the head of the configured branch, also when Revision is a
	// commit of a host branch above it (which may be reset at will).
	Anchor string
	// Notice says what a person should know although the revision is good, such
	// as a host branch that was ignored and why. "" when there is nothing.
	Notice string
	Tree   Tree
}
