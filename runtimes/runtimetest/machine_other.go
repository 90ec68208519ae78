//go:build !linux

package runtimetest

import (
	"testing"

	"github.com/tenement/ten/runtimes"
)

// Machine needs Linux.
func Machine(t *testing.T, _ runtimes.Level, _ Open) { t.Skip("needs Linux") }

// Unprivileged needs Linux.
func Unprivileged(t *testing.T, _ ...string) { t.Skip("needs Linux") }
