//go:build !linux

package main

// machineChecks has nothing to look at: no level of this build rests on anything
// of this system.
func machineChecks() []check { return nil }
