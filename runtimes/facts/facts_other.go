//go:build !linux

package facts

// Host looks at this machine, of which there is nothing to say but that levels
// need Linux.
func Host() []Fact {
	return []Fact{{Name: "kernel", Detail: "not Linux", Hint: "run ten serve on a Linux host"}}
}
