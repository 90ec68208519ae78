package program

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"go.yaml.in/yaml/v4"
	"pgregory.net/rapid"

	"github.com/tenement/ten/export"
	"github.com/tenement/ten/export/exporttest"
	tenpulumi "github.com/tenement/ten/export/pulumi"
	"github.com/tenement/ten/proptest"
	"github.com/tenement/ten/schema"
)

// recorder is an engine that makes nothing and keeps what it was asked for, as
// "type name" to the JSON of its inputs.
type recorder struct {
	mu   sync.Mutex
	made map[string]string
}

func (r *recorder) Call(pulumi.MockCallArgs) (resource.PropertyMap, error) {
	return nil, errors.New("a program that calls nothing called a function")
}

func (r *recorder) NewResource(args pulumi.MockResourceArgs) (string, resource.PropertyMap, error) {
	inputs, err := json.Marshal(args.Inputs.Mappable())
	if err != nil {
		return "", nil, err
	}
	r.mu.Lock()
	r.made[shortType(args.TypeToken)+" "+args.Name] = string(inputs)
	r.mu.Unlock()
	outputs := args.Inputs.Copy()
	outputs["repoDigest"] = resource.NewStringProperty("${" + args.Name + ".repoDigest}")
	if args.TypeToken != "docker:index/container:Container" {
		outputs["name"] = resource.NewStringProperty("${" + args.Name + ".name}")
	}
	return args.Name, outputs, nil
}

// shortType is a type as YAML spells it: docker:Container for
// docker:index/container:Container.
func shortType(token string) string {
	parts := strings.Split(token, ":")
	if strings.HasPrefix(parts[1], "index/") {
		return parts[0] + ":" + parts[2]
	}
	return token
}

// fromYAML is what the project asks for, in the recorder's form. What Pulumi does
// with dollars is done here: $$ is $; a reference stays as it is written.
func fromYAML(data []byte) (map[string]string, error) {
	var p struct {
		Resources map[string]struct {
			Type       string
			Properties map[string]any
		}
	}
	if err := yaml.Unmarshal(data, &p); err != nil {
		return nil, err
	}
	made := map[string]string{}
	for name, r := range p.Resources {
		inputs := r.Properties
		if inputs == nil {
			inputs = map[string]any{}
		}
		b, err := json.Marshal(undollar(inputs))
		if err != nil {
			return nil, err
		}
		made[r.Type+" "+name] = string(b)
	}
	return made, nil
}

func undollar(v any) any {
	switch v := v.(type) {
	case string:
		return strings.ReplaceAll(v, "$$", "$")
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = undollar(e)
		}
		return out
	case map[string]any:
		out := map[string]any{}
		for k, e := range v {
			out[k] = undollar(e)
		}
		return out
	}
	return v
}

// check runs the program of a model and holds it to the model's YAML.
func check(m *schema.Model) error {
	bundle, _, err := export.Run(tenpulumi.Target(), m, exporttest.Options())
	program, err2 := New(m, exporttest.Options())
	if (err == nil) != (err2 == nil) {
		return fmt.Errorf("export: %v, program: %v", err, err2)
	}
	if err != nil {
		return nil
	}
	r := &recorder{made: map[string]string{}}
	if err := pulumi.RunErr(program.Run, pulumi.WithMocks("shop", "dev", r)); err != nil {
		return err
	}
	var want map[string]string
	files := 0
	for _, f := range bundle.Files {
		if f.Path != "Pulumi.yaml" {
			files++
			continue
		}
		if want, err = fromYAML(f.Data); err != nil {
			return err
		}
	}
	if len(program.Files) != files {
		return fmt.Errorf("the program has %d files, the project %d", len(program.Files), files)
	}
	if len(want) != len(r.made) {
		return fmt.Errorf("the program made %d resources, the project %d", len(r.made), len(want))
	}
	for name, inputs := range want {
		if r.made[name] != inputs {
			return fmt.Errorf("%s\nprogram %s\nproject %s", name, r.made[name], inputs)
		}
	}
	return nil
}

func TestProgramIsTheProject(t *testing.T) {
	t.Parallel()
	if err := check(exporttest.Shop()); err != nil {
		t.Fatal(err)
	}
	if testing.Short() {
		return
	}
	proptest.Check(t, func(t *rapid.T) {
		if err := check(exporttest.Random().Draw(t, "model")); err != nil {
			t.Fatal(err)
		}
	})
}
