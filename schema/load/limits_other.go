//go:build !linux

package load

// limitSelf leaves it to the parent's deadline: address space can't be bounded
// everywhere, and a Go program reserves more of it than it uses.
func limitSelf(memory, cpu uint64) error { return nil }
