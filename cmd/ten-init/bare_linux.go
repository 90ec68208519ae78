//go:build amd64 || arm64

package main

//lint:file-ignore U1000 used by bare_GOARCH.s and the linker

// entry is where the kernel enters the program when it was linked with
// -E main.entry. It does not return.
func entry()

// What entry hands to compiled code: a g that is all zero, and the block the
// thread pointer points into.
var (
	g0  [128]uint64
	tls [16]uint64
)
