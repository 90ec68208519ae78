package nomad

import (
	"testing"

	"github.com/tenement/ten/export"
	"github.com/tenement/ten/export/exporttest"
)

func BenchmarkExport1000(b *testing.B) {
	m := exporttest.Big(1000)
	for _, s := range m.Services {
		delete(s.Env, "URL") // it holds ${b}, which is refused
	}
	for b.Loop() {
		if _, _, err := export.Run(Target(), m, exporttest.Options()); err != nil {
			b.Fatal(err)
		}
	}
}
