package launch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"github.com/google/renameio/v2"

	"github.com/tenement/ten/runtimes"
)

// Update changes the limits of a running incarnation and what is recorded of
// it; see runtimes.Updater. When the limits cannot be changed, nothing is. A
// limit that the instance did not have so far puts it into a cgroup.
func (v *Level) Update(_ context.Context, spec runtimes.Spec) error {
	if err := v.update(&spec); err != nil {
		return fmt.Errorf("update %s: %w", spec.Key, err)
	}
	return nil
}

func (v *Level) update(spec *runtimes.Spec) error {
	e, err := v.find(spec.Key)
	if err != nil {
		return err
	}
	if e.broken != nil {
		return e.broken
	}
	next := e.rec.Spec
	next.Fields, next.Digest, next.Revision = spec.Fields, spec.Digest, spec.Revision
	next.StopSignal, next.StopTimeout = spec.StopSignal, spec.StopTimeout
	next.Limits = spec.Limits
	b, err := json.Marshal(next)
	if err != nil {
		return err
	}
	f, err := renameio.NewPendingFile(string(v.path(spec.Key))+updateSuffix, renameio.WithTempDir(v.root()), renameio.WithPermissions(0o600))
	if err != nil {
		return err
	}
	defer f.Cleanup()
	if _, err := f.Write(b); err != nil {
		return err
	}
	if next.Limits != e.rec.Spec.Limits && v.l.alive(e.init) {
		if err := v.l.changeCgroup(v.name, &next, e.init); err != nil {
			return err
		}
	}
	return f.CloseAtomicallyReplace()
}

// family lists a process and all its descendants.
func family(root int) []int {
	parents := map[int]int{}
	dir, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		if st, err := readStat(pid); err == nil && !st.ended() {
			parents[pid] = st.parent
		}
	}
	var found []int
	for pid := range parents {
		if leads(parents, pid, root) {
			found = append(found, pid)
		}
	}
	return found
}

// descendants lists a process and all its descendants by the kernel's own lists
// of children, which costs what the family is large and not the host. A list may
// miss one while others end; who needs all asks again when nothing moves.
func descendants(root int) []int {
	found := []int{root}
	for i := 0; i < len(found); i++ {
		tasks, err := os.ReadDir("/proc/" + strconv.Itoa(found[i]) + "/task")
		if err != nil {
			continue
		}
		for _, task := range tasks {
			b, err := os.ReadFile("/proc/" + strconv.Itoa(found[i]) + "/task/" + task.Name() + "/children")
			if errors.Is(err, fs.ErrNotExist) && found[i] == root {
				return family(root)
			}
			for _, word := range strings.Fields(string(b)) {
				pid, _ := strconv.Atoi(word)
				if st, err := readStat(pid); err == nil && !st.ended() {
					found = append(found, pid)
				}
			}
		}
	}
	return found
}

// leads follows parents upwards from pid and reports whether it meets root.
func leads(parents map[int]int, pid, root int) bool {
	for range len(parents) + 1 {
		if pid == root {
			return true
		}
		next, ok := parents[pid]
		if !ok {
			return false
		}
		pid = next
	}
	return false
}
