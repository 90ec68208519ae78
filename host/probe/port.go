package probe

import (
	"fmt"
	"math/rand/v2"
)

// Free reports whether a program could listen on port now, on any address.
// Nothing listens meanwhile: the port is bound and let go.
func Free(port int) bool { return port > 0 && port < 1<<16 && canBind(port) }

// FreePort finds a port in lo..hi that is free and not in used. It begins at a
// random one, so that a port is not soon given to somebody else, and prefers
// ports that the kernel does not hand to outgoing connections, which could take
// it before the program listens.
func FreePort(lo, hi int, used map[int]bool) (int, error) {
	from, to := ephemeral()
	for _, outgoing := range []bool{false, true} {
		var ports []int
		for port := lo; port <= hi; port++ {
			if (port >= from && port <= to) == outgoing && !used[port] {
				ports = append(ports, port)
			}
		}
		for first, i := rand.IntN(len(ports)+1), 0; i < len(ports); i++ {
			if port := ports[(first+i)%len(ports)]; Free(port) {
				return port, nil
			}
		}
	}
	return 0, fmt.Errorf("no free port in %d-%d: stop an instance, or listen on {socket} instead of PORT", lo, hi)
}
