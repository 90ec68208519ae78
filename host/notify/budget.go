package notify

import (
	"time"

	"github.com/tenement/ten/runtimes"
)

// What one instance may say in a second. To find out who speaks costs a tenth of
// a millisecond, and all speak on one socket: so a process of an instance that
// goes beyond is not even looked at until the second is over.
const (
	budgetFor  = time.Second
	budgetEach = 200  // messages of one instance
	budgetPids = 4096 // processes that are counted
)

// budget counts messages, of processes and of the instances that they are of.
type budget struct {
	until  time.Time
	pids   map[int]int
	keys   map[runtimes.Key]int
	warned map[runtimes.Key]time.Time
}

func newBudget() *budget {
	return &budget{pids: map[int]int{}, keys: map[runtimes.Key]int{}, warned: map[runtimes.Key]time.Time{}}
}

// process counts a message of a process and reports whether it is to be looked
// at. A number that somebody else gets meanwhile costs that one its word at
// most; nobody is believed for it.
func (b *budget) process(pid int, now time.Time) bool {
	if !now.Before(b.until) {
		clear(b.pids)
		clear(b.keys)
		b.until = now.Add(budgetFor)
	}
	if b.pids[pid] == 0 && len(b.pids) >= budgetPids {
		return true // so many make each other slow
	}
	b.pids[pid]++
	return b.pids[pid] <= budgetEach
}

// instance counts a message of an instance and reports whether it is to be
// heard; of the first in a minute that is not, also that it is worth a warning.
func (b *budget) instance(key runtimes.Key, pid int, now time.Time) (heard, warn bool) {
	b.keys[key]++
	if b.keys[key] <= budgetEach {
		return true, false
	}
	b.pids[pid] = budgetEach
	if warn = now.Sub(b.warned[key]) > time.Minute; warn {
		if len(b.warned) > budgetPids {
			clear(b.warned)
		}
		b.warned[key] = now
	}
	return false, warn
}
