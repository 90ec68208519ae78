package compose

import "math"

// shares turns a weight of 1 to 10000 into Docker's shares of 2 to 262144: the
// number that current runtimes turn back into just that weight. They take
// ceil(10^((l*l+125*l)/612 - 7/34)) with l the binary logarithm of the shares;
// this is its inverse, rounded down where that is needed to hit the weight.
func shares(weight uint32) int64 {
	w := float64(min(max(weight, 1), 10000))
	l := (-125 + math.Sqrt(15625+2448*(math.Log10(w)+7.0/34))) / 2
	s := int64(math.Round(math.Exp2(l)))
	for s > 2 && weightOf(s) > int64(w) {
		s--
	}
	return min(max(s, 2), 262144)
}

// weightOf is what current runtimes make of shares.
func weightOf(shares int64) int64 {
	l := math.Log2(float64(shares))
	return int64(math.Ceil(math.Pow(10, (l*l+125*l)/612-7.0/34)))
}
