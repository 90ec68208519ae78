package load_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"cuelang.org/go/cue"

	"github.com/tenement/ten/schema"
)

// TestFieldsAreThoseOfCUE holds the tables of package schema to tenement.cue:
// names, order, required, aliases, what is for later, kinds and choices.
func TestFieldsAreThoseOfCUE(t *testing.T) {
	t.Parallel()
	ctx, root := compiled(t)
	slum := ctx.CompileString(schema.SlumCUE, cue.Scope(root))
	if err := slum.Err(); err != nil {
		t.Fatal(err)
	}
	for def, fields := range map[string][]schema.Field{
		"#Config":     schema.ConfigFields(),
		"#Service":    schema.ServiceFields(),
		"#Dependency": schema.DependencyFields(),
		"#Settings":   schema.SettingsFields(),
		"#TLS":        schema.TLSFields(),
		"#Routing":    schema.RoutingFields(),
		"#Slum":       schema.SlumFields(),
		"#Host":       schema.HostFields(),
		"#Placement":  schema.PlacementFields(),
	} {
		v := root.LookupPath(cue.ParsePath(def))
		if !v.Exists() {
			v = slum.LookupPath(cue.ParsePath(def))
		}
		it, err := v.Fields(cue.Optional(true))
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for it.Next() {
			name := it.Selector().Unquoted()
			names = append(names, name)
			i := slices.IndexFunc(fields, func(f schema.Field) bool { return f.Name == name })
			if i < 0 {
				t.Errorf("%s.%s is not in the Go table", def, name)
				continue
			}
			compareField(t, def, fields[i], it.Selector(), it.Value())
		}
		var ours []string
		for _, f := range fields {
			ours = append(ours, f.Name)
		}
		if !slices.Equal(names, ours) {
			t.Errorf("%s: the order differs\nCUE %v\nGo  %v", def, names, ours)
		}
	}
}

func compareField(t *testing.T, def string, f schema.Field, sel cue.Selector, v cue.Value) {
	t.Helper()
	where := def + "." + f.Name
	if required := sel.ConstraintType() == cue.RequiredConstraint; required != f.Required {
		t.Errorf("%s: required is %v in CUE, %v in Go", where, required, f.Required)
	}
	alias, later := "", false
	for _, a := range v.Attributes(cue.FieldAttr) {
		if a.Name() == "ten" {
			alias, _, _ = a.Lookup(0, "alias")
			later, _ = a.Flag(0, "later")
		}
	}
	if alias != f.Alias || later != f.Later {
		t.Errorf("%s: alias %q, later %v in CUE; %q, %v in Go", where, alias, later, f.Alias, f.Later)
	}
	if len(v.Doc()) == 0 {
		t.Errorf("%s has no comment in CUE, so editors show nothing", where)
	}
	if !f.Later && def != "#Config" && def != "#Slum" {
		if kind := kindOf(v); kind != f.Kind {
			t.Errorf("%s: kind is %q in CUE, %q in Go", where, kind, f.Kind)
		}
	}
	if enum := enumOf(v); !slices.Equal(enum, f.Enum) {
		t.Errorf("%s: choices are %q in CUE, %q in Go", where, enum, f.Enum)
	}
}

func kindOf(v cue.Value) schema.FieldKind {
	switch v.IncompleteKind() {
	case cue.StringKind:
		return schema.KindString
	case cue.IntKind:
		return schema.KindInt
	case cue.BoolKind:
		return schema.KindBool
	case cue.StructKind:
		if it, err := v.Fields(cue.Optional(true)); err == nil && it.Next() {
			return schema.KindTable
		}
		return schema.KindStringMap
	case cue.ListKind:
		switch v.LookupPath(cue.MakePath(cue.AnyIndex)).IncompleteKind() {
		case cue.StringKind:
			return schema.KindStrings
		case cue.IntKind:
			return schema.KindInts
		}
		return schema.KindDependencies
	}
	return schema.KindAny
}

// enumOf lists the choices of a disjunction of strings, in the order written.
func enumOf(v cue.Value) []string {
	if v.IncompleteKind() != cue.StringKind {
		return nil
	}
	op, parts := v.Expr()
	if op == cue.SelectorOp || op == cue.NoOp && len(parts) == 1 {
		op, parts = cue.Dereference(v).Expr()
	}
	if op != cue.OrOp {
		return nil
	}
	var list []string
	for _, p := range parts {
		if s, err := p.String(); err == nil {
			list = append(list, s)
		}
	}
	return list
}

// TestStructsHoldEveryField: a field of the schema that a build takes is a field
// of the Go struct, under the same name.
func TestStructsHoldEveryField(t *testing.T) {
	t.Parallel()
	renamed := map[string]string{"backoff_base_ms": "backoff_base", "backoff_max_ms": "backoff_max"}
	for _, c := range []struct {
		of     any
		fields []schema.Field
		extra  []string // not fields of the config
	}{
		{schema.Service{}, schema.ServiceFields(), []string{"name", "origin", "fields", "digest"}},
		{schema.Dependency{}, schema.DependencyFields(), nil},
		{schema.Settings{}, schema.SettingsFields(), nil},
		{schema.TLS{}, schema.TLSFields(), nil},
		{schema.Routing{}, schema.RoutingFields(), nil},
		{schema.Host{}, schema.HostFields(), []string{"name", "origin"}},
		{schema.Placement{}, schema.PlacementFields(), []string{"service", "origin"}},
	} {
		want := slices.Clone(c.extra)
		for _, f := range c.fields {
			if f.Later || f.Alias != "" {
				continue
			}
			name := f.Name
			if r := renamed[name]; r != "" {
				name = r
			}
			want = append(want, name)
		}
		var got []string
		typ := reflect.TypeOf(c.of)
		for i := range typ.NumField() {
			name, _, _ := strings.Cut(typ.Field(i).Tag.Get("json"), ",")
			got = append(got, name)
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%T\nhas  %v\nwant %v", c.of, got, want)
		}
	}
}

// TestEveryFieldReachesTheModel sets each field alone and looks for it.
func TestEveryFieldReachesTheModel(t *testing.T) {
	t.Parallel()
	plain := mustLoad(t, map[string]string{"tenement.toml": "[service.db]\ncommand = \"db\"\n[service.web]\ncommand = \"x\"\n", "sub/file": "x"}).Service("web")
	values := map[string]string{
		"command": `"y"`, "args": `["a"]`, "build": `"make"`, "source": `"sub"`, "env": `{ A = "b" }`, "workdir": `"w"`,
		"isolation": `"vm"`, "socket": `"/s"`, "port": `80`, "health": `"/up"`, "restart": `"never"`, "depends_on": `["db"]`,
		"idle_timeout": `1`, "startup_timeout": `2`, "request_timeout": `3`, "min_healthy": `4`, "stop_signal": `"SIGINT"`,
		"stop_timeout": `5`, "memory_limit_mb": `6`, "cpu_shares": `7`, "storage_quota_mb": `8`, "storage_persist": `false`,
		"network": `"none"`, "listen_fds": `true`, "sleep": `"freeze"`, "min_running": `1`, "wake_queue": `11`,
		"domains": `["a.example"]`, "instance_domains": `{ "b.example" = "i" }`, "weight": `12`, "deploy": `"canary"`,
		"canary_steps": `[5]`, "canary_seconds": `13`, "drain_timeout": `14`,
		"instances": `["i"]`, "on_demand": `false`, "max_instances": `9`,
	}
	for _, f := range schema.ServiceFields() {
		if f.Later || f.Alias != "" {
			continue
		}
		value := values[f.Name]
		if value == "" {
			t.Errorf("give this test a value for %s", f.Name)
			continue
		}
		lines := f.Name + " = " + value + "\n"
		if f.Name != "command" {
			lines += "command = \"x\"\n"
		}
		s := mustLoad(t, map[string]string{
			"tenement.toml": "[service.db]\ncommand = \"db\"\n[service.web]\n" + lines, "sub/file": "x",
		}).Service("web")
		before, after := asMap(t, plain), asMap(t, s)
		if fmt.Sprint(before[f.Name]) == fmt.Sprint(after[f.Name]) {
			t.Errorf("%s = %s: the model still says %v", f.Name, value, after[f.Name])
		}
		inFields := s.Fields[f.Name] != "" || f.Name == "env" && s.Fields["env.A"] == `"b"`
		if inFields == (f.Name == "instances") {
			t.Errorf("%s: Fields are %v", f.Name, s.Fields)
		}
		if (s.Digest == plain.Digest) != (f.Name == "instances") {
			t.Errorf("%s: digest before %s, after %s", f.Name, plain.Digest, s.Digest)
		}
	}
}

func asMap(t *testing.T, v any) map[string]any {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

// TestDefaultsFitTheSchema: what Go fills in, a user could have written.
func TestDefaultsFitTheSchema(t *testing.T) {
	t.Parallel()
	ctx, root := compiled(t)
	for def, defaults := range map[string][]schema.Default{"#Service": schema.ServiceDefaults(), "#Settings": schema.SettingsDefaults(), "#TLS": schema.TLSDefaults()} {
		value := map[string]any{}
		if def == "#Service" {
			value["command"] = "x"
		}
		for _, d := range defaults {
			value[d.Field] = d.Value
		}
		if err := root.LookupPath(cue.ParsePath(def)).Unify(ctx.Encode(value)).Validate(cue.Concrete(true)); err != nil {
			t.Errorf("%s: %v", def, err)
		}
	}
}

// TestNamesAreThoseOfCUE: the Go functions judge as the patterns do.
func TestNamesAreThoseOfCUE(t *testing.T) {
	t.Parallel()
	_, root := compiled(t)
	long := strings.Repeat("a", 63)
	samples := []string{
		"", "a", "A", "a-b", "a_b", "-a", "a-", "_a", "a_", "0", "a.b", "a/b", "..", "ä", "a b", "a\n", long, long + "a", "a\x00", "a--b", "a-_b",
	}
	for def, valid := range map[string]func(string) bool{"#ServiceName": schema.ValidServiceName, "#ID": schema.ValidInstanceID} {
		_, args := root.LookupPath(cue.ParsePath(def)).Expr()
		pattern, err := args[0].String()
		if err != nil {
			t.Fatal(err)
		}
		re := regexp.MustCompile(pattern)
		for _, s := range samples {
			if re.MatchString(s) != valid(s) {
				t.Errorf("%s: %q is %v in CUE, %v in Go", def, s, re.MatchString(s), valid(s))
			}
		}
	}
}

// TestCUEHasNoDefaults keeps the schema lean.
func TestCUEHasNoDefaults(t *testing.T) {
	t.Parallel()
	for i, line := range strings.Split(schema.CUE, "\n") {
		if code, _, _ := strings.Cut(line, "//"); strings.Contains(code, "*") && !strings.Contains(code, "=~") {
			t.Errorf("tenement.cue:%d: defaults belong in defaults.go: %s", i+1, line)
		}
	}
}
