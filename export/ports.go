package export

import "hash/fnv"

// The ports that are handed out lie below those that systems use for outgoing
// connections.
const firstPort, portCount = 20000, 10000

// Ports hands out ports of one host. The zero value is ready.
type Ports struct{ taken map[int]string }

// Fix takes a port that a service fixes, and tells who has it already.
func (p *Ports) Fix(label string, port int) (other string, ok bool) {
	if other, taken := p.taken[port]; taken {
		return other, false
	}
	p.put(label, port)
	return "", true
}

// Next finds a port that follows from the label alone, unless another has it: it
// stays when others come and go. ok is false when none is left.
func (p *Ports) Next(label string) (port int, ok bool) {
	h := fnv.New32a()
	h.Write([]byte(label))
	start := int(h.Sum32() % portCount)
	for i := range portCount {
		port := firstPort + (start+i)%portCount
		if _, taken := p.taken[port]; !taken {
			p.put(label, port)
			return port, true
		}
	}
	return 0, false
}

func (p *Ports) put(label string, port int) {
	if p.taken == nil {
		p.taken = map[int]string{}
	}
	p.taken[port] = label
}
