//go:build !race

package router

// raced says that the race detector is on: pools forget then on purpose.
const raced = false
