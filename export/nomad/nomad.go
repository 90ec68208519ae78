// Package nomad exports a model as Nomad jobs: a job for each service, with a
// group for each instance that the docker driver runs. HCL's own parser reads
// every job back to the values that the model has; what Nomad would fill in or
// normalise is refused.
package nomad

import (
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	shellquote "github.com/kballard/go-shellquote"

	"github.com/tenement/ten/export"
	"github.com/tenement/ten/export/hcl"
	"github.com/tenement/ten/schema"
)

const header = "Made by ten export nomad. Edit the config and export again."

// Target is the export to Nomad.
func Target() export.Target {
	return export.Target{
		Name: "nomad", Short: "a job for each service (docker driver), Dockerfiles included",
		Export: run, Uses: uses(),
	}
}

// exporter is one run: what is the same for all instances, and what they share.
type exporter struct {
	model  *schema.Model
	opts   export.Options
	layout export.Layout
	names  export.Names
	losses []export.Loss
}

func run(m *schema.Model, o export.Options) (export.Bundle, []export.Loss, error) {
	layout := export.ContainerLayout("nomad")
	all, losses, err := export.Instances(m, layout)
	if err != nil {
		return export.Bundle{}, nil, err
	}
	e := &exporter{model: m, opts: o, layout: layout, names: export.Names{Layout: layout}, losses: losses}
	e.tellPlacement()
	if len(all) > 0 && o.Registry == "" {
		e.losses = append(e.losses, export.Loss{
			Field: "source", Value: "no --registry given", Kind: export.Converted,
			Why: "nodes pull images, and nobody said where from", Instead: "images have local names, built on each node; export with --registry",
		})
	}
	var b export.Bundle
	var runs []string
	for len(all) > 0 {
		n := slices.IndexFunc(all, func(in export.Instance) bool { return in.Service != all[0].Service })
		if n < 0 {
			n = len(all)
		}
		files, build, err := e.service(all[:n])
		if err != nil {
			return export.Bundle{}, nil, err
		}
		b.Files, b.Steps = append(b.Files, files...), append(b.Steps, build...)
		runs = append(runs, shellquote.Join("nomad", "job", "run", jobFile(all[0].Service)))
		all = all[n:]
	}
	b.Steps = append(b.Steps, runs...)
	return b, e.losses, nil
}

func jobFile(s *schema.Service) string { return s.Name + ".nomad.hcl" }

// service gives the files of one service, and the commands for its image.
func (e *exporter) service(members []export.Instance) (files []export.File, steps []string, err error) {
	s := members[0].Service
	if err := e.judge(s); err != nil {
		return nil, nil, err
	}
	image, err := export.ImageFor(e.model, s, e.opts, e.layout)
	if err != nil {
		return nil, nil, err
	}
	probe, request, err := e.layout.ProbeOf(s)
	if err != nil {
		return nil, nil, err
	}
	if err := e.names.Take(e.nameOf(s), members[0]); err != nil {
		return nil, nil, err
	}
	for _, in := range members {
		if err := e.check(in, request); err != nil {
			return nil, nil, err
		}
	}
	j := job{exporter: e, service: s, image: image, probe: probe, request: request}
	if members[0].Listen != export.ListenPort {
		j.probe = export.ProbeNone
	}
	e.tell(members[0], image)
	dockerfile := path.Join(image.BuildContext(e.opts), "Dockerfile")
	if image.Dockerfile == "" {
		dockerfile = s.Name + ".Dockerfile"
		files = append(files, export.File{Path: dockerfile, Data: image.Generated})
	}
	steps = []string{shellquote.Join("docker", "build", "--tag", image.Name, "--file", dockerfile, image.BuildContext(e.opts))}
	if e.opts.Registry != "" {
		steps = append(steps, shellquote.Join("docker", "push", image.Name))
	}
	return append(files, export.File{Path: jobFile(s), Data: j.write(members)}), steps, nil
}

// nameOf is what a service's job is called, and the service within Nomad.
func (e *exporter) nameOf(s *schema.Service) string {
	return e.opts.Project + "-" + strings.ReplaceAll(s.Name, "_", "-")
}

// judge refuses the levels that the docker driver is not.
func (e *exporter) judge(s *schema.Service) error {
	switch {
	case s.ListenFDs:
		return e.layout.Refuse(s, "listen_fds", "true", "nobody passes a listening socket to a task", "let it listen at {port}, or ten export systemd")
	case s.Network == schema.NetworkNone:
		return e.layout.Refuse(s, "network", "none", "a task without a network can't be reached", "leave it out, or ten export compose")
	case s.Isolation == "vm":
		return e.layout.Refuse(s, "isolation", "vm", "a container shares the kernel of its host", `ten export fly, where everything is a vm, or isolation = "sandbox"`)
	case s.Isolation == "wasm":
		return e.layout.Refuse(s, "isolation", "wasm", "Docker runs programs of the host's processor, not modules", `keep it on ten, or isolation = "sandbox" with a native build`)
	case len(e.nameOf(s)) > 63:
		return e.layout.Refuse(s, "service", s.Name, "its name would be "+e.nameOf(s)+", and Nomad's services have at most 63 letters", "rename it, or use a shorter --project")
	}
	return nil
}

// check refuses text that would arrive as something else. Nomad fills in ${...}
// of a job a second time, on the node, and reads templates in a driver's config;
// it makes _ of what a variable's name can't hold.
func (e *exporter) check(in export.Instance, request string) error {
	const filled, instead = "Nomad fills in ${...} and %{...} again on the node", "write $NAME for a shell, or let the program put it together"
	refuse := func(field, value, why, nearest string) error {
		return e.layout.Refuse(in.Service, field, strconv.Quote(value), why, nearest)
	}
	texts := [][2]string{{"workdir", in.Dir}, {"settings.data_dir", in.Data}, {"socket", in.Socket}, {"health", request}}
	for _, w := range in.Argv {
		texts = append(texts, [2]string{"command", w})
	}
	for _, t := range texts {
		switch {
		case !hcl.Exact(t[1]):
			return refuse(t[0], t[1], hcl.NotExact, hcl.WayOut)
		case strings.Contains(t[1], "${"), strings.Contains(t[1], "%{"):
			return refuse(t[0], t[1], filled, instead)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(in.Env)) {
		value := in.Env[name]
		_, rest, open := strings.Cut(value, "${")
		switch {
		case !hcl.Exact(value):
			return refuse("env."+name, value, hcl.NotExact, hcl.WayOut)
		case open && strings.Contains(rest, "}"):
			return refuse("env."+name, value, filled, instead)
		case strings.ContainsFunc(name, notInName):
			return refuse("env."+name, value, "Nomad makes _ of what is no letter, digit, dot or _", "rename it")
		}
	}
	return nil
}

func notInName(r rune) bool {
	return r != '_' && r != '.' && (r < '0' || '9' < r) && (r < 'A' || 'Z' < r) && (r < 'a' || 'z' < r)
}

func (e *exporter) lose(s *schema.Service, field, value string, kind export.Kind, why, instead string) {
	e.losses = append(e.losses, export.Loss{Service: s.Name, Field: field, Value: value, Kind: kind, Why: why, Instead: instead})
}
