package nomad

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/hcl/v2/hclparse"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/hclwrite"
	"github.com/hashicorp/nomad/api"
	"github.com/zclconf/go-cty/cty"
	"pgregory.net/rapid"

	"github.com/tenement/ten/export"
	"github.com/tenement/ten/export/exporttest"
	"github.com/tenement/ten/schema"
)

type fataler interface {
	Helper()
	Fatalf(string, ...any)
}

// read gives the jobs of a bundle by name, after HCL's parser, every attribute and
// block known to Nomad's own types.
func read(t fataler, b export.Bundle) map[string]*hclsyntax.Body {
	t.Helper()
	jobs := map[string]*hclsyntax.Body{}
	for _, file := range b.Files {
		if !strings.HasSuffix(file.Path, ".nomad.hcl") {
			continue
		}
		f, diags := hclparse.NewParser().ParseHCL(file.Data, file.Path)
		if diags.HasErrors() {
			t.Fatalf("%v\n%s", diags, file.Data)
		}
		if string(hclwrite.Format(file.Data)) != string(file.Data) {
			t.Fatalf("%s is not formatted:\n%s", file.Path, file.Data)
		}
		for _, block := range f.Body.(*hclsyntax.Body).Blocks {
			known(t, block.Type, block.Body, reflect.TypeFor[api.Job]())
			jobs[block.Labels[0]] = block.Body
		}
	}
	return jobs
}

// known holds a body to a type of Nomad's API, by the names in its tags: an
// attribute to a field of its kind, a block to a struct.
func known(t fataler, where string, body *hclsyntax.Body, ty reflect.Type) {
	t.Helper()
	fields := map[string]reflect.Type{}
	for i := range ty.NumField() {
		name, _, _ := strings.Cut(ty.Field(i).Tag.Get("hcl"), ",")
		if name == "" {
			name = strings.ToLower(ty.Field(i).Name)
		}
		fields[name] = ty.Field(i).Type
	}
	for name, attr := range body.Attributes {
		field, ok := fields[name]
		if !ok {
			t.Fatalf("%s: Nomad knows no %s", where, name)
		}
		v, diags := attr.Expr.Value(nil)
		if diags.HasErrors() {
			t.Fatalf("%s.%s: %v", where, name, diags)
		}
		for field.Kind() == reflect.Pointer {
			field = field.Elem()
		}
		if !fits(v, field) {
			t.Fatalf("%s.%s = %#v does not fit %s", where, name, v, field)
		}
	}
	for _, block := range body.Blocks {
		field, ok := fields[block.Type]
		if !ok {
			field, ok = fields[block.Type+"s"]
		}
		if alias := map[string]string{"group": "taskgroups", "port": "dynamicports", "check_restart": "checkrestart"}[block.Type]; !ok && alias != "" {
			field, ok = fields[alias]
		}
		if !ok {
			t.Fatalf("%s: Nomad knows no block %s among %v", where, block.Type, fields)
		}
		if block.Type == "config" { // a driver's own
			continue
		}
		for field.Kind() == reflect.Pointer || field.Kind() == reflect.Slice || field.Kind() == reflect.Map {
			field = field.Elem()
		}
		known(t, where+"."+block.Type, block.Body, field)
	}
}

func fits(v cty.Value, field reflect.Type) bool {
	switch ty := v.Type(); {
	case field == reflect.TypeFor[time.Duration]():
		_, err := time.ParseDuration(v.AsString())
		return err == nil
	case ty == cty.String:
		return field.Kind() == reflect.String
	case ty == cty.Bool:
		return field.Kind() == reflect.Bool
	case ty == cty.Number:
		return field.Kind() >= reflect.Int && field.Kind() <= reflect.Uint64
	case ty.IsTupleType():
		return field.Kind() == reflect.Slice
	default:
		return field.Kind() == reflect.Map
	}
}

// find gives the block of a type and label, or nil.
func find(body *hclsyntax.Body, kind string, labels ...string) *hclsyntax.Body {
	for _, b := range body.Blocks {
		if b.Type == kind && slices.Equal(b.Labels, labels) {
			return b.Body
		}
	}
	return nil
}

func values(t fataler, body *hclsyntax.Body, name string) []string {
	t.Helper()
	attr := body.Attributes[name]
	if attr == nil {
		return nil
	}
	v, diags := attr.Expr.Value(nil)
	if diags.HasErrors() {
		t.Fatalf("%s: %v", name, diags)
	}
	var all []string
	switch ty := v.Type(); {
	case ty == cty.String:
		all = []string{v.AsString()}
	case ty == cty.Number:
		all = []string{v.AsBigFloat().Text('f', 0)}
	case ty.IsTupleType():
		for _, e := range v.AsValueSlice() {
			all = append(all, e.AsString())
		}
	case ty.IsObjectType():
		env := map[string]string{}
		for k, e := range v.AsValueMap() {
			env[k] = e.AsString()
		}
		all = exporttest.EnvList(env)
	}
	return all
}

func TestEveryValueComesBack(t *testing.T) {
	t.Parallel()
	exporttest.Property[map[string]*hclsyntax.Body]{
		Target: Target(), Layout: export.ContainerLayout("nomad"),
		Edit: func(t *rapid.T, m *schema.Model) {
			if rapid.Bool().Draw(t, "tame") { // else most models are refused for ${ and odd names
				tame(m)
			}
		},
		Read: func(t *rapid.T, b export.Bundle) map[string]*hclsyntax.Body { return read(t, b) },
		Compare: func(t *rapid.T, _ *schema.Model, in export.Instance, jobs map[string]*hclsyntax.Body) {
			compare(t, in, jobs)
		},
	}.Check(t)
}

// tame takes out of a model what Nomad would fill in.
func tame(m *schema.Model) {
	r := strings.NewReplacer("${", "$", "%{", "%", "\u0301", "", "\u0338", "")
	for _, s := range m.Services {
		for i, a := range s.Args {
			s.Args[i] = r.Replace(r.Replace(a))
		}
		env := map[string]string{}
		for k, v := range s.Env {
			env[strings.ReplaceAll(k, "-", "_")] = r.Replace(r.Replace(v))
		}
		s.Env, s.Workdir = env, ""
		if strings.Contains(s.Health, "$") {
			s.Health = "/up"
		}
	}
	m.Settings.DataDir = "/srv"
}

func compare(t fataler, in export.Instance, jobs map[string]*hclsyntax.Body) {
	t.Helper()
	s := in.Service
	job := jobs["shop-"+strings.ReplaceAll(s.Name, "_", "-")]
	if job == nil {
		t.Fatalf("no job of %s in %v", s.Name, jobs)
	}
	group := find(job, "group", in.ID)
	if group == nil {
		t.Fatalf("no group %s", in.Label())
	}
	task := find(group, "task", "main")
	config := find(task, "config")
	argv := slices.Concat(values(t, config, "entrypoint"), values(t, config, "command"), values(t, config, "args"))
	if env := values(t, task, "env"); !slices.Equal(argv, in.Argv) || !slices.Equal(env, exporttest.EnvList(in.Env)) {
		t.Fatalf("%s came back as %q %q, want %q %q", in.Label(), argv, env, in.Argv, exporttest.EnvList(in.Env))
	}
	want := map[string][]string{"kill_signal": {s.StopSignal}, "kill_timeout": {s.StopTimeout.String()}}
	for name, w := range want {
		if got := values(t, task, name); !slices.Equal(got, w) {
			t.Fatalf("%s: %s came back as %q, want %q", in.Label(), name, got, w)
		}
	}
	if s.Source != "db" && values(t, config, "work_dir")[0] != in.Dir {
		t.Fatalf("dir %q, want %q", values(t, config, "work_dir"), in.Dir)
	}
	if r := find(task, "resources"); s.MemoryLimitMB > 0 && values(t, r, "memory")[0] != fmt.Sprint(s.MemoryLimitMB) {
		t.Fatalf("memory %q", values(t, r, "memory"))
	}
	if mount := find(task, "volume_mount"); (mount != nil) != s.StoragePersist || mount != nil && values(t, mount, "destination")[0] != in.Data {
		t.Fatalf("%s: mount %v", in.Label(), mount)
	}
	if kind := values(t, job, "type")[0]; (kind == "batch") != (s.Restart == schema.RestartNever) {
		t.Fatalf("%s, restart %s", kind, s.Restart)
	}
	service := find(group, "service")
	if (service != nil) != (in.Listen == export.ListenPort) {
		t.Fatalf("%s listens at %s, registered %v", in.Label(), in.Listen, service)
	}
	if service != nil && (find(service, "check") != nil) != (s.Health != schema.HealthNone) {
		t.Fatalf("%s: health %q, check %v", in.Label(), s.Health, find(service, "check"))
	}
}

func TestShop(t *testing.T) {
	t.Parallel()
	m := exporttest.Shop()
	for _, s := range m.Services {
		delete(s.Env, "GREETING") // it holds ${HOME}
	}
	b, losses, err := export.Run(Target(), m, exporttest.Options())
	if err != nil {
		t.Fatal(err)
	}
	jobs := read(t, b)
	api := find(jobs["shop-api"], "group", "prod")
	if got := values(t, find(api, "restart"), "delay"); got[0] != "2.5s" || values(t, find(api, "restart"), "attempts")[0] != "5" {
		t.Errorf("restart after %q", got)
	}
	if check := find(find(api, "service"), "check"); values(t, check, "path")[0] != "/up?deep=1" || values(t, check, "interval")[0] != "15s" {
		t.Errorf("check %v", check)
	}
	if config := find(find(api, "task", "main"), "config"); values(t, config, "runtime")[0] != "runsc" || values(t, config, "cap_drop")[0] != "all" {
		t.Errorf("config %v", config)
	}
	if values(t, find(api, "update"), "min_healthy_time")[0] != "5s" {
		t.Errorf("update %v", find(api, "update"))
	}
	told := fmt.Sprint(losses)
	for _, want := range []string{"host volumes shop-db-ID", "300 MB", "max_kill_timeout", "depends_on", "idle_timeout"} {
		if !strings.Contains(told, want) {
			t.Errorf("nothing is told of %s: %s", want, told)
		}
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	for want, edit := range map[string]func(*schema.Service){
		"Nomad fills in":       func(s *schema.Service) { s.Env = map[string]string{"A": "x ${NOMAD_PORT_main}"} },
		"fills in ${...}":      func(s *schema.Service) { s.Args = []string{"%{if}"} },
		"Nomad makes _":        func(s *schema.Service) { s.Env = map[string]string{"A-B": ""} },
		"NFC":                  func(s *schema.Service) { s.Args = []string{"e\u0301"} },
		"not modules":          func(s *schema.Service) { s.Isolation = "wasm" },
		"shares the kernel":    func(s *schema.Service) { s.Isolation = "vm" },
		"at most 63 letters":   func(s *schema.Service) { s.Name = strings.Repeat("w", 60) },
		"would both be called": func(s *schema.Service) { s.Name = "a_b" },
		"passes a listening":   func(s *schema.Service) { s.ListenFDs = true },
		"can't be reached":     func(s *schema.Service) { s.Network = schema.NetworkNone },
	} {
		m := exporttest.Model(exporttest.Service("a-b"), exporttest.Service("web", edit))
		_, _, err := export.Run(Target(), m, exporttest.Options())
		if refused, ok := errors.AsType[*export.RefusedError](err); !ok || !strings.Contains(refused.Why, want) || refused.Nearest == "" {
			t.Errorf("got %v, want a refusal about %q", err, want)
		}
	}
	m := exporttest.Model(exporttest.Service("web", func(s *schema.Service) { s.Env = map[string]string{"A": "$X ${ %"} }))
	if _, _, err := export.Run(Target(), m, exporttest.Options()); err != nil {
		t.Errorf("refused what Nomad leaves alone: %v", err)
	}
}
