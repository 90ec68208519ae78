package kubernetes

import (
	"testing"

	"github.com/tenement/ten/export"
	"github.com/tenement/ten/export/exporttest"
)

func BenchmarkExport1000(b *testing.B) {
	m := exporttest.Big(1000)
	for b.Loop() {
		if _, _, err := export.Run(Target(), m, exporttest.Options()); err != nil {
			b.Fatal(err)
		}
	}
}
