package nomad

import (
	"testing"

	"github.com/tenement/ten/export/exporttest"
)

// Bar: 2 s. BenchmarkExport1000 of cmd/ten has the whole command and its memory.
func BenchmarkExport1000(b *testing.B) {
	m := exporttest.Big(1000)
	for _, s := range m.Services {
		delete(s.Env, "URL") // it holds ${b}, which is refused
	}
	exporttest.Bench(b, Target(), m)
}
