package schema

import (
	"cmp"
	"slices"
)

// SlumFile is the name of the file that declares hosts, beside tenement.toml.
const SlumFile = "slum.toml"

// Operator is who provides a host.
type Operator string

// The operators.
const (
	OperatorSSH     Operator = "ssh"     // a machine that is there
	OperatorHetzner Operator = "hetzner" // a server of Hetzner Cloud that is made
)

// Slum is slum.toml: the hosts of a repository and what goes where. Exports say
// it; plans and hosts do not look at it.
type Slum struct {
	Hosts     []*Host     `json:"hosts"`     // sorted by Name
	Placement []Placement `json:"placement"` // sorted by Service
	// Fields is what the user wrote, canonical as Model.Fields:
	// "slum.host.NAME.type", "slum.placement.NAME.hosts".
	Fields map[string]string `json:"fields"`
}

// Host is one host with defaults applied. Address, User and Port are set for ssh,
// what follows them for hetzner.
type Host struct {
	Name     string   `json:"name"`
	Origin   Position `json:"origin"`
	Operator Operator `json:"operator"`
	Region   string   `json:"region,omitempty"` // "" = in none
	Address  string   `json:"address,omitempty"`
	User     string   `json:"user,omitempty"`
	Port     int      `json:"port,omitempty"`
	Location string   `json:"location,omitempty"`
	Type     string   `json:"type,omitempty"`
	Image    string   `json:"image,omitempty"`
	VolumeGB int      `json:"volume_gb,omitempty"` // 0 = none
	SSHKeys  []string `json:"ssh_keys,omitempty"`
}

// Placement is where one service goes.
type Placement struct {
	Service string   `json:"service"`
	Origin  Position `json:"origin"`
	Hosts   []string `json:"hosts,omitempty"`   // sorted
	Regions []string `json:"regions,omitempty"` // sorted
}

// SlumDeclaration is a host or a placement as slum.toml wrote it, judged and found
// good. Name is the host's, or the service's.
type SlumDeclaration struct {
	Name   string
	Origin Position
	Values Values
}

// NewSlum applies the defaults to what slum.toml declares.
func NewSlum(hosts, placement []SlumDeclaration) *Slum {
	s := &Slum{Fields: map[string]string{}}
	for _, d := range hosts {
		s.Hosts = append(s.Hosts, newHost(d))
		for field, value := range d.Values {
			s.Fields["slum.host."+d.Name+"."+field] = Canonical(value)
		}
	}
	for _, d := range placement {
		p := Placement{Service: d.Name, Origin: d.Origin}
		if v, ok := d.Values["hosts"]; ok {
			p.Hosts = slices.Sorted(slices.Values(stringList(v)))
		}
		if v, ok := d.Values["regions"]; ok {
			p.Regions = slices.Sorted(slices.Values(stringList(v)))
		}
		s.Placement = append(s.Placement, p)
		for field, value := range d.Values {
			s.Fields["slum.placement."+d.Name+"."+field] = Canonical(value)
		}
	}
	slices.SortFunc(s.Hosts, func(a, b *Host) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(s.Placement, func(a, b Placement) int { return cmp.Compare(a.Service, b.Service) })
	return s
}

// PlacementOf is where a service goes; ok is false where nothing says it, and it
// goes to every host. A slum that is nil places nothing.
func (s *Slum) PlacementOf(service string) (p Placement, ok bool) {
	if s == nil {
		return Placement{}, false
	}
	i := slices.IndexFunc(s.Placement, func(p Placement) bool { return p.Service == service })
	if i < 0 {
		return Placement{}, false
	}
	return s.Placement[i], true
}

// HostsOf are the names of the hosts that a placement means, sorted: those that it
// names, and those of its regions.
func (s *Slum) HostsOf(p Placement) []string {
	var names []string
	for _, h := range s.Hosts {
		if slices.Contains(p.Hosts, h.Name) || h.Region != "" && slices.Contains(p.Regions, h.Region) {
			names = append(names, h.Name)
		}
	}
	return names
}

func newHost(d SlumDeclaration) *Host {
	h := &Host{Name: d.Name, Origin: d.Origin}
	for field, value := range d.Values {
		h.set(field, value)
	}
	if h.Operator == OperatorSSH {
		h.User, h.Port = cmp.Or(h.User, "root"), cmp.Or(h.Port, 22)
	}
	h.Region = cmp.Or(h.Region, h.Location)
	return h
}

func (h *Host) set(field string, v any) {
	switch field {
	case "operator":
		h.Operator = Operator(v.(string))
	case "region":
		h.Region = v.(string)
	case "address":
		h.Address = v.(string)
	case "user":
		h.User = v.(string)
	case "port":
		h.Port = int(v.(int64))
	case "location":
		h.Location = v.(string)
	case "type":
		h.Type = v.(string)
	case "image":
		h.Image = v.(string)
	case "volume_gb":
		h.VolumeGB = int(v.(int64))
	case "ssh_keys":
		h.SSHKeys = stringList(v)
	default:
		panic("schema: no such field of a host: " + field)
	}
}

const wantsPlace = "a name of lower-case letters, digits and -, at most 63 long, for example fsn1"

// SlumFields are the tables of #Slum, in its order.
func SlumFields() []Field {
	return []Field{
		{Name: "host", Kind: KindAny, WantsKey: wantsID},
		{Name: "placement", Kind: KindAny, WantsKey: wantsName},
	}
}

// HostFields are the fields of #Host, in its order.
func HostFields() []Field {
	return []Field{
		{Name: "operator", Kind: KindString, Required: true, Enum: []string{string(OperatorSSH), string(OperatorHetzner)}, Wants: `"ssh" or "hetzner"`},
		{Name: "region", Kind: KindString, Wants: wantsPlace},
		{Name: "address", Kind: KindString, Wants: "an IP address or a host name, for example 203.0.113.7"},
		{Name: "user", Kind: KindString, Wants: "the name of a user, for example root"},
		{Name: "port", Kind: KindInt},
		{Name: "location", Kind: KindString, Wants: wantsPlace},
		{Name: "type", Kind: KindString, Wants: "the name of a server type, for example cx23"},
		{Name: "image", Kind: KindString, Wants: "the name of an image, for example debian-13"},
		{Name: "volume_gb", Kind: KindInt},
		{Name: "ssh_keys", Kind: KindStrings, Wants: "a public key on one line, for example ssh-ed25519 AAAA... name"},
	}
}

// PlacementFields are the fields of #Placement, in its order.
func PlacementFields() []Field {
	return []Field{
		{Name: "hosts", Kind: KindStrings, Wants: wantsID},
		{Name: "regions", Kind: KindStrings, Wants: wantsPlace},
	}
}
