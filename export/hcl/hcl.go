// Package hcl writes attributes of HCL for the targets that speak it: a value
// stands in them exactly, and what is empty is left out.
package hcl

import (
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/hclwrite"
	"github.com/zclconf/go-cty/cty"
)

// NotExact says why a text that fails Exact is refused, and the way out.
const (
	NotExact = "HCL changes text that is not in Unicode's form NFC"
	WayOut   = "write it in NFC, or encode it and decode it in the program"
)

// Exact reports whether a text is read as it was written: HCL normalises it to
// NFC, so that an e and an accent become one letter.
func Exact(s string) bool { return cty.StringVal(s).AsString() == s }

// Each formats n pieces on all processors, since the formatter is what an export
// spends its time on, and gives them in their order.
func Each(n int, piece func(i int) *hclwrite.File) [][]byte {
	out := make([][]byte, n)
	var next atomic.Int64
	var group sync.WaitGroup
	for range min(n, runtime.GOMAXPROCS(0)) {
		group.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				out[i] = hclwrite.Format(piece(i).Bytes())
			}
		})
	}
	group.Wait()
	return out
}

// Word sets a text that is there.
func Word(body *hclwrite.Body, name, value string) {
	if value != "" {
		body.SetAttributeValue(name, cty.StringVal(value))
	}
}

// Number sets a number that is not zero.
func Number(body *hclwrite.Body, name string, value int) {
	if value != 0 {
		body.SetAttributeValue(name, cty.NumberIntVal(int64(value)))
	}
}

// List sets a list that has entries, a line for each where there are several.
func List(body *hclwrite.Body, name string, values []string) {
	if len(values) == 0 {
		return
	}
	if len(values) == 1 {
		body.SetAttributeValue(name, cty.TupleVal([]cty.Value{cty.StringVal(values[0])}))
		return
	}
	newline := &hclwrite.Token{Type: hclsyntax.TokenNewline, Bytes: []byte("\n")}
	tokens := hclwrite.Tokens{{Type: hclsyntax.TokenOBrack, Bytes: []byte("[")}, newline}
	for _, v := range values {
		tokens = append(tokens, hclwrite.TokensForValue(cty.StringVal(v))...)
		tokens = append(tokens, &hclwrite.Token{Type: hclsyntax.TokenComma, Bytes: []byte(",")}, newline)
	}
	body.SetAttributeRaw(name, append(tokens, &hclwrite.Token{Type: hclsyntax.TokenCBrack, Bytes: []byte("]")}))
}
