package export

import "fmt"

// Names hands out names under a target's rules and refuses two things of one
// name. The zero value of all but Layout is ready.
type Names struct {
	Layout Layout
	taken  map[string]string // name to label
}

// Take claims a name for an instance.
func (n *Names) Take(name string, in Instance) error {
	if other, ok := n.taken[name]; ok {
		return n.Layout.Refuse(in.Service, "instances", fmt.Sprintf("%q", in.ID),
			fmt.Sprintf("%s and %s would both be called %s", other, in.Label(), name), "rename one of the services or instances")
	}
	if n.taken == nil {
		n.taken = map[string]string{}
	}
	n.taken[name] = in.Label()
	return nil
}
