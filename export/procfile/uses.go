package procfile

import "github.com/tenement/ten/export"

// uses is what becomes of every field. A Procfile says what runs and no more.
func uses() []export.Use {
	const (
		carried, converted, lost = export.Carried, export.Converted, export.Lost
		noWord                   = "a Procfile says what runs and no more"
		noRouter                 = "who runs a Procfile routes no requests"
		noWalls                  = "who runs a Procfile has no walls"
	)
	uses := append(export.RouterUses(noRouter, "put a proxy before the ports"), []export.Use{
		{Field: "command", Kind: carried, As: "the line, quoted for a shell"},
		{Field: "args", Kind: carried, As: "the line, quoted for a shell"},
		{Field: "build", Kind: converted, As: "a step to run before", Why: "a Procfile builds nothing"},
		{Field: "source", Kind: carried, As: "cd before the command"},
		{Field: "env", Kind: carried, As: "NAME=VALUE before the command"},
		{Field: "workdir", Kind: carried, As: "cd before the command"},
		{Field: "isolation", Kind: lost, Why: noWalls},
		{Field: "socket", Kind: carried, As: "SOCKET_PATH before the command"},
		{Field: "port", Kind: carried, As: "PORT before the command; else who runs it sets PORT"},
		{Field: "instances", Kind: converted, As: "foreman start -m NAME=COUNT", Why: "a Procfile says no number"},
		{Field: "network", Kind: lost, Why: noWalls},
		{Field: "settings.data_dir", Kind: converted, As: "paths in the lines", Why: "a relative one counts from the Procfile"},
	}...)
	for _, name := range []string{"domains", "instance_domains", "weight", "request_timeout", "drain_timeout", "routing.default", "routing.subdomain", "routing.path"} {
		uses = append(uses, export.Use{Field: name, Kind: lost, Why: noRouter})
	}
	said := map[string]bool{}
	for _, u := range uses {
		said[u.Field] = true
	}
	for _, name := range export.FieldNames() {
		if !said[name] {
			uses = append(uses, export.Use{Field: name, Kind: lost, Why: noWord})
		}
	}
	return uses
}
