// Package launch starts, finds and ends the instances of the levels that run
// native programs: process and namespace. A Level has every method of
// runtimes.Runtime but Check; what differs between levels is a Recipe.
//
// Every instance has a run directory, RunDir/level/service/id/generation, and
// everything that is known of it is there or in /proc, nothing in memory:
//
//	record   the Spec, as JSON; replaced whole by Update
//	init     symbolic link "1:pid:start:boot", made after everything else: an
//	         instance without it never ran
//	out err  named pipes that ten-init keeps open
//	exit     wire.Exit and the output nobody had read, written by ten-init
//	stop     present once Stop has begun
//
// A start, in time (left the daemon, right ten-init):
//
//	mkdir, lock, pipes, cgroup
//	clone ------------------------------> woken in its namespaces
//	plan  ------------------------------> builds the walls
//	writes record, then init link         waits for the go byte
//	go    ------------------------------> chdir, fork, exec
//	reads the socket                      fault: step, object, errno
//	end of the socket: the program runs   or closes the socket
//
// A daemon that dies before the go byte closes the socket, init leaves, and
// what is left in the run directory has no init link: List removes it. A daemon
// that dies after it leaves a complete instance.
//
// The lock on the run directory (flock) says that a start is under way. The
// link names a process by pid, start time and boot, so that a reused pid is
// never taken for it; signals go through pidfds only.
package launch
