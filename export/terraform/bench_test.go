package terraform

import (
	"testing"

	"github.com/tenement/ten/export/exporttest"
)

// Bar: 2 s. BenchmarkExport1000 of cmd/ten has the whole command and its memory.
func BenchmarkExport1000(b *testing.B) {
	exporttest.Bench(b, Target(), exporttest.Big(1000))
}
