package main

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/tenement/ten/runtimes/cgroup"
)

// machineChecks looks at what of the kernel the levels share. It is the view of
// who asks.
func machineChecks() []check {
	c := check{Name: "cgroups"}
	h, err := cgroup.FindHost()
	if err != nil {
		c.Detail = err.Error()
		return []check{c}
	}
	c.OK = h.Unified != "" || len(h.V1) > 0 && os.Geteuid() == 0
	c.Detail = h.Mode()
	if h.Unified != "" {
		c.Detail += ", groups are made in " + h.Unified
	}
	if len(h.V1) > 0 {
		var names []string
		for name := range h.V1 {
			names = append(names, name)
		}
		slices.Sort(names)
		c.Detail += fmt.Sprintf(", v1 for %s", strings.Join(names, " and "))
	}
	if !c.OK {
		c.Detail += ": " + h.Why
		c.Hint = "limits need it: run ten as root, or in a systemd unit with Delegate=yes and DelegateSubgroup=daemon"
	}
	return []check{c}
}
