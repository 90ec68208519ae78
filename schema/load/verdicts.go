package load

import (
	"crypto/sha256"
	"os"
	"path/filepath"
	"runtime/debug"

	"github.com/google/renameio/v2"

	"github.com/tenement/ten/schema"
)

// verdict is the hash of something that was judged good, together with what
// judged it.
type verdict [sha256.Size]byte

// maxVerdicts bounds what is remembered; beyond it only the last run's stay.
const maxVerdicts = 100_000

// verdicts is the set of good verdicts, in memory and, with a directory, in one
// file there. The file holds nothing but hashes: whatever it says, a service is
// read from the repository and checked by Go anew.
type verdicts struct {
	seed  [sha256.Size]byte // of the schema and what judges by it
	file  string            // "" = memory only
	known map[verdict]bool
	used  map[verdict]bool // asked for since the last save
	grew  bool             // something was added since it was opened
	dirty bool             // and not saved
}

// openVerdicts reads what an earlier process left. A file that can't be read or
// is cut short only costs time.
func openVerdicts(dir string) *verdicts {
	v := &verdicts{
		seed:  sha256.Sum256([]byte(cueVersion() + "\x00" + schema.CUE + "\x00" + schema.SlumCUE)),
		known: make(map[verdict]bool),
		used:  make(map[verdict]bool),
	}
	if dir == "" {
		return v
	}
	v.file = filepath.Join(dir, "verdicts")
	data, _ := os.ReadFile(v.file)
	if len(data)%sha256.Size != 0 || len(data) > maxVerdicts*sha256.Size {
		return v
	}
	for ; len(data) > 0; data = data[sha256.Size:] {
		v.known[verdict(data)] = true
	}
	return v
}

// cueVersion tells builds with different evaluators apart.
func cueVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, m := range info.Deps {
		if m.Path == "cuelang.org/go" {
			return m.Version
		}
	}
	return ""
}

// key names something that is judged. The parts are JSON values.
func (v *verdicts) key(parts ...any) verdict {
	h := sha256.New()
	h.Write(v.seed[:])
	for _, p := range parts {
		h.Write([]byte(schema.Canonical(p)))
		h.Write([]byte{0})
	}
	return verdict(h.Sum(nil))
}

func (v *verdicts) has(key verdict) bool {
	if !v.known[key] {
		return false
	}
	v.used[key] = true
	return true
}

func (v *verdicts) add(key verdict) {
	v.known[key] = true
	v.used[key] = true
	v.grew, v.dirty = true, true
}

// save keeps the set small and writes it beside and renames it, so that a reader
// never sees half. A cache that can't be written is no fault of a load.
func (v *verdicts) save() {
	if len(v.known) > maxVerdicts {
		v.known = v.used
	}
	v.used = make(map[verdict]bool)
	if v.file == "" || !v.dirty {
		return
	}
	data := make([]byte, 0, len(v.known)*sha256.Size)
	for key := range v.known {
		data = append(data, key[:]...)
	}
	if os.MkdirAll(filepath.Dir(v.file), 0o700) == nil && renameio.WriteFile(v.file, data, 0o600) == nil {
		v.dirty = false
	}
}
