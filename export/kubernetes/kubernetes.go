// Package kubernetes exports a model as manifests: for each instance a
// Deployment (or a Job that runs once), a Service, a NetworkPolicy and a
// PersistentVolumeClaim, and an HTTPRoute for each way in. The official types
// read every manifest back, strictly, to the values that the model has; they are
// not linked into ten, see RATIONALE.md.
package kubernetes

import (
	"fmt"
	"path"
	"slices"

	shellquote "github.com/kballard/go-shellquote"

	"github.com/tenement/ten/export"
	"github.com/tenement/ten/schema"
)

const header = "# Made by ten export kubernetes. Edit the config and export again.\n"

// Target is the export to Kubernetes.
func Target() export.Target {
	return export.Target{
		Name: "kubernetes", Short: "manifests for Kubernetes and its Gateway API, Dockerfiles included",
		Export: run, Uses: uses(),
	}
}

// exporter is one run: what is the same for all instances, and what they share.
type exporter struct {
	model    *schema.Model
	opts     export.Options
	layout   export.Layout
	names    export.Names
	services map[string]*service
	losses   []export.Loss
}

// service is what was found out about a service before its instances are made.
type service struct {
	image   export.Image
	probe   export.Probe
	request string
	listens bool
	routed  bool
	members []export.Instance
}

func run(m *schema.Model, o export.Options) (export.Bundle, []export.Loss, error) {
	layout := export.ContainerLayout("kubernetes")
	all, losses, err := export.Instances(m, layout)
	if err != nil {
		return export.Bundle{}, nil, err
	}
	e := &exporter{
		model: m, opts: o, layout: layout, names: export.Names{Layout: layout},
		services: map[string]*service{}, losses: losses,
	}
	if err := e.prepare(all); err != nil {
		return export.Bundle{}, nil, err
	}
	files, err := e.files()
	if err != nil {
		return export.Bundle{}, nil, err
	}
	return export.Bundle{Files: files, Steps: e.steps()}, e.losses, nil
}

// prepare judges the services before any instance of them is written.
func (e *exporter) prepare(all []export.Instance) error {
	for _, in := range all {
		s := in.Service
		if e.services[s.Name] != nil {
			e.services[s.Name].members = append(e.services[s.Name].members, in)
			continue
		}
		if s.Isolation == "wasm" {
			return e.layout.Refuse(s, "isolation", "wasm", "a pod runs programs of the node's processor, not modules", `keep it on ten, or isolation = "sandbox" with a native build`)
		}
		if s.ListenFDs {
			return e.layout.Refuse(s, "listen_fds", "true", "nobody passes a listening socket to a pod", "let it listen at {port}, or ten export systemd")
		}
		image, err := export.ImageFor(e.model, s, e.opts, e.layout)
		if err != nil {
			return err
		}
		probe, request, err := e.layout.ProbeOf(s)
		if err != nil {
			return err
		}
		e.services[s.Name] = &service{
			image: image, probe: probe, request: request, listens: in.Listen == export.ListenPort, members: []export.Instance{in},
		}
		e.tell(in, image)
	}
	for _, way := range e.ways() {
		if sv := e.services[way.service]; sv != nil {
			sv.routed = true
		}
	}
	e.tellPlacement()
	if len(all) > 0 && e.opts.Registry == "" {
		e.losses = append(e.losses, export.Loss{
			Field: "source", Value: "no --registry given", Kind: export.Converted,
			Why: "a cluster pulls images, and nobody said where from", Instead: "images have local names; export with --registry",
		})
	}
	return nil
}

// manifest is a file of objects.
type manifest struct {
	name    string
	objects []any
}

// files are all files, not sorted.
func (e *exporter) files() ([]export.File, error) {
	space := object{APIVersion: "v1", Kind: "Namespace", Metadata: meta{Name: e.opts.Project, Labels: e.labels("", "")}}
	manifests := []manifest{{"namespace.yaml", []any{space}}}
	var files []export.File
	for _, s := range e.model.Services {
		sv := e.services[s.Name]
		if sv == nil {
			continue
		}
		if sv.image.Dockerfile == "" {
			files = append(files, export.File{Path: dockerfile(s.Name), Data: sv.image.Generated})
		}
		m := manifest{name: "services/" + s.Name + ".yaml"}
		for _, in := range sv.members {
			made, err := e.objects(in, sv)
			if err != nil {
				return nil, err
			}
			m.objects = append(m.objects, made...)
		}
		manifests = append(manifests, m)
	}
	routes, err := e.routes()
	if err != nil {
		return nil, err
	}
	if len(routes) > 0 {
		manifests = append(manifests, manifest{"routes.yaml", routes})
	}
	list := kustomization{APIVersion: "kustomize.config.k8s.io/v1beta1", Kind: "Kustomization"}
	for _, m := range manifests {
		list.Resources = append(list.Resources, m.name)
	}
	written, err := encode(append(manifests, manifest{"kustomization.yaml", []any{list}}))
	return append(files, written...), err
}

// encode writes manifests, the objects of each one after the other.
func encode(manifests []manifest) ([]export.File, error) {
	documents, err := export.EachYAML(len(manifests), func(i int) ([]byte, error) {
		data, err := export.YAML(manifests[i].objects...)
		if err != nil {
			return nil, fmt.Errorf("export kubernetes: %s: %w", manifests[i].name, err)
		}
		return data, nil
	})
	if err != nil {
		return nil, err
	}
	files := make([]export.File, len(manifests))
	for i, m := range manifests {
		files[i] = export.File{Path: m.name, Data: slices.Concat([]byte(header), documents[i])}
	}
	return files, nil
}

func dockerfile(service string) string { return "images/" + service + ".Dockerfile" }

// steps build and push the images, and make the cluster what the files say.
func (e *exporter) steps() []string {
	var steps []string
	for _, s := range e.model.Services {
		sv := e.services[s.Name]
		if sv == nil {
			continue
		}
		context, file := sv.image.BuildContext(e.opts), dockerfile(s.Name)
		if sv.image.Dockerfile != "" {
			file = path.Join(context, path.Base(sv.image.Dockerfile))
		}
		steps = append(steps, shellquote.Join("docker", "build", "--tag", sv.image.Name, "--file", file, context))
		if e.opts.Registry != "" {
			steps = append(steps, shellquote.Join("docker", "push", sv.image.Name))
		}
	}
	return append(steps, "kubectl apply --kustomize .", shellquote.Join("kubectl", "--namespace", e.opts.Project, "rollout", "restart", "deployment"))
}

func (e *exporter) lose(s *schema.Service, field, value string, kind export.Kind, why, instead string) {
	e.losses = append(e.losses, export.Loss{Service: s.Name, Field: field, Value: value, Kind: kind, Why: why, Instead: instead})
}
