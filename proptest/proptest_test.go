package proptest_test

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/tenement/ten/proptest"
)

func TestSeed(t *testing.T) {
	for value, want := range map[string]uint64{"": 1, "7": 7} {
		t.Setenv("TEN_SEED", value)
		if got, err := proptest.Seed(); got != want || err != nil {
			t.Errorf("TEN_SEED=%s: got %d, %v", value, got, err)
		}
	}
	for _, value := range []string{"0", "-1", "x"} {
		t.Setenv("TEN_SEED", value)
		if _, err := proptest.Seed(); err == nil {
			t.Errorf("TEN_SEED=%s: no error", value)
		}
	}
	t.Setenv("TEN_SEED", "random")
	first, _ := proptest.Seed()
	if second, _ := proptest.Seed(); first == second {
		t.Errorf("twice the same at random: %d", first)
	}
}

func TestCheckRepeatsItself(t *testing.T) {
	t.Setenv("TEN_SEED", "")
	draw := func() (drawn []int) {
		proptest.Check(t, func(t *rapid.T) { drawn = append(drawn, rapid.Int().Draw(t, "n")) })
		return drawn
	}
	if first, second := draw(), draw(); !slices.Equal(first, second) {
		t.Errorf("two runs drew %d and %d values, not the same", len(first), len(second))
	}
}
