package router

import "unsafe"

// view is b as a string without a copy. It is valid while b is not written to,
// so it is never kept: what outlives the request is cloned.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// equalFold compares ASCII without case; want is in lower case.
func equalFold(b []byte, want string) bool {
	if len(b) != len(want) {
		return false
	}
	for i := range b {
		if lowerByte(b[i]) != want[i] {
			return false
		}
	}
	return true
}

func lowerByte(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + ('a' - 'A')
	}
	return c
}
