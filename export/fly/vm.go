package fly

import "slices"

// kind is one kind of processor, with the memory that goes with it, in MB.
type kind struct {
	cpus   []int
	step   int // memory comes in multiples of it
	low    int // least memory for each processor
	high   int // most memory for each processor
	called string
}

const (
	shared      = "shared"
	performance = "performance"
)

func kinds() map[string]kind {
	return map[string]kind{
		shared:      {called: shared, cpus: []int{1, 2, 4, 6, 8}, step: 256, low: 256, high: 2048},
		performance: {called: performance, cpus: []int{1, 2, 4, 6, 8, 10, 12, 14, 16}, step: 2048, low: 2048, high: 8192},
	}
}

// holds reports whether there is a Machine with just that.
func (k kind) holds(cpus, mb int) bool {
	return slices.Contains(k.cpus, cpus) && mb%k.step == 0 && mb >= k.low*cpus && mb <= k.high*cpus
}

// sizeFor is the smallest Machine that has at least so much memory; ok is false
// where there is none.
func sizeFor(mb int) (cpuKind string, cpus, memory int, ok bool) {
	for _, name := range []string{shared, performance} {
		k := kinds()[name]
		memory := max((mb+k.step-1)/k.step, 1) * k.step
		for _, n := range k.cpus {
			if m := max(memory, k.low*n); k.holds(n, m) {
				return k.called, n, m, true
			}
		}
	}
	return "", 0, 0, false
}
