//go:build race

package logs

// raced: the race detector multiplies what memory costs.
const raced = true
