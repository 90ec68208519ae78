// Package program is the export to Pulumi as an inline program, for users of the
// Automation API: the same resources as the YAML project of package pulumi, made
// from the same model. It links Pulumi's SDK, so ten itself does not import it.
package program

import (
	"maps"
	"slices"
	"strings"

	"github.com/pulumi/pulumi-docker/sdk/v4/go/docker"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"github.com/tenement/ten/export"
	tendocker "github.com/tenement/ten/export/docker"
	tenpulumi "github.com/tenement/ten/export/pulumi"
	"github.com/tenement/ten/schema"
)

// Program is a model as a Pulumi program.
type Program struct {
	// Run declares the resources. It may run any number of times, and does not
	// change the model.
	Run pulumi.RunFunc
	// Files are the Dockerfiles that have to lie in the program's working directory
	// before it runs.
	Files []export.File
	// Losses are what Docker can't say of the model, those of Export included: and
	// all of slum.toml, since a program makes no hosts.
	Losses []export.Loss
}

// New makes the program of a model, or refuses it as the export does.
func New(m *schema.Model, o export.Options) (Program, error) {
	bundle, losses, err := export.Run(tenpulumi.Target(), m, o) // judges the options too
	if err != nil {
		return Program{}, err
	}
	host, _, err := tendocker.New(m, o, export.ContainerLayout("pulumi"))
	if err != nil {
		return Program{}, err
	}
	p := Program{Losses: withoutHosts(m, losses), Run: func(ctx *pulumi.Context) error { return declare(ctx, host, o) }}
	for _, f := range bundle.Files {
		if f.Path != "Pulumi.yaml" {
			p.Files = append(p.Files, f)
		}
	}
	return p, nil
}

// withoutHosts says that a program makes no hosts: the SDKs of their providers are
// not linked.
func withoutHosts(m *schema.Model, losses []export.Loss) []export.Loss {
	if m.Slum == nil {
		return losses
	}
	losses = slices.DeleteFunc(losses, func(l export.Loss) bool { return strings.HasPrefix(l.Field, "slum.") })
	for _, field := range slices.Sorted(maps.Keys(m.Slum.Fields)) {
		losses = append(losses, export.Loss{
			Field: field, Value: m.Slum.Fields[field], Kind: export.Lost,
			Why: "the program links the docker provider alone", Instead: "ten export pulumi makes hosts",
		})
	}
	return losses
}

// maker is one run of a program: what later resources refer to.
type maker struct {
	ctx        *pulumi.Context
	provider   pulumi.ResourceOption
	network    *docker.Network
	images     map[string]*docker.Image
	containers map[string]*docker.Container
}

func declare(ctx *pulumi.Context, host tendocker.Host, o export.Options) error {
	provider, err := docker.NewProvider(ctx, "Provider", &docker.ProviderArgs{}, pulumi.Version(tenpulumi.ProviderVersion))
	if err != nil {
		return err
	}
	m := maker{ctx: ctx, provider: pulumi.Provider(provider), images: map[string]*docker.Image{}, containers: map[string]*docker.Container{}}
	if m.network, err = docker.NewNetwork(ctx, tenpulumi.NetworkName, &docker.NetworkArgs{Name: pulumi.String(host.Project)}, m.provider); err != nil {
		return err
	}
	for _, i := range host.Images {
		args := &docker.ImageArgs{
			ImageName: pulumi.String(i.Name), SkipPush: pulumi.Bool(o.Registry == ""),
			Build: docker.DockerBuildArgs{Context: pulumi.String(i.BuildContext(o)), Dockerfile: pulumi.String(tenpulumi.Dockerfile(i, o))},
		}
		if m.images[i.Service], err = docker.NewImage(ctx, tenpulumi.ImageName(i.Service), args, m.provider); err != nil {
			return err
		}
	}
	byKey := map[string]tendocker.Container{}
	for _, c := range host.Containers {
		byKey[c.Key] = c
	}
	for _, c := range host.Containers {
		if err := m.container(c, byKey); err != nil {
			return err
		}
	}
	return nil
}

// container declares a container after those that it depends on.
func (m *maker) container(c tendocker.Container, byKey map[string]tendocker.Container) error {
	if m.containers[c.Key] != nil {
		return nil
	}
	var first []pulumi.Resource
	for _, key := range c.DependsOn {
		if err := m.container(byKey[key], byKey); err != nil {
			return err
		}
		first = append(first, m.containers[key])
	}
	args := arguments(c)
	args.Image = m.images[c.Image.Service].RepoDigest
	args.NetworksAdvanced = docker.ContainerNetworksAdvancedArray{docker.ContainerNetworksAdvancedArgs{
		Name: m.network.Name, Aliases: pulumi.ToStringArray([]string{c.Key}),
	}}
	if c.Volume != "" {
		v, err := docker.NewVolume(m.ctx, tenpulumi.VolumeName(c.Key), &docker.VolumeArgs{Name: pulumi.String(c.Volume)}, m.provider, pulumi.RetainOnDelete(true))
		if err != nil {
			return err
		}
		args.Volumes = docker.ContainerVolumeArray{docker.ContainerVolumeArgs{VolumeName: v.Name, ContainerPath: pulumi.String(c.Data)}}
	}
	made, err := docker.NewContainer(m.ctx, c.Key, args, m.provider, pulumi.DependsOn(first))
	if err != nil {
		return err
	}
	m.containers[c.Key] = made
	return nil
}
