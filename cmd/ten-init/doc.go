// Command ten-init is the first process of an instance. The launcher starts it
// with a socket on which it hears what to do (wire.Plan); it builds the
// instance's own view of the machine, waits for the go byte, runs the program,
// and stays to reap orphans, to keep the output pipes open and to leave a
// record of how the program ended. When the program ends, so does everything
// it started.
//
// At the namespace level it is pid 1; at the process level it is a plain
// process that adopts orphans (a sub-reaper). It never outlives its instance
// and does not depend on the launcher once the program runs.
//
// # No runtime
//
// Start time and memory are paid once per instance, so the program does without
// the Go runtime: no heap, no collector, no threads, one stack. Linked with
// -E main.entry it begins in bare_GOARCH.s, which sets up what compiled Go code
// takes for granted (a stack, a g) and calls start; package initialisation and
// main never run. That makes it about six times faster to start than a Go
// program that does nothing, and a tenth of its memory.
//
// The rules that follow: only system calls; no allocation, no map, channel,
// goroutine, defer, interface or package variable that is initialised by code;
// buffers are zeroed globals. TestBare looks through the machine code for calls into
// the runtime. Linked without -E the same code runs on the runtime, on machines
// that have no bare_GOARCH.s.
package main
