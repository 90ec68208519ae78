package docker

import (
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

// HostPorts gives every instance that listens at a port one of the host's
// loopback, by label. It follows from the instance's name, so that it stays when
// other services come and go; a port that a service fixes goes before.
func HostPorts(all []export.Instance, l export.Layout) (map[string]int, error) {
	var taken export.Ports
	ports := map[string]int{}
	for _, in := range all {
		if in.Service.Port == 0 || in.Port == 0 || len(in.Service.Instances) > 1 {
			continue
		}
		if other, ok := taken.Fix(in.Label(), in.Port); !ok {
			return nil, l.Refuse(in.Service, "port", strconv.Itoa(in.Port), other+" is published there", "give it another port")
		}
		ports[in.Label()] = in.Port
	}
	for _, in := range all {
		if _, done := ports[in.Label()]; done || in.Port == 0 {
			continue
		}
		port, ok := taken.Next(in.Label())
		if !ok {
			return nil, l.Refuse(in.Service, "instances", strconv.Itoa(len(in.Service.Instances)), "one host has no port left for them", "split it into several projects")
		}
		ports[in.Label()] = port
	}
	return ports, nil
}
