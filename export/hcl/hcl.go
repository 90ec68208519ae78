// Package hcl writes HCL for the targets that speak it, in the layout of the
// language's own formatter, in one pass: a value stands in it exactly, and what is
// empty is left out. Its tests have hclwrite and the parser judge what it writes.
package hcl

import "golang.org/x/text/unicode/norm"

// NotExact says why a text that fails Exact is refused, and the way out.
const (
	NotExact = "HCL changes text that is not in Unicode's form NFC"
	WayOut   = "write it in NFC, or encode it and decode it in the program"
)

// Exact reports whether a text is read as it was written: HCL normalises it to
// NFC, so that an e and an accent become one letter.
func Exact(s string) bool { return norm.NFC.String(s) == s }
