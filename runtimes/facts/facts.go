// Package facts looks at what a host can do for isolation levels, present and
// to come: for people who ask why something does not work. It changes nothing,
// and decides nothing: whether a level works its Check says.
package facts

// Fact is one thing that was looked at.
type Fact struct {
	Name   string // "landlock"
	OK     bool
	Detail string // what was found
	Hint   string // how to have it, where it is missing
}
