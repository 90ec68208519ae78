package tokens

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strings"

	"golang.org/x/crypto/argon2"
)

// What one hashing takes: some 20 ms and 19 MB, the least that is advised for
// passwords. A token of 256 bits would bear less.
const (
	hashTime    = 2
	hashMemory  = 19 << 10 // KB
	hashThreads = 1
	hashLength  = 32
	saltLength  = 16
	// maxProving bounds how many go on at once, and with it the memory.
	maxProving = 2
	// What a kept hash may ask for, so that a damaged one can't take the machine.
	maxTime   = 16
	maxMemory = 256 << 10
)

// newHash gives the Argon2id hash of a token in the usual text form.
func newHash(token string) string {
	salt := make([]byte, saltLength)
	rand.Read(salt) // never fails
	key := argon2.IDKey([]byte(token), salt, hashTime, hashMemory, hashThreads, hashLength)
	enc := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s",
		argon2.Version, hashMemory, hashTime, hashThreads, enc.EncodeToString(salt), enc.EncodeToString(key))
}

// matches reports whether hash is that of token, whatever its parameters. A hash
// that can't be read matches nothing.
func matches(hash, token string) bool {
	parts := strings.Split(hash, "$")
	if len(parts) != 6 || parts[1] != "argon2id" {
		return false
	}
	var version int
	var memory, rounds uint32
	var threads uint8
	if _, err := fmt.Sscanf(parts[2], "v=%d", &version); err != nil || version != argon2.Version {
		return false
	}
	if _, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &memory, &rounds, &threads); err != nil {
		return false
	}
	salt, serr := base64.RawStdEncoding.DecodeString(parts[4])
	want, werr := base64.RawStdEncoding.DecodeString(parts[5])
	if serr != nil || werr != nil || len(want) < 16 || rounds == 0 || rounds > maxTime || memory > maxMemory || threads == 0 {
		return false
	}
	got := argon2.IDKey([]byte(token), salt, rounds, memory, threads, uint32(len(want)))
	return subtle.ConstantTimeCompare(got, want) == 1
}
