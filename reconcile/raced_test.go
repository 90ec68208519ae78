//go:build race

package reconcile

// raced says that the race detector looks on, which takes ten times as long and
// can follow only so many goroutines.
const raced = true
