package exporttest

import (
	"runtime"
	"testing"

	"github.com/tenement/ten/export"
	"github.com/tenement/ten/schema"
)

// Bench exports a model over and over. Beside the time it reports the heap that
// the process took from the system and still has, in MB: what it gives back it
// gives back slowly, so that this is next to the most it needed.
func Bench(b *testing.B, target export.Target, m *schema.Model) {
	b.Helper()
	var most uint64
	for b.Loop() {
		if _, _, err := export.Run(target, m, Options()); err != nil {
			b.Fatal(err)
		}
		var s runtime.MemStats
		runtime.ReadMemStats(&s)
		most = max(most, s.HeapSys-s.HeapReleased)
	}
	b.ReportMetric(float64(most)/(1<<20), "heap-MB")
}
