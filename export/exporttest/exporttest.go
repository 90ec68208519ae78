// Package exporttest makes models for the tests of targets: one that people
// could have written, random ones full of what breaks quoting, and large ones.
package exporttest

import (
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"testing/fstest"
	"time"

	"pgregory.net/rapid"

	"github.com/tenement/ten/export"
	"github.com/tenement/ten/schema"
)

// Tree is the repository of all models: sources that a Dockerfile can be made for.
func Tree() fs.FS {
	return fstest.MapFS{
		"web/go.mod":      {Data: []byte("module web\n\ngo 1.26.0\n")},
		"db/Dockerfile":   {Data: []byte("FROM debian\nENTRYPOINT [\"/entry\"]\n")},
		"worker/main.py":  {Data: []byte("print()\n")},
		"tools/go.mod":    {Data: []byte("module tools\n\ngo 1.26.0\n")},
		"odd ${d}/go.mod": {Data: []byte("module odd\n\ngo 1.26.0\n")},
	}
}

// Options are those of a project beneath deploy/ of the repository.
func Options() export.Options {
	return export.Options{Project: "shop", Tree: Tree(), Root: "../.."}
}

// Service makes a service of the Go source web with instance prod.
func Service(name string, edit ...func(*schema.Service)) *schema.Service {
	s := schema.NewService(schema.Declaration{
		Name: name, Origin: schema.Position{File: "tenement.toml", Line: 1}, Source: "web", Tree: "t",
		Values: schema.Values{"command": "./web", "build": "go build -o web ."}, Instances: []string{"prod"},
	})
	for _, e := range edit {
		e(s)
	}
	return s
}

// Model makes a model of services; routing and settings are the defaults.
func Model(services ...*schema.Service) *schema.Model {
	slices.SortFunc(services, func(a, b *schema.Service) int { return strings.Compare(a.Name, b.Name) })
	return &schema.Model{Services: services, Settings: schema.NewSettings(nil), Fields: map[string]string{}}
}

// Shop uses every field that a target could carry.
func Shop() *schema.Model {
	declare := func(name, source string, ids []string, v schema.Values) *schema.Service {
		return schema.NewService(schema.Declaration{
			Name: name, Origin: schema.Position{File: "services/" + name + ".toml", Line: 1},
			Source: source, Tree: "t", Values: v, Instances: ids,
		})
	}
	settings := schema.Values{"domain": "shop.example", "max_restarts": int64(5), "health_check_interval": int64(15), "restart_window": int64(600), "backoff_base_ms": int64(2500)}
	routing := schema.Values{
		"default": "web", "subdomain": map[string]any{"*.shop.example": "web", "api.shop.example": "api"}, "path": map[string]any{"/api": "api"},
	}
	m := Model(
		declare("api", "web", []string{"prod"}, schema.Values{
			"command": "./web --listen :{port}", "build": "go build -o web .", "health": "/up?deep=1", "isolation": "sandbox",
			"depends_on": []any{map[string]any{"service": "db"}, map[string]any{"service": "worker", "condition": "started"}},
			"cpu_shares": int64(200), "min_healthy": int64(5), "restart": "always", "storage_persist": false,
		}),
		declare("db", "db", []string{"main"}, schema.Values{
			"command": "serve", "args": []any{"--data", "{instance_dir}"}, "port": int64(5432),
			"memory_limit_mb": int64(512), "storage_quota_mb": int64(2048), "stop_signal": "SIGINT", "stop_timeout": int64(60),
		}),
		declare("migrate", "tools", []string{"once"}, schema.Values{
			"command": "./migrate up", "build": "go build -o migrate .", "health": "none", "restart": "never", "storage_persist": false,
		}),
		declare("web", "web", []string{"prod", "staging"}, schema.Values{
			"command": "./web", "build": "go build -o web .", "health": "/", "memory_limit_mb": int64(256), "idle_timeout": int64(600),
			"env": map[string]any{"GREETING": "it's \"${HOME}\" $5 %{if}", "MULTI": "a\nb\t\\n", "WHO": "{name}.{id}"},
		}),
		declare("worker", "worker", []string{"a"}, schema.Values{
			"command": "python3 -u main.py", "health": "none", "isolation": "process", "workdir": "sub",
		}),
	)
	m.Settings, m.Routing, m.Fields = schema.NewSettings(settings), schema.NewRouting(routing), schema.ModelFields(settings, routing)
	return m
}

// Big makes n services of two instances, with what services usually say.
func Big(n int) *schema.Model {
	services := make([]*schema.Service, n)
	for i := range services {
		services[i] = Service(fmt.Sprintf("svc-%04d", i), func(s *schema.Service) {
			s.Instances = []string{"prod", "staging"}
			s.Health, s.MemoryLimitMB = "/health", 256
			s.Env = map[string]string{"LOG": "info", "DB": "{instance_dir}/db.sqlite", "URL": "https://{id}.example/?a=${b}"}
		})
	}
	return Model(services...)
}

// nasty are pieces of text that some tool reads as more than text.
func nasty() []string {
	return []string{
		"$", "${", "}", "$${", "%{", "%%{", "$(", "$$", "$(HOME)", "${HOME}", "{{", "}}", "`", "'", "\"", "\\", "\\n", "\n", "\r\n", "\r", "\t", "\t\n", " ", "  ",
		"#", ": ", "- ", "|", ">", "&a", "*a", "!!str", "---", "...", "~", "null", "yes", "no", "on", "0o7", "0x1f", "1_0", "1:20", ".inf", "=", "<<",
		"é", "\u0301", "e\u0301", "ﬁ", "日本", "😀", "\u2028", "\u0085", "\ufeff", "\u200b", "\x7f", "\x01", "\x1b", "\u00a0", "\ufffd", "a", "B", "0", "/", ",", "[", "]", "{", "<EOT", "${env[\"X\"]}", "${NOMAD_X}",
	}
}

// Text makes text of pieces that need quoting somewhere.
func Text() *rapid.Generator[string] {
	piece := rapid.OneOf(rapid.SampledFrom(nasty()), rapid.StringMatching(`[a-z]{1,3}`), rapid.Map(rapid.Rune(), func(r rune) string { return string(r) }))
	return rapid.Map(rapid.SliceOfN(piece, 0, 6), func(s []string) string { return strings.Join(s, "") })
}

// Random makes a model of a few services with nasty texts in every place that
// takes text. About one in ten holds what no program can be given.
func Random() *rapid.Generator[*schema.Model] {
	return rapid.Custom(func(t *rapid.T) *schema.Model {
		names := rapid.SliceOfNDistinct(rapid.StringMatching(`[a-z0-9]([a-z0-9_-]{0,4}[a-z0-9])?`), 1, 4, rapid.ID[string]).Draw(t, "names")
		services := make([]*schema.Service, len(names))
		for i, name := range names {
			services[i] = Service(name, func(s *schema.Service) { randomize(t, s, names[:i]) })
		}
		m := Model(services...)
		m.Settings.MaxRestarts = rapid.IntRange(0, 9).Draw(t, "max_restarts")
		if rapid.Bool().Draw(t, "data") {
			m.Settings.DataDir = "/" + strings.ReplaceAll(Text().Draw(t, "data_dir"), "\x00", "")
		}
		return m
	})
}

func randomize(t *rapid.T, s *schema.Service, earlier []string) {
	text := Text()
	s.Source = rapid.SampledFrom([]string{"web", "db", "odd ${d}"}).Draw(t, "source")
	s.Instances = rapid.SliceOfNDistinct(rapid.StringMatching(`[a-z0-9]([a-z0-9-]{0,3}[a-z0-9])?`), 0, 3, rapid.ID[string]).Draw(t, "ids")
	slices.Sort(s.Instances)
	s.Args = rapid.SliceOfN(text, 1, 4).Draw(t, "args")
	s.Env = rapid.MapOfN(rapid.StringMatching(`[A-Za-z_][A-Za-z0-9_.-]{0,4}`), text, 0, 4).Draw(t, "env")
	if rapid.IntRange(0, 9).Draw(t, "bad") == 0 {
		s.Env["BAD"] = rapid.SampledFrom([]string{"\x00", "a\x00b", "\xff", "\xc3("}).Draw(t, "bad value")
	}
	if rapid.Bool().Draw(t, "workdir") {
		s.Workdir = "w" + text.Draw(t, "dir")
	}
	s.Isolation = rapid.SampledFrom([]schema.Isolation{"process", "namespace", "namespace", "sandbox"}).Draw(t, "isolation")
	s.Health = rapid.SampledFrom([]string{"", "none", "/", "/up", "/a b$(x)${y}"}).Draw(t, "health")
	s.Restart = rapid.SampledFrom([]schema.Restart{"always", "on-failure", "never"}).Draw(t, "restart")
	s.StopSignal = rapid.SampledFrom([]string{"SIGTERM", "SIGINT", "SIGWINCH"}).Draw(t, "signal")
	s.StopTimeout = time.Duration(rapid.IntRange(0, 3600).Draw(t, "stop")) * time.Second
	s.MemoryLimitMB = rapid.SampledFrom([]uint32{0, 1, 256, 100000}).Draw(t, "memory")
	s.CPUShares = rapid.SampledFrom([]uint32{0, 1, 100, 10000}).Draw(t, "cpu")
	s.StoragePersist = rapid.Bool().Draw(t, "persist")
	s.StorageQuotaMB = rapid.SampledFrom([]uint32{0, 1, 3000}).Draw(t, "quota")
	if len(earlier) > 0 && rapid.Bool().Draw(t, "depends") {
		on := rapid.SampledFrom(earlier).Draw(t, "on")
		s.DependsOn = []schema.Dependency{{Service: on, Condition: rapid.SampledFrom([]schema.Condition{"started", "healthy"}).Draw(t, "condition")}}
	}
}

// EnvList is an environment as NAME=value, sorted.
func EnvList(env map[string]string) []string {
	var list []string
	for _, name := range slices.Sorted(maps.Keys(env)) {
		list = append(list, name+"="+env[name])
	}
	return list
}

// OddNames gives some services a variable whose name is no word: the config takes
// any that has neither = nor a zero byte in it.
func OddNames(t *rapid.T, m *schema.Model) {
	for _, s := range m.Services {
		name := strings.NewReplacer("=", "", "\x00", "").Replace(Text().Draw(t, "odd name"))
		if name != "" && rapid.IntRange(0, 3).Draw(t, "odd") == 0 {
			s.Env[name] = "odd"
		}
	}
}
