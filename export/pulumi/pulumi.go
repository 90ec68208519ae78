// Package pulumi exports a model as a Pulumi YAML project: docker resources for
// the services, hcloud's and commands over ssh for the hosts of slum.toml, and no
// toolchain but the pulumi command. Package program beneath
// it is the same for the services, as an inline program for users of the Automation API; it alone
// links Pulumi's SDK.
package pulumi

import (
	"bytes"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/tenement/ten/export"
	"github.com/tenement/ten/export/docker"
	"github.com/tenement/ten/export/fleet"
	"github.com/tenement/ten/schema"
)

// ProviderVersion is the version of Pulumi's docker provider whose resources are
// written.
const ProviderVersion = "4.10.0"

const (
	file   = "Pulumi.yaml"
	header = "# Made by ten export pulumi. Edit the config and export again.\n"
)

// Target is the export to Pulumi.
func Target() export.Target {
	return export.Target{
		Name: "pulumi", Short: "Pulumi.yaml, a project without code (docker, hcloud and command providers), Dockerfiles included",
		Export: run, Uses: uses(),
	}
}

// spelling is how Pulumi spells a property of the docker provider.
func spelling(property string) string {
	switch property {
	case "env":
		return "envs"
	}
	words := strings.Split(property, "_")
	for i, w := range words[1:] {
		words[i+1] = strings.ToUpper(w[:1]) + w[1:]
	}
	return strings.Join(words, "")
}

// spoils: Pulumi's SDK (v3.260.0) reads a project, writes it anew and reads that.
// Its writer takes text of several lines for a block, and forgets to say where
// one begins whose first character is a tab.
func spoils(text string) (why, nearest string) {
	if strings.Contains(text, "\n") && strings.HasPrefix(strings.TrimLeft(text, "\n"), "\t") {
		return "Pulumi fails on text of several lines that begins with a tab", "begin it with a space, or read it from a file"
	}
	return "", ""
}

func run(m *schema.Model, o export.Options) (export.Bundle, []export.Loss, error) {
	layout := export.ContainerLayout("pulumi")
	layout.Spoils = spoils
	host, losses, err := docker.New(m, o, layout)
	if err != nil {
		return export.Bundle{}, nil, err
	}
	hosts, err := fleet.New(m, o, "pulumi", spoils)
	if err != nil {
		return export.Bundle{}, nil, err
	}
	losses = append(losses, hostLosses(m, hosts)...)
	var all []named
	add := func(name string, r resource) { all = append(all, named{name, r}) }
	add("Provider", resource{Type: "pulumi:providers:docker", DefaultProvider: true, Options: &options{Version: ProviderVersion}})
	add(NetworkName, resource{Type: "docker:Network", Properties: onlyName{Name: text(host.Project)}})
	for _, image := range host.Images {
		add(ImageName(image.Service), resource{Type: "docker:Image", Properties: imageOf(image, o)})
	}
	for _, c := range host.Containers {
		if c.Volume != "" {
			add(VolumeName(c.Key), resource{Type: "docker:Volume", Properties: onlyName{Name: text(c.Volume)}, Options: &options{RetainOnDelete: true}})
		}
		r := resource{Type: "docker:Container", Properties: containerOf(c)}
		for _, key := range c.DependsOn {
			if r.Options == nil {
				r.Options = &options{}
			}
			r.Options.DependsOn = append(r.Options.DependsOn, reference(key))
		}
		add(c.Key, r)
	}
	all = append(all, hostResources(hosts)...)
	data, err := encode(project{
		Name: o.Project, Runtime: "yaml", Description: "The services of " + o.Project + ", as ten declares them", Config: settings(hosts),
	}, all)
	if err != nil {
		return export.Bundle{}, nil, fmt.Errorf("export pulumi: %w", err)
	}
	before, after := hostSteps(hosts)
	return export.Bundle{
		Files: append(host.Files(), export.File{Path: file, Data: data}),
		Steps: slices.Concat([]string{"pulumi stack init dev"}, before, []string{"pulumi up"}, after),
	}, losses, nil
}

// The names of resources. A container is called by its key, SERVICE-ID; what
// belongs to it begins with a capital, as no name of a service does.
const NetworkName = "Network"

// ImageName is the name of a service's image.
func ImageName(service string) string { return "Image-" + service }

// VolumeName is the name of a container's volume.
func VolumeName(key string) string { return "Volume-" + key }

// Dockerfile is where an image's Dockerfile lies, from the output directory.
func Dockerfile(image docker.Image, o export.Options) string {
	if image.File != "" {
		return image.File
	}
	return path.Join(image.BuildContext(o), path.Base(image.Dockerfile))
}

// named is a resource by its name.
type named struct {
	name string
	resource
}

// encode writes a project a resource at a time: as one document, a large project
// would be some 400 MB of nodes. No text in it goes over several lines: those of
// the config are in double quotes.
func encode(p project, all []named) ([]byte, error) {
	head, err := export.YAML(p)
	if err != nil {
		return nil, err
	}
	parts, err := export.EachYAML(len(all), func(i int) ([]byte, error) {
		return export.YAML(map[string]resource{all[i].name: all[i].resource})
	})
	if err != nil {
		return nil, err
	}
	out := slices.Concat([]byte(header), head, []byte("resources:\n"))
	for _, part := range parts {
		for line := range bytes.Lines(part) {
			out = append(append(out, "  "...), line...)
		}
	}
	return out, nil
}
