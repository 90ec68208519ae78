// Package proptest has tests of chance draw the same values in every run, so that
// what was green stays green until the code changes. TEN_SEED=random draws new
// ones (make chance), TEN_SEED=N those of a run that failed.
package proptest

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

// Check has rapid check a property. A flag -rapid.seed goes before TEN_SEED.
func Check(t *testing.T, property func(*rapid.T)) {
	t.Helper()
	if err := seedRapid(); err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, property)
}

// Seed is what a test of chance that does without rapid draws from. It is never 0.
func Seed() (uint64, error) {
	switch v := os.Getenv("TEN_SEED"); v {
	case "":
		return 1, nil
	case "random":
		return max(rand.Uint64(), 1), nil
	default:
		seed, err := strconv.ParseUint(v, 10, 64)
		if err != nil || seed == 0 {
			return 0, fmt.Errorf("TEN_SEED=%s: give a number above 0, or random", v)
		}
		return seed, nil
	}
}

// seedRapid sets rapid's flag once a process, before any property is checked.
var seedRapid = sync.OnceValue(func() error {
	if f := flag.Lookup("rapid.seed"); f.Value.String() != f.DefValue {
		return nil
	}
	seed, err := Seed()
	if err != nil {
		return err
	}
	return flag.Set("rapid.seed", strconv.FormatUint(seed, 10))
})
