package export

import (
	"maps"
	"slices"
	"strings"

	"github.com/tenement/ten/schema"
)

// Use is what a target makes of one field of the config.
type Use struct {
	// Field is "memory_limit_mb" for a field of a service, "settings.data_dir" and
	// "routing.path" for the others.
	Field string
	// Kind is the best that the target can do. A field that is Carried or
	// Converted may still be a Loss for some values; Export returns those.
	Kind Kind
	// As is what stands for it in the target: "mem_limit". For what is Lost: what
	// to do instead, if anything.
	As string
	// Why is the reason, where the Kind is not Carried.
	Why string
}

// FieldNames are all fields that a Use can be about, in the order of the schema,
// those that this build refuses left out.
func FieldNames() []string {
	var names []string
	add := func(prefix string, fields []schema.Field) {
		for _, f := range fields {
			if f.Alias == "" && !f.Later {
				names = append(names, prefix+f.Name)
			}
		}
	}
	add("", schema.ServiceFields())
	add("settings.", schema.SettingsFields())
	add("routing.", schema.RoutingFields())
	add(slumHost, schema.HostFields())
	add(slumPlacement, schema.PlacementFields())
	return names
}

// unsaid gives a Loss for every written field that the target can't say. What
// Export told of the same field goes before it.
func unsaid(m *schema.Model, uses []Use, told []Loss) []Loss {
	said := map[[2]string]bool{}
	for _, l := range told {
		said[[2]string{l.Service, l.Field}] = true
		said[[2]string{l.Service, FieldOf(l.Service, l.Field)}] = true
	}
	byField := map[string]Use{}
	for _, u := range uses {
		byField[u.Field] = u
	}
	var losses []Loss
	add := func(service string, written map[string]string) {
		for _, key := range slices.Sorted(maps.Keys(written)) {
			field := FieldOf(service, key)
			use, known := byField[field]
			if field == "source.tree" || known && use.Kind != Lost || said[[2]string{service, key}] || said[[2]string{service, field}] {
				continue
			}
			if !known {
				use.Why = "this build of ten does not export it"
			}
			losses = append(losses, Loss{Service: service, Field: key, Value: written[key], Kind: Lost, Why: use.Why, Instead: use.As})
		}
	}
	for _, s := range m.Services {
		add(s.Name, s.Fields)
	}
	add("", m.Fields)
	if m.Slum != nil {
		add("", m.Slum.Fields)
	}
	return losses
}

// FieldOf names the field that a key of Fields belongs to: "env.LOG" is of env,
// "routing.path./api" of routing.path.
func FieldOf(service, key string) string {
	if key == "source.tree" {
		return key
	}
	head, rest, _ := strings.Cut(key, ".")
	if service != "" || rest == "" {
		return head
	}
	field, rest, _ := strings.Cut(rest, ".")
	if head+"." == slumPrefix && rest != "" { // slum.host.NAME.type: a name holds no dot
		_, rest, _ = strings.Cut(rest, ".")
		return head + "." + field + "." + rest
	}
	return head + "." + field
}

// What the fields of slum.toml begin with.
const (
	slumPrefix    = "slum."
	slumHost      = slumPrefix + "host."
	slumPlacement = slumPrefix + "placement."
)

// SlumUses are the fields of slum.toml, for targets that make no hosts: all lost,
// for the reason given; what the target does in its own way stands in instead, by
// field.
func SlumUses(why, instead string, own ...Use) []Use {
	var uses []Use
	for _, field := range FieldNames() {
		if !strings.HasPrefix(field, slumPrefix) {
			continue
		}
		use := Use{Field: field, Kind: Lost, Why: why, As: instead}
		if i := slices.IndexFunc(own, func(u Use) bool { return u.Field == field }); i >= 0 {
			use = own[i]
		}
		uses = append(uses, use)
	}
	return uses
}

// RouterUses are the settings of ten's own router, for targets that have none or
// bring another: all lost, for the reason given.
func RouterUses(why, instead string) []Use {
	var uses []Use
	for _, name := range []string{"domain", "bind", "port", "trusted_proxies", "proxy_protocol", "max_header_kb", "max_body_mb", "tls"} {
		uses = append(uses, Use{Field: "settings." + name, Kind: Lost, Why: why, As: instead})
	}
	return uses
}
