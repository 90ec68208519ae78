// Package launch starts, finds and ends the instances of the levels that run
// native programs: process and namespace. A Level has every method of
// runtimes.Runtime but Check; what differs between levels is a Recipe.
//
// Every instance has one file, RunDir/level/service:id#generation, and all that
// is known of it is there or in /proc, nothing in memory:
//
//	0   wire.Exit    how it ended, written by ten-init
//	48  stop mark    1 once Stop has begun
//	49  suspend mark 1 from before it is frozen until it has been thawed
//	56  socket tag   which file the listening socket is, written by ten-init
//	64  "1:pid:start:boot:size\n", then the Spec as JSON, then
//	    the output that nobody had read when it ended
//
// One file, because making files is what a start spends most of the daemon's
// time on. It is empty and locked (flock) while a start is under way, and filled
// by one write, which is the moment from which the instance exists. An update of
// the Spec lies beside it, service:id#generation.update, replaced whole.
//
// A start, in time (left the daemon, right ten-init):
//
//	file, lock, pipes, cgroup
//	clone ------------------------------> woken in its namespaces
//	plan  ------------------------------> builds the walls
//	fills the file                        waits for the go byte
//	go    ------------------------------> fork, chdir, exec
//	reads the socket                      fault: step, object, errno
//	end of the socket: the program runs   or the socket closes by exec
//
// A daemon that dies before the go byte closes the socket, and init leaves; an
// empty file without a lock is what remains, and List removes it. A daemon that
// dies after it leaves a complete instance.
//
// The first line names a process by pid, start time and boot, so that a reused
// pid is never taken for it; signals go through pidfds only. Where the line is
// unreadable, the process is found by the file it holds open.
//
// Output goes into two pipes of which ten-init holds both ends, so nothing a
// program writes is lost or refused while no daemon reads. A daemon opens them
// through /proc/PID/fd; when the instance ends, ten-init saves what is left.
package launch
