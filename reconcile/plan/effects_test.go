package plan

import (
	"strings"
	"testing"

	"github.com/tenement/ten/schema"
)

// TestEffectTableIsComplete holds the table to the schema, both ways: a field
// without an effect would restart by accident, an entry without a field is stale.
func TestEffectTableIsComplete(t *testing.T) {
	t.Parallel()
	known := map[string]bool{"source.tree": true}
	for _, f := range schema.ServiceFields() {
		if f.Alias != "" {
			continue
		}
		names := []string{f.Name}
		if f.Kind == schema.KindStringMap {
			names = []string{f.Name + "."}
		} else if f.Kind == schema.KindAny {
			names = append(names, f.Name+".") // its shape comes with its meaning
		}
		covered := false
		for _, name := range names {
			_, ok := effectTable[name]
			covered = covered || ok
			known[name] = true
		}
		if !covered {
			t.Errorf("service field %q has no effect: say in effects.go what a change of it costs", f.Name)
		}
	}
	for _, f := range schema.SettingsFields() {
		known["settings."+f.Name] = true
		if e := EffectOf("settings." + f.Name); e != EffectReload && e != EffectNone {
			t.Errorf("settings.%s: effect %s", f.Name, e)
		}
	}
	for _, f := range schema.RoutingFields() {
		known["routing."+f.Name] = true
		if e := EffectOf("routing." + f.Name); e != EffectReload {
			t.Errorf("routing.%s: effect %s", f.Name, e)
		}
	}
	known["settings."], known["routing."] = true, true
	for name := range effectTable {
		if !known[name] {
			t.Errorf("effects.go has %q, and the schema has no such field", name)
		}
	}
}

func TestEffectOf(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		field string
		want  Effect
	}{
		{"env.LOG", EffectRestart},
		{"env.health", EffectRestart},
		{"env.dotted.name", EffectRestart},
		{"health", EffectLive},
		{"source", EffectNone},
		{"source.tree", EffectRestart},
		{"isolation", EffectReplace},
		{"settings.max_restarts", EffectReload},
		{"routing.path./api", EffectReload},
		{"routing.subdomain.*.example.com", EffectReload},
		{"not_in_this_version", EffectRestart},
		{"", EffectRestart},
	} {
		if got := EffectOf(tc.field); got != tc.want {
			t.Errorf("%q: %s, want %s", tc.field, got, tc.want)
		}
	}
	order := []Effect{EffectNone, EffectLive, EffectReload, EffectRestart, EffectReplace}
	for i := 1; i < len(order); i++ {
		if order[i-1].rank() >= order[i].rank() {
			t.Errorf("%s does not rank below %s", order[i-1], order[i])
		}
	}
}

func TestSensitive(t *testing.T) {
	t.Parallel()
	for entry, want := range map[string]bool{
		"env.API_TOKEN=x": true, "env.DB_PASSWORD=": true, "env.aws_secret_access_key=x": true, "env.PGPASS=x": true,
		"env.DATABASE_URL=x": true, "env.PASS=x": true, "env.CACHE=redis://ana:pw@host:1/0": true,
		"env.LOG=info": false, "env.PORT=1": false, "env.COMPASS_MODE=x": false, "command=token": false, "env.PASSENGER=x": false,
		"env.SITE=https://example.com/@ana": false, "env.SITE=https://example.com:80/a@b": false,
	} {
		name, value, _ := strings.Cut(entry, "=")
		if got := sensitive(name, value); got != want {
			t.Errorf("%s: sensitive = %v, want %v", entry, got, want)
		}
	}
}

func TestClipKeepsRunes(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("ä", clipAt)
	got := clip(long)
	if got != strings.Repeat("ä", clipAt/2)+"..." {
		t.Errorf("%q", got)
	}
}
