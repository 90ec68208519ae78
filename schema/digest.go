package schema

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"slices"
)

// DigestVersion is the prefix of every digest. It changes only together with
// the canonical form, and then every instance is replaced once.
const DigestVersion = "v1:"

// Digest hashes the fields that a user wrote. The input of SHA-256 is, for each
// field sorted by name: the name, a zero byte, the value as canonical JSON, a
// zero byte. Names and JSON never hold a zero byte, so no two sets of fields
// share an input.
func Digest(fields map[string]string) string {
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		h.Write([]byte(name))
		h.Write([]byte{0})
		h.Write([]byte(fields[name]))
		h.Write([]byte{0})
	}
	return DigestVersion + hex.EncodeToString(h.Sum(nil))
}

// Canonical gives the one JSON form of a value made of strings, booleans,
// int64, []any and map[string]any: no spaces, keys sorted, nothing escaped
// that needn't be. A value that JSON has no form for is a programming error and
// panics.
func Canonical(v any) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic("schema: value without canonical form: " + err.Error())
	}
	return string(bytes.TrimSuffix(b.Bytes(), []byte("\n")))
}
