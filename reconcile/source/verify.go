package source

import (
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// SignMode says which commits must be signed.
type SignMode string

// The sign modes.
const (
	SignHead  SignMode = "head"  // the head vouches for what is below it
	SignRange SignMode = "range" // every commit since the anchor; without one, the head
)

type signers struct{}

func (s *signers) digest() string { return "" }

func (g *Git) signers() (*signers, error) { return &signers{}, nil }

func (g *Git) signed(h history, head plumbing.Hash, commits []*object.Commit, s *signers) (string, error) {
	return "", nil
}
