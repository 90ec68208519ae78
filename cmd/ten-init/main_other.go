//go:build !linux

// Command ten-init is pid 1 of an instance on Linux; elsewhere it does nothing.
package main

func main() { panic("ten-init runs on Linux only") }
