package launch

import (
	"bufio"
	"bytes"
	"context"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// giveBack frees the memory of a frozen group, as far as that is worth it,
// and says how much the group's processes had before and after. What a program
// has written goes to swap, where there is one. What files back is left alone:
// nobody touches it any more, so the kernel takes it first when it needs memory,
// and taking it now would make each wake slower by a score of milliseconds.
func (l *Launcher) giveBack(ctx context.Context, name string) (before, after int64) {
	pids := l.groups.Members(name)
	before = resident(pids)
	if !hasSwap() {
		return before, before
	}
	for _, pid := range pids {
		if ctx.Err() != nil {
			break
		}
		if pageOut(pid) == unix.EPERM { // not for ordinary users; their groups may be theirs to shrink
			l.groups.Reclaim(ctx, name)
			break
		}
	}
	return before, resident(pids)
}

// hasSwap reports whether there is anywhere for written memory to go.
func hasSwap() bool {
	b, err := readProc("/proc/swaps")
	return err == nil && bytes.Count(b, []byte("\n")) > 1 // the first line is a heading
}

// resident adds up what processes have in memory.
func resident(pids []int) int64 {
	var pages int64
	for _, pid := range pids {
		b, err := readProc("/proc/" + strconv.Itoa(pid) + "/statm")
		if f := bytes.Fields(b); err == nil && len(f) > 1 {
			n, _ := strconv.ParseInt(string(f[1]), 10, 64)
			pages += n
		}
	}
	return pages * int64(os.Getpagesize())
}

// remote is a piece of another process's memory, for process_madvise.
type remote struct{ base, size uintptr }

// adviseAtOnce is as many pieces as the kernel takes in one call.
const adviseAtOnce = 1024

// pageOut has the kernel take away what a frozen process may have written. It
// goes on after pieces that the kernel has another opinion of.
func pageOut(pid int) syscall.Errno {
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return unix.ESRCH
	}
	defer unix.Close(pidfd)
	maps, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/maps")
	if err != nil {
		return unix.ESRCH
	}
	for some := range slices.Chunk(parseMaps(maps), adviseAtOnce) {
		_, _, e := unix.Syscall6(unix.SYS_PROCESS_MADVISE, uintptr(pidfd), uintptr(unsafe.Pointer(&some[0])), uintptr(len(some)), unix.MADV_PAGEOUT, 0, 0)
		if e == unix.EPERM || e == unix.ENOSYS || e == unix.ESRCH {
			return e
		}
	}
	return 0
}

// parseMaps finds the pieces of memory that a process may have written.
func parseMaps(maps []byte) []remote {
	var pieces []remote
	for s := bufio.NewScanner(bytes.NewReader(maps)); s.Scan(); {
		// 7f0000000000-7f0000021000 rw-p 00000000 00:00 0    [heap]
		f := strings.Fields(s.Text())
		if len(f) < 5 || len(f[1]) != 4 || f[1][1] != 'w' {
			continue
		}
		from, to, ok := strings.Cut(f[0], "-")
		base, err1 := strconv.ParseUint(from, 16, 64)
		end, err2 := strconv.ParseUint(to, 16, 64)
		if ok && err1 == nil && err2 == nil && end > base {
			pieces = append(pieces, remote{uintptr(base), uintptr(end - base)})
		}
	}
	return pieces
}
