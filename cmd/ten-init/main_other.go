//go:build !linux

package main

func main() { panic("ten-init runs on Linux only") }
