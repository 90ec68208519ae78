package router

import (
	"strings"
	"testing"
)

// TestFramesFindsTheBorders of frames of all sizes, masked and not, however the
// stream is cut.
func TestFramesFindsTheBorders(t *testing.T) {
	t.Parallel()
	frame := func(head string, payload int) string { return head + strings.Repeat("p", payload) }
	all := []string{
		frame("\x81\x00", 0), frame("\x82\x05", 5), frame("\x82\x7e\x01\x00", 256), frame("\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00", 65536),
		frame("\x81\x80mask", 0), frame("\x82\x83mask", 3), frame("\x82\xfe\x00\x7fmask", 127), frame("\x02\x01", 1), frame("\x89\x00", 0), frame("\x80\x01", 1),
	}
	stream := strings.Join(all, "")
	ends := map[int]bool{0: true}
	at := 0
	for _, f := range all {
		at += len(f)
		ends[at] = true
	}
	for _, step := range []int{1, 2, 3, 7, 1000, len(stream)} {
		var f frames
		for at := 0; at < len(stream); at += step {
			if f.between() != ends[at] {
				t.Fatalf("in steps of %d, byte %d: between is %v", step, at, f.between())
			}
			f.advance([]byte(stream[at:min(at+step, len(stream))]))
		}
		if !f.between() {
			t.Errorf("in steps of %d: not between at the end", step)
		}
	}
}
