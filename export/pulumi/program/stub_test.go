package program

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/pulumi/pulumi-docker/sdk/v4/go/docker"
	"github.com/pulumi/pulumi/sdk/v3/go/common/util/rpcutil"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	pulumirpc "github.com/pulumi/pulumi/sdk/v3/proto/go"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/structpb"

	tenpulumi "github.com/tenement/ten/export/pulumi"
)

// plugin is the name under which Pulumi starts the provider.
const plugin = "pulumi-resource-docker"

// containerType is Pulumi's name of docker:Container.
const containerType = "docker:index/container:Container"

// TestMain is the provider too, where Pulumi starts this program under its name.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) != plugin {
		os.Exit(m.Run())
	}
	if err := serve(os.Args[len(os.Args)-1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// serve answers the engine, which is told the port, until the engine is gone.
func serve(engine string) error {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt)
	defer cancel()
	if err := rpcutil.Healthcheck(ctx, engine, time.Minute, cancel); err != nil {
		return err
	}
	handle, err := rpcutil.ServeWithOptions(rpcutil.ServeOptions{Init: func(s *grpc.Server) error {
		pulumirpc.RegisterResourceProviderServer(s, &stub{})
		return nil
	}})
	if err != nil {
		return err
	}
	fmt.Println(handle.Port)
	select {
	case err := <-handle.Done:
		return err
	case <-ctx.Done():
		return nil
	}
}

// stub is a docker provider without Docker: it has the resources of the SDK's
// types, property by property, and makes whatever is asked of it in words only.
type stub struct {
	pulumirpc.UnimplementedResourceProviderServer
}

func (*stub) GetSchema(context.Context, *pulumirpc.GetSchemaRequest) (*pulumirpc.GetSchemaResponse, error) {
	data, err := json.Marshal(schemaOf(map[string]kind{
		containerType:                  {docker.Container{}, docker.ContainerArgs{}},
		"docker:index/image:Image":     {docker.Image{}, docker.ImageArgs{}},
		"docker:index/network:Network": {docker.Network{}, docker.NetworkArgs{}},
		"docker:index/volume:Volume":   {docker.Volume{}, docker.VolumeArgs{}},
	}))
	return &pulumirpc.GetSchemaResponse{Schema: string(data)}, err
}

func (*stub) GetPluginInfo(context.Context, *emptypb.Empty) (*pulumirpc.PluginInfo, error) {
	return &pulumirpc.PluginInfo{Version: tenpulumi.ProviderVersion}, nil
}

func (*stub) CheckConfig(_ context.Context, r *pulumirpc.CheckRequest) (*pulumirpc.CheckResponse, error) {
	return &pulumirpc.CheckResponse{Inputs: r.GetNews()}, nil
}

func (*stub) DiffConfig(context.Context, *pulumirpc.DiffRequest) (*pulumirpc.DiffResponse, error) {
	return &pulumirpc.DiffResponse{}, nil
}

func (*stub) Configure(context.Context, *pulumirpc.ConfigureRequest) (*pulumirpc.ConfigureResponse, error) {
	return &pulumirpc.ConfigureResponse{SupportsPreview: true}, nil
}

func (*stub) Check(_ context.Context, r *pulumirpc.CheckRequest) (*pulumirpc.CheckResponse, error) {
	return &pulumirpc.CheckResponse{Inputs: r.GetNews()}, nil
}

func (*stub) Diff(_ context.Context, r *pulumirpc.DiffRequest) (*pulumirpc.DiffResponse, error) {
	d := pulumirpc.DiffResponse_DIFF_NONE
	if !reflect.DeepEqual(r.GetOldInputs().AsMap(), r.GetNews().AsMap()) {
		d = pulumirpc.DiffResponse_DIFF_SOME
	}
	return &pulumirpc.DiffResponse{Changes: d}, nil
}

func (*stub) Create(_ context.Context, r *pulumirpc.CreateRequest) (*pulumirpc.CreateResponse, error) {
	made := r.GetProperties()
	if strings.Contains(r.GetUrn(), "docker:index/image:Image") {
		made.Fields["repoDigest"] = structpb.NewStringValue("digest of " + made.GetFields()["imageName"].GetStringValue())
	}
	return &pulumirpc.CreateResponse{Id: "made", Properties: made}, nil
}

func (*stub) Cancel(context.Context, *emptypb.Empty) (*emptypb.Empty, error) {
	return &emptypb.Empty{}, nil
}

// kind is a resource by the SDK's types: what it has, and what it is made from.
type kind struct {
	resource any
	args     interface{ ElementType() reflect.Type }
}

// shape is an object of a schema.
type shape struct {
	Type           string         `json:"type,omitempty"`
	Properties     map[string]any `json:"properties"`
	Required       []string       `json:"required,omitempty"`
	Inputs         map[string]any `json:"inputProperties,omitempty"`
	RequiredInputs []string       `json:"requiredInputs,omitempty"`
}

// schemaWriter collects the types that properties refer to.
type schemaWriter struct{ types map[string]shape }

func schemaOf(kinds map[string]kind) map[string]any {
	w := schemaWriter{map[string]shape{}}
	resources := map[string]shape{}
	for token, k := range kinds {
		var s shape
		s.Inputs, s.RequiredInputs = w.properties(k.args.ElementType())
		s.Properties, s.Required = w.properties(reflect.TypeOf(k.resource))
		resources[token] = s
	}
	return map[string]any{"name": "docker", "version": tenpulumi.ProviderVersion, "resources": resources, "types": w.types}
}

// properties are those of a struct, and the names of those that have to be there.
// Whether a list has to be, the SDK's types don't say.
func (w schemaWriter) properties(t reflect.Type) (all map[string]any, required []string) {
	all = map[string]any{}
	for i := range t.NumField() {
		f := t.Field(i)
		name, ok := f.Tag.Lookup("pulumi")
		if !ok {
			continue
		}
		ty := f.Type
		if out, ok := reflect.Zero(ty).Interface().(pulumi.Output); ok {
			ty = out.ElementType()
		}
		all[name] = w.typeOf(ty)
		switch ty.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Map, reflect.Interface:
		default:
			required = append(required, name)
		}
	}
	return all, required
}

func (w schemaWriter) typeOf(t reflect.Type) map[string]any {
	switch t.Kind() {
	case reflect.Pointer:
		return w.typeOf(t.Elem())
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.Int:
		return map[string]any{"type": "integer"}
	case reflect.Float64:
		return map[string]any{"type": "number"}
	case reflect.String:
		return map[string]any{"type": "string"}
	case reflect.Slice:
		return map[string]any{"type": "array", "items": w.typeOf(t.Elem())}
	case reflect.Map:
		return map[string]any{"type": "object", "additionalProperties": w.typeOf(t.Elem())}
	case reflect.Struct:
		token := "docker:index/" + strings.ToLower(t.Name()[:1]) + t.Name()[1:] + ":" + t.Name()
		if _, ok := w.types[token]; !ok {
			w.types[token] = shape{} // it may hold itself
			properties, required := w.properties(t)
			w.types[token] = shape{Type: "object", Properties: properties, Required: required}
		}
		return map[string]any{"$ref": "#/types/" + token}
	}
	return map[string]any{"$ref": "pulumi.json#/Any"}
}
