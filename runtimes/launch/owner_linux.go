package launch

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/tenement/ten/runtimes"
	"github.com/tenement/ten/runtimes/launch/wire"
)

// maxDepth bounds how far a process may be below its init.
const maxDepth = 256

// Owner goes up from a process to the init whose record names it; see
// runtimes.Owner. No process but that init is named by the record, whatever
// files another holds open, and nobody can choose its ancestors.
func (v *Level) Owner(pid int) (runtimes.Key, bool) {
	for range maxDepth {
		if pid <= 1 {
			break
		}
		if key, ok := v.initOf(pid); ok {
			return key, true
		}
		st, err := readStat(pid)
		if err != nil {
			break
		}
		pid = st.parent
	}
	return runtimes.Key{}, false
}

// initOf reports whose init a process is.
func (v *Level) initOf(pid int) (runtimes.Key, bool) {
	held := fmt.Sprintf("/proc/%d/fd/%d", pid, wire.FDRecord)
	file, err := os.Readlink(held)
	if err != nil {
		return runtimes.Key{}, false
	}
	key, ok := parseKey(filepath.Base(file))
	if !ok {
		return runtimes.Key{}, false
	}
	// The link names the file by a path without links in it, ours may have some.
	open, err1 := os.Stat(held)
	known, err2 := os.Stat(string(v.path(key)))
	if err1 != nil || err2 != nil || !os.SameFile(open, known) {
		return runtimes.Key{}, false
	}
	e, err := v.find(key)
	return key, err == nil && e.init.pid == pid && v.l.alive(e.init)
}

// Has looks for the record; see runtimes.Owner.
func (v *Level) Has(key runtimes.Key) bool {
	_, err := os.Lstat(string(v.path(key)))
	return err == nil
}
