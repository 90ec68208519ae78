package plan_test

import (
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/pelletier/go-toml/v2"

	"github.com/tenement/ten/schema"
)

func loadModel(t *testing.T, files map[string][]byte) *schema.Model {
	t.Helper()
	var doc struct {
		Settings  map[string]any
		Routing   map[string]any
		Service   map[string]map[string]any
		Instances map[string][]string
	}
	if err := toml.Unmarshal(files["tenement.toml"], &doc); err != nil {
		t.Fatal(err)
	}
	m := &schema.Model{Settings: schema.NewSettings(doc.Settings), Routing: schema.NewRouting(doc.Routing), Fields: map[string]string{}}
	for name, v := range doc.Settings {
		m.Fields["settings."+name] = schema.Canonical(v)
	}
	for name, v := range doc.Routing {
		if table, ok := v.(map[string]any); ok {
			for k, v := range table {
				m.Fields["routing."+name+"."+k] = schema.Canonical(v)
			}
			continue
		}
		m.Fields["routing."+name] = schema.Canonical(v)
	}
	for _, name := range slices.Sorted(maps.Keys(doc.Service)) {
		v := doc.Service[name]
		source, _ := v["source"].(string)
		if source == "" {
			source = "."
		}
		h := sha1.New()
		for _, f := range slices.Sorted(maps.Keys(files)) {
			if rel, ok := strings.CutPrefix(f, path.Clean(source)+"/"); f != "tenement.toml" && (ok || source == ".") {
				if !ok {
					rel = f
				}
				fmt.Fprintf(h, "%s\x00%s\x00", rel, files[f])
			}
		}
		m.Services = append(m.Services, schema.NewService(schema.Declaration{
			Name: name, Values: v, Instances: doc.Instances[name], Source: source, Tree: hex.EncodeToString(h.Sum(nil)),
		}))
	}
	return m
}
