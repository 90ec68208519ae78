package docker

import (
	"fmt"
	"hash/fnv"
	"math"
	"strconv"

	"github.com/tenement/ten/export"
)

// Shares turns a weight of 1 to 10000 into Docker's shares of 2 to 262144: the
// number that current runtimes turn back into just that weight. They take
// ceil(10^((l*l+125*l)/612 - 7/34)) with l the binary logarithm of the shares;
// this is its inverse, rounded down where that is needed to hit the weight.
func Shares(weight uint32) int {
	w := float64(min(max(weight, 1), 10000))
	l := (-125 + math.Sqrt(15625+2448*(math.Log10(w)+7.0/34))) / 2
	s := int(math.Round(math.Exp2(l)))
	for s > 2 && weightOf(s) > int(w) {
		s--
	}
	return min(max(s, 2), 262144)
}

// weightOf is what current runtimes make of shares.
func weightOf(shares int) int {
	l := math.Log2(float64(shares))
	return int(math.Ceil(math.Pow(10, (l*l+125*l)/612-7.0/34)))
}

const firstHostPort, hostPortCount = 20000, 10000 // below what systems use for outgoing connections

// HostPorts gives every instance that listens at a port one of the host's
// loopback, by label. It follows from the instance's name, so that it stays when
// other services come and go; a port that a service fixes goes before.
func HostPorts(all []export.Instance, l export.Layout) (map[string]int, error) {
	ports, taken := map[string]int{}, map[int]string{}
	for _, in := range all {
		if in.Service.Port == 0 || in.Port == 0 || len(in.Service.Instances) > 1 {
			continue
		}
		if other, ok := taken[in.Port]; ok {
			return nil, l.Refuse(in.Service, "port", strconv.Itoa(in.Port), other+" is published there", "give it another port")
		}
		taken[in.Port], ports[in.Label()] = in.Label(), in.Port
	}
	for _, in := range all {
		if _, done := ports[in.Label()]; done || in.Port == 0 {
			continue
		}
		h := fnv.New32a()
		h.Write([]byte(in.Label()))
		port, tries := int(h.Sum32()%hostPortCount), 0
		for ; taken[firstHostPort+port] != ""; port, tries = (port+1)%hostPortCount, tries+1 {
			if tries == hostPortCount {
				return nil, l.Refuse(in.Service, "instances", strconv.Itoa(len(in.Service.Instances)),
					fmt.Sprintf("there are ports for %d instances on one host", hostPortCount), "split it into several projects")
			}
		}
		taken[firstHostPort+port], ports[in.Label()] = in.Label(), firstHostPort+port
	}
	return ports, nil
}
