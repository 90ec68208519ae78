package kubernetes

import (
	"github.com/tenement/ten/export"
	"github.com/tenement/ten/schema"
)

// The labels that every cluster gives its nodes.
const (
	hostLabel   = "kubernetes.io/hostname"
	regionLabel = "topology.kubernetes.io/region"
)

type affinity struct {
	NodeAffinity nodeAffinity `yaml:"nodeAffinity"`
}

type nodeAffinity struct {
	Required nodeSelector `yaml:"requiredDuringSchedulingIgnoredDuringExecution"`
}

// nodeSelector holds where one of its terms does.
type nodeSelector struct {
	Terms []nodeTerm `yaml:"nodeSelectorTerms"`
}

type nodeTerm struct {
	MatchExpressions []nodeRequirement `yaml:"matchExpressions"`
}

type nodeRequirement struct {
	Key      string `yaml:"key"`
	Operator string `yaml:"operator"`
	Values   []text `yaml:"values"`
}

// affinity is where a service goes; nil = to any node.
func (e *exporter) affinity(s *schema.Service) *affinity {
	p, ok := e.model.Slum.PlacementOf(s.Name)
	if !ok {
		return nil
	}
	var terms []nodeTerm
	add := func(key string, values []string) {
		if len(values) == 0 {
			return
		}
		r := nodeRequirement{Key: key, Operator: "In"}
		for _, v := range values {
			r.Values = append(r.Values, text(v))
		}
		terms = append(terms, nodeTerm{[]nodeRequirement{r}})
	}
	add(hostLabel, p.Hosts)
	add(regionLabel, p.Regions)
	return &affinity{nodeAffinity{nodeSelector{terms}}}
}

// tellPlacement says that nodes have to have the names of hosts and regions.
func (e *exporter) tellPlacement() {
	if e.model.Slum == nil {
		return
	}
	for _, p := range e.model.Slum.Placement {
		for field, label := range map[string]string{"hosts": hostLabel, "regions": regionLabel} {
			key := "slum.placement." + p.Service + "." + field
			if value, written := e.model.Slum.Fields[key]; written {
				e.losses = append(e.losses, export.Loss{
					Field: key, Value: value, Kind: export.Converted, Why: noNames, Instead: "label the nodes: " + label,
				})
			}
		}
	}
}

const noNames = "a cluster names its nodes itself"

// placementUses are the fields of slum.toml.
func placementUses() []export.Use {
	return export.SlumUses("nodes join a cluster by themselves", "make them with ten export terraform, or pulumi",
		export.Use{Field: "slum.placement.hosts", Kind: export.Converted, As: "nodeAffinity, " + hostLabel, Why: noNames},
		export.Use{Field: "slum.placement.regions", Kind: export.Converted, As: "nodeAffinity, " + regionLabel, Why: noNames},
	)
}
