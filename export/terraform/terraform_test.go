package terraform

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclparse"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/hclwrite"
	"github.com/zclconf/go-cty/cty"
	"golang.org/x/text/unicode/norm"
	"pgregory.net/rapid"

	"github.com/tenement/ten/export"
	"github.com/tenement/ten/export/docker"
	"github.com/tenement/ten/export/exporttest"
	"github.com/tenement/ten/schema"
)

// parse reads all .tf files of a bundle: blocks by type and label.
func parse(t interface{ Fatalf(string, ...any) }, b export.Bundle) map[string]*hclsyntax.Block {
	blocks := map[string]*hclsyntax.Block{}
	for _, file := range b.Files {
		if !strings.HasSuffix(file.Path, ".tf") {
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
			name := strings.Join(append([]string{block.Type}, block.Labels...), ".")
			if blocks[name] != nil {
				t.Fatalf("%s is there twice", name)
			}
			blocks[name] = block
		}
	}
	return blocks
}

// eval gives the values of a body: attributes by name, those of blocks as
// "block.attribute", several of one name one after the other.
func eval(t interface{ Fatalf(string, ...any) }, body *hclsyntax.Body) map[string][]string {
	ctx := &hcl.EvalContext{Variables: map[string]cty.Value{
		"path":           cty.ObjectVal(map[string]cty.Value{"module": cty.StringVal("MODULE")}),
		"docker_network": cty.ObjectVal(map[string]cty.Value{"project": cty.ObjectVal(map[string]cty.Value{"name": cty.StringVal("NETWORK")})}),
	}}
	values := map[string][]string{}
	for name, attr := range body.Attributes {
		if name == "depends_on" || name == "image" || name == "triggers" || name == "dockerfile" {
			continue
		}
		v, diags := attr.Expr.Value(ctx)
		if diags.HasErrors() {
			t.Fatalf("%s: %v", name, diags)
		}
		values[name] = flat(v)
	}
	for _, block := range body.Blocks {
		for name, v := range eval(t, block.Body) {
			values[block.Type+"."+name] = append(values[block.Type+"."+name], v...)
		}
	}
	return values
}

func flat(v cty.Value) []string {
	switch ty := v.Type(); {
	case ty == cty.String:
		return []string{v.AsString()}
	case ty == cty.Bool:
		return []string{fmt.Sprint(v.True())}
	case ty == cty.Number:
		return []string{v.AsBigFloat().Text('f', 0)}
	case ty.IsTupleType():
		var all []string
		for _, e := range v.AsValueSlice() {
			all = append(all, flat(e)...)
		}
		return all
	default:
		var all []string
		for key, e := range v.AsValueMap() {
			all = append(all, append([]string{key}, flat(e)...)...)
		}
		return all
	}
}

func TestEveryValueComesBack(t *testing.T) {
	t.Parallel()
	exporttest.Property[map[string]*hclsyntax.Block]{
		Target: Target(), Layout: export.ContainerLayout("terraform"),
		Read:    func(t *rapid.T, b export.Bundle) map[string]*hclsyntax.Block { return parse(t, b) },
		Compare: compare,
	}.Check(t)
}

// compare holds what came back against the instance, not against what the writer
// was given.
func compare(t *rapid.T, m *schema.Model, in export.Instance, blocks map[string]*hclsyntax.Block) {
	s := in.Service
	block := blocks["resource.docker_container."+label(s.Name+"-"+in.ID)]
	if block == nil {
		t.Fatalf("no container %s", in.Label())
	}
	got := eval(t, block.Body)
	want := map[string][]string{
		"env": exporttest.EnvList(in.Env), "stop_signal": {s.StopSignal}, "stop_timeout": {fmt.Sprint(int(s.StopTimeout.Seconds()))},
		"command": in.Argv,
	}
	if s.Source == "db" {
		want["entrypoint"] = in.Argv
		want["command"] = nil
	} else {
		want["working_dir"] = []string{in.Dir}
	}
	if s.MemoryLimitMB > 0 {
		want["memory"] = []string{fmt.Sprint(s.MemoryLimitMB)}
		want["memory_swap"] = want["memory"]
	}
	if s.CPUShares > 0 {
		want["cpu_shares"] = []string{fmt.Sprint(docker.Shares(s.CPUShares))}
	}
	if s.StoragePersist {
		want["volumes.container_path"] = []string{in.Data}
	}
	if s.Restart == schema.RestartOnFailure && m.Settings.MaxRestarts > 0 {
		want["restart"], want["max_retry_count"] = []string{"on-failure"}, []string{fmt.Sprint(m.Settings.MaxRestarts)}
	}
	for name, w := range want {
		if !slices.Equal(got[name], w) {
			t.Fatalf("%s: %s came back as %q, want %q", in.Label(), name, got[name], w)
		}
	}
	if s.Restart == schema.RestartNever && (got["restart"][0] != "no" || got["must_run"][0] != "false") {
		t.Fatalf("never became %q", got["restart"])
	}
	image := eval(t, blocks["resource.docker_image."+label(s.Name)].Body)
	if want := "MODULE/../../" + s.Source; image["build.context"][0] != want {
		t.Fatalf("context %q, want %q", image["build.context"], want)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		edit func(*schema.Service)
		want string
	}{
		"not NFC":         {func(s *schema.Service) { s.Env = map[string]string{"A": "e\u0301"} }, "NFC"},
		"joined with =":   {func(s *schema.Service) { s.Env = map[string]string{"A": "\u0338"} }, "NFC"},
		"vm":              {func(s *schema.Service) { s.Isolation = "vm" }, "shares the kernel"},
		"wasm":            {func(s *schema.Service) { s.Isolation = "wasm" }, "not modules"},
		"NUL":             {func(s *schema.Service) { s.Args = []string{"\x00"} }, "zero byte"},
		"name taken":      {func(s *schema.Service) { s.Name, s.Instances = "a", []string{"b-c", "b"} }, "would both be called"},
		"no such program": {func(s *schema.Service) { s.Build, s.Command = "", "mystery" }, "no image is known"},
	} {
		services := []*schema.Service{exporttest.Service("a-b", func(s *schema.Service) { s.Instances = []string{"c"} }), exporttest.Service("web", tc.edit)}
		_, _, err := export.Run(Target(), exporttest.Model(services...), exporttest.Options())
		if refused, ok := errors.AsType[*export.RefusedError](err); !ok || !strings.Contains(refused.Why, tc.want) || refused.Nearest == "" {
			t.Errorf("%s: got %v, want a refusal about %q", name, err, tc.want)
		}
	}
	if norm.NFC.IsNormalString("=\u0338") {
		t.Error("= and a combining stroke are normal by themselves: the case above shows nothing")
	}
}
