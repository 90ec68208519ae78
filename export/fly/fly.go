// Package fly exports a model as apps of Fly.io: a fly.toml for each instance,
// which is an app of its own, since environment, signals and sizes belong to an
// app there. What it writes passes Lint, which is stricter than flyctl.
package fly

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"github.com/tenement/ten/export"
	"github.com/tenement/ten/schema"
)

// Target is the export to Fly.io.
func Target() export.Target {
	return export.Target{
		Name: "fly", Short: "a fly.toml for each instance, Dockerfiles included",
		Export: run, Uses: uses(),
	}
}

type exporter struct {
	model        *schema.Model
	opts         export.Options
	layout       export.Layout
	names        export.Names
	images       map[string]export.Image
	routed       map[string]bool // services that a route leads to
	losses       []export.Loss
	telling      bool // the first instance of a service tells what is lost for all
	toldInterval bool
}

func run(m *schema.Model, o export.Options) (export.Bundle, []export.Loss, error) {
	layout := export.ContainerLayout("fly")
	layout.User = "" // a volume belongs to root, and the wall is the Machine
	all, losses, err := export.Instances(m, layout)
	if err != nil {
		return export.Bundle{}, nil, err
	}
	e := &exporter{
		model: m, opts: o, layout: layout, names: export.Names{Layout: layout},
		images: map[string]export.Image{}, routed: routed(m), losses: losses,
	}
	if o.Region == "" {
		e.losses = append(e.losses, export.Loss{
			Field: "--region", Value: "not given", Kind: export.Converted,
			Why: "an app has a region where it begins", Instead: "the one nearest to whoever deploys first; or --region fra",
		})
	}
	var b export.Bundle
	for _, in := range all {
		if err := e.prepare(in, &b); err != nil {
			return export.Bundle{}, nil, err
		}
		c, err := e.app(in)
		if err != nil {
			return export.Bundle{}, nil, err
		}
		data, err := encode(c)
		if err != nil {
			return export.Bundle{}, nil, fmt.Errorf("export fly: %s: %w", in.Label(), err)
		}
		dir := in.Service.Name + "-" + in.ID
		b.Files = append(b.Files, export.File{Path: dir + "/fly.toml", Data: data})
		b.Steps = append(b.Steps, "fly apps create "+c.App, "fly deploy "+quote(context(e.images[in.Service.Name], o))+" --config "+dir+"/fly.toml --ha=false")
		b.Steps = append(b.Steps, e.certificates(in, c.App)...)
	}
	return b, e.losses, nil
}

// prepare judges a service and finds its image, once.
func (e *exporter) prepare(in export.Instance, b *export.Bundle) error {
	s := in.Service
	if _, done := e.images[s.Name]; done {
		return nil
	}
	for _, field := range []string{"kernel", "rootfs", "vsock_port"} {
		if v, written := s.Fields[field]; written {
			return e.layout.Refuse(s, field, v, "Fly boots images with a kernel of its own", "leave it out, or keep the service on ten")
		}
	}
	switch {
	case s.Isolation == "wasm":
		return e.layout.Refuse(s, "isolation", "wasm", "a Machine runs an image, not a module", "keep it on ten, or isolation = \"vm\" with a native build")
	case s.ListenFDs:
		return e.layout.Refuse(s, "listen_fds", "true", "Fly passes no listening socket to a program", "let it listen at {port}, or ten export systemd")
	case s.Network == schema.NetworkNone:
		return e.layout.Refuse(s, "network", "none", "every Machine reaches the internet", "leave it out, or ten export compose")
	case in.Listen == export.ListenSocket:
		return e.layout.Refuse(s, "socket", in.Socket, "Fly's proxy and its checks reach only ports", "let it listen at {port}, or ten export systemd")
	}
	e.telling = true
	if _, written := s.Fields["network"]; written {
		e.lose(s, "network", "host", export.Converted, "a Machine has a network of its own", "others find it as APP.internal")
	}
	if s.Isolation == "process" {
		e.lose(s, "isolation", "process", export.Converted, "every instance gets a Machine of its own", "what it shared with the host it no longer sees")
	}
	image, err := export.ImageFor(e.model, s, e.opts, e.layout)
	if err != nil {
		return err
	}
	e.images[s.Name] = image
	if image.Generated != nil {
		b.Files = append(b.Files,
			export.File{Path: generated(s.Name), Data: image.Generated},
			export.File{Path: ignored(s.Name), Data: export.IgnoreFile()})
	}
	return nil
}

func generated(service string) string { return service + ".Dockerfile" }
func ignored(service string) string   { return service + ".dockerignore" }

// encode writes a fly.toml and holds it to Lint: a fault there is one of ten's.
func encode(c Config) ([]byte, error) {
	var out bytes.Buffer
	out.WriteString("# Made by ten export fly. Edit the config and export again.\n")
	enc := toml.NewEncoder(&out)
	enc.SetIndentTables(false)
	if err := enc.Encode(c); err != nil {
		return nil, err
	}
	if faults := Lint(out.Bytes()); len(faults) > 0 {
		return nil, fmt.Errorf("what was written is no good fly.toml: %s", strings.Join(faults, "; "))
	}
	return out.Bytes(), nil
}

// routed are the services that a route leads to.
func routed(m *schema.Model) map[string]bool {
	to := map[string]bool{}
	if m.Routing.Default != "" {
		to[m.Routing.Default] = true
	}
	for _, table := range []map[string]string{m.Routing.Subdomain, m.Routing.Path} {
		for _, service := range table {
			to[service] = true
		}
	}
	return to
}
