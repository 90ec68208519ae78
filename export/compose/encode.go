package compose

import (
	"bytes"
	"fmt"
	"maps"
	"slices"

	"github.com/compose-spec/compose-go/v2/types"

	"github.com/tenement/ten/export"
)

const (
	header      = "# Made by ten export compose. Edit the config and export again.\n"
	servicesKey = "services:\n"
	chunk       = 32 // services that are marshalled at once
)

// encode writes a project as Compose's own types do, a few services at a time:
// the encoder keeps a document in memory many times over.
func encode(p *types.Project) ([]byte, error) {
	around := *p
	around.Services = types.Services{}
	frame, err := export.YAML(around)
	if err != nil {
		return nil, err
	}
	head, tail, ok := bytes.Cut(frame, []byte("services: {}\n"))
	if !ok {
		return nil, fmt.Errorf("the encoder writes no services as %q", frame)
	}
	out := slices.Concat([]byte(header), head, []byte(servicesKey))
	chunks := slices.Collect(slices.Chunk(slices.Sorted(maps.Keys(p.Services)), chunk))
	parts, err := export.EachYAML(len(chunks), func(i int) ([]byte, error) {
		part := types.Project{Services: types.Services{}}
		for _, name := range chunks[i] {
			part.Services[name] = p.Services[name]
		}
		return export.YAML(part)
	})
	if err != nil {
		return nil, err
	}
	for _, data := range parts {
		lines, ok := bytes.CutPrefix(data, []byte(servicesKey))
		if !ok {
			return nil, fmt.Errorf("the encoder begins services with %.40q", data)
		}
		out = append(out, lines...)
	}
	return append(out, tail...), nil
}
