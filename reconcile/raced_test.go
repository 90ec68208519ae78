//go:build race

package reconcile

import "time"

// raced says that the race detector looks on, which takes ten times as long and
// can follow only so many goroutines.
const raced = true

// long is a time in which whatever comes late would have come.
const long = 15 * time.Minute
