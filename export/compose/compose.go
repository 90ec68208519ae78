// Package compose exports a model as a compose.yaml: one Compose service for
// each instance, with the walls that a container can have. Docker Compose loads
// it back to the values that the model has.
package compose

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"

	"github.com/tenement/ten/export"
	"github.com/tenement/ten/export/docker"
	"github.com/tenement/ten/schema"
)

const file = "compose.yaml"

// Target is the export to Compose.
func Target() export.Target {
	return export.Target{
		Name: "compose", Short: "compose.yaml for Docker Compose, Dockerfiles included",
		Export: run, Uses: uses(),
	}
}

// exporter is one run: what is the same for all instances, and what they share.
type exporter struct {
	model  *schema.Model
	opts   export.Options
	layout export.Layout
	names  export.Names
	ports  map[string]int // by label, on the host
	images map[string]export.Image
	probes map[string]bool // services whose instances Compose can ask
	losses []export.Loss
}

func run(m *schema.Model, o export.Options) (export.Bundle, []export.Loss, error) {
	layout := export.ContainerLayout("compose")
	all, losses, err := export.Instances(m, layout)
	if err != nil {
		return export.Bundle{}, nil, err
	}
	e := &exporter{
		model: m, opts: o, layout: layout, names: export.Names{Layout: layout},
		images: map[string]export.Image{}, probes: map[string]bool{}, losses: losses,
	}
	if err := e.prepare(all); err != nil {
		return export.Bundle{}, nil, err
	}
	if e.ports, err = docker.HostPorts(all, layout); err != nil {
		return export.Bundle{}, nil, err
	}
	project := &types.Project{Name: o.Project, Services: types.Services{}, Volumes: types.Volumes{}}
	networks := types.Networks{}
	for _, in := range all {
		name := nameOf(in.Service.Name, in.ID)
		if err := e.names.Take(name, in); err != nil {
			return export.Bundle{}, nil, err
		}
		s, err := e.service(in)
		if err != nil {
			return export.Bundle{}, nil, err
		}
		project.Services[name] = s
		if in.Service.Network == schema.NetworkNone && in.Listen != export.ListenNowhere {
			networks[name] = types.NetworkConfig{Internal: true}
		}
		if in.Service.StoragePersist {
			project.Volumes[name] = types.VolumeConfig{}
		}
	}
	if len(networks) > 0 {
		project.Networks = networks
	}
	data, err := encode(project)
	if err != nil {
		return export.Bundle{}, nil, fmt.Errorf("export compose: %w", err)
	}
	return export.Bundle{
		Files: []export.File{{Path: file, Data: data}},
		Steps: []string{"docker compose up --build --detach"},
	}, e.losses, nil
}

// prepare judges the services before any instance of them is written.
func (e *exporter) prepare(all []export.Instance) error {
	for _, in := range all {
		s := in.Service
		if _, done := e.images[s.Name]; done {
			continue
		}
		if err := e.wall(s); err != nil {
			return err
		}
		image, err := export.ImageFor(e.model, s, e.opts, e.layout)
		if err != nil {
			return err
		}
		e.images[s.Name] = image
		e.probes[s.Name] = s.Health != schema.HealthNone && in.Listen == export.ListenPort
	}
	return nil
}

// wall refuses the levels that a container is not.
func (e *exporter) wall(s *schema.Service) error {
	if s.ListenFDs {
		return e.layout.Refuse(s, "listen_fds", "true", "Docker passes no listening socket to a program", "let it listen at {port}, or ten export systemd")
	}
	for _, name := range slices.Sorted(maps.Keys(s.Env)) {
		if strings.HasPrefix(name, "x-") {
			return e.layout.Refuse(s, "env."+name, strconv.Quote(s.Env[name]), "Compose takes what begins with x- for an extension of its own", "another name")
		}
	}
	if _, written := s.Fields["network"]; written && s.Network == schema.NetworkHost {
		e.lose(s, "network", "host", export.Converted, "a container has a network of its own", "others find it by its name, "+nameOf(s.Name, "ID"))
	}
	switch s.Isolation {
	case "vm":
		return e.layout.Refuse(s, "isolation", "vm", "a container shares the kernel of its host", "ten export fly, where everything is a vm, or isolation = \"sandbox\"")
	case "wasm":
		return e.layout.Refuse(s, "isolation", "wasm", "Docker runs programs of the host's processor, not modules", "keep it on ten, or isolation = \"sandbox\" with a native build")
	case "process":
		e.lose(s, "isolation", "process", export.Converted, "a container has its own files, processes and network", "what it shared with the host it no longer sees")
	}
	return nil
}

func (e *exporter) lose(s *schema.Service, field, value string, kind export.Kind, why, instead string) {
	e.losses = append(e.losses, export.Loss{Service: s.Name, Field: field, Value: value, Kind: kind, Why: why, Instead: instead})
}

// nameOf is what an instance is called; names.Take refuses two of one name.
func nameOf(service, id string) string { return service + "-" + id }

// dependencies waits for every instance of what a service depends on.
func (e *exporter) dependencies(s *schema.Service) types.DependsOnConfig {
	if len(s.DependsOn) == 0 {
		return nil
	}
	deps := types.DependsOnConfig{}
	for _, d := range s.DependsOn {
		on := e.model.Service(d.Service)
		if on == nil {
			continue
		}
		condition := types.ServiceConditionStarted
		if d.Condition == schema.ConditionHealthy && e.probes[d.Service] {
			condition = types.ServiceConditionHealthy
		}
		for _, id := range on.Instances {
			deps[nameOf(on.Name, id)] = types.ServiceDependency{Condition: condition, Required: true}
		}
	}
	return deps
}

// tellDependencies says once for a service what its dependents can't wait for.
func (e *exporter) tellDependencies(s *schema.Service) {
	for _, d := range s.DependsOn {
		on := e.model.Service(d.Service)
		switch {
		case on == nil:
		case len(on.Instances) == 0:
			e.lose(s, "depends_on", d.Service, export.Lost, d.Service+" declares no instance, so there is none to wait for", "")
		case d.Condition == schema.ConditionHealthy && !e.probes[d.Service]:
			e.lose(s, "depends_on", d.Service, export.Converted, "Compose can't ask "+d.Service+" whether it is healthy", "condition service_started")
		}
	}
}

// build is the image of a service, made from its source.
func (e *exporter) build(image export.Image) *types.BuildConfig {
	b := &types.BuildConfig{Context: escape(image.BuildContext(e.opts))}
	if image.Dockerfile != "" {
		b.Dockerfile = path.Base(image.Dockerfile)
		return b
	}
	b.DockerfileInline = escape(string(image.Generated))
	return b
}

func escapeAll(words []string) []string {
	out := slices.Clone(words)
	for i, w := range out {
		out[i] = escape(w)
	}
	return out
}
