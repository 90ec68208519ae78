package nomad

import (
	"strings"

	"github.com/tenement/ten/export"
	"github.com/tenement/ten/export/hcl"
)

// noNames: what a placement means is resolved to hosts, and those to nodes.
const noNames = "Nomad knows a node by its own name"

// constrain keeps a service on the hosts of its placement. Their names hold
// nothing that means something in an expression.
func (j job) constrain(w *hcl.Writer) {
	slum := j.model.Slum
	p, ok := slum.PlacementOf(j.service.Name)
	if !ok {
		return
	}
	w.Open("constraint")
	w.Word("attribute", "${node.unique.name}")
	w.Word("operator", "regexp")
	w.Word("value", "^("+strings.Join(slum.HostsOf(p), "|")+")$")
	w.Close()
}

// tellPlacement says that nodes have to have the names of hosts.
func (e *exporter) tellPlacement() {
	if e.model.Slum == nil {
		return
	}
	for _, p := range e.model.Slum.Placement {
		for _, field := range []string{"hosts", "regions"} {
			key := "slum.placement." + p.Service + "." + field
			if value, written := e.model.Slum.Fields[key]; written {
				e.losses = append(e.losses, export.Loss{
					Field: key, Value: value, Kind: export.Converted, Why: noNames, Instead: "the name of each client has to be that of the host",
				})
			}
		}
	}
}

// placementUses are the fields of slum.toml.
func placementUses() []export.Use {
	const as = "a constraint on node.unique.name"
	return export.SlumUses("nodes join a cluster by themselves", "make them with ten export terraform, or pulumi",
		export.Use{Field: "slum.placement.hosts", Kind: export.Converted, As: as, Why: noNames},
		export.Use{Field: "slum.placement.regions", Kind: export.Converted, As: as, Why: noNames},
	)
}
