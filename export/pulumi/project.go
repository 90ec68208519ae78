package pulumi

import (
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/tenement/ten/export"
	"github.com/tenement/ten/export/docker"
)

// The parts of a project that an export says. What is empty is left out.

// text is a value of the config: every $ doubled, since Pulumi reads ${ and makes
// one dollar of two, and always in double quotes.
type text string

// MarshalYAML implements yaml.Marshaler.
func (t text) MarshalYAML() (any, error) {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Style: yaml.DoubleQuotedStyle, Value: strings.ReplaceAll(string(t), "$", "$$")}, nil
}

// template is text with references in it, in double quotes.
type template string

// MarshalYAML implements yaml.Marshaler.
func (t template) MarshalYAML() (any, error) {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Style: yaml.DoubleQuotedStyle, Value: string(t)}, nil
}

func texts(words []string) []text {
	out := make([]text, len(words))
	for i, w := range words {
		out[i] = text(w)
	}
	return out
}

// reference is what Pulumi fills in: "${web-prod}".
func reference(to string) string { return "${" + to + "}" }

type project struct {
	Name        string `yaml:"name"`
	Runtime     string `yaml:"runtime"`
	Description string `yaml:"description"`
	// Config are the parameters, by name.
	Config map[string]setting `yaml:"config,omitempty"`
}

type resource struct {
	Type            string   `yaml:"type"`
	DefaultProvider bool     `yaml:"defaultProvider,omitempty"`
	Properties      any      `yaml:"properties,omitempty"`
	Options         *options `yaml:"options,omitempty"`
}

type options struct {
	Version        string   `yaml:"version,omitempty"`
	DependsOn      []string `yaml:"dependsOn,omitempty"`
	RetainOnDelete bool     `yaml:"retainOnDelete,omitempty"`
	IgnoreChanges  []string `yaml:"ignoreChanges,omitempty"`
}

type onlyName struct {
	Name text `yaml:"name"`
}

type image struct {
	ImageName text  `yaml:"imageName"`
	SkipPush  bool  `yaml:"skipPush"`
	OnPreview bool  `yaml:"buildOnPreview"` // false: a preview builds nothing
	Build     build `yaml:"build"`
}

type build struct {
	Context    text `yaml:"context"`
	Dockerfile text `yaml:"dockerfile"`
}

type container struct {
	Name             text         `yaml:"name"`
	Image            string       `yaml:"image"`
	Entrypoints      []text       `yaml:"entrypoints,omitempty"`
	Command          []text       `yaml:"command,omitempty"`
	Envs             []text       `yaml:"envs,omitempty"`
	WorkingDir       text         `yaml:"workingDir,omitempty"`
	Init             bool         `yaml:"init"`
	Restart          string       `yaml:"restart"`
	MaxRetryCount    int          `yaml:"maxRetryCount,omitempty"`
	MustRun          *bool        `yaml:"mustRun,omitempty"`
	StopSignal       string       `yaml:"stopSignal"`
	StopTimeout      int          `yaml:"stopTimeout"`
	Memory           int          `yaml:"memory,omitempty"`
	MemorySwap       int          `yaml:"memorySwap,omitempty"`
	CPUShares        int          `yaml:"cpuShares,omitempty"`
	Runtime          string       `yaml:"runtime,omitempty"`
	Wait             bool         `yaml:"wait,omitempty"`
	WaitTimeout      int          `yaml:"waitTimeout,omitempty"`
	ReadOnly         bool         `yaml:"readOnly,omitempty"`
	SecurityOpts     []string     `yaml:"securityOpts,omitempty"`
	Capabilities     *drops       `yaml:"capabilities,omitempty"`
	Mounts           []mount      `yaml:"mounts,omitempty"`
	Volumes          []volume     `yaml:"volumes,omitempty"`
	NetworksAdvanced []network    `yaml:"networksAdvanced"`
	Ports            []port       `yaml:"ports,omitempty"`
	Healthcheck      *healthcheck `yaml:"healthcheck,omitempty"`
	Labels           []label      `yaml:"labels"`
}

type drops struct {
	Drops []string `yaml:"drops"`
}

// mount is a directory in memory. Pulumi's tmpfs would have its path as a key,
// where a $ means something else.
type mount struct {
	Type         string       `yaml:"type"`
	Target       text         `yaml:"target"`
	TmpfsOptions tmpfsOptions `yaml:"tmpfsOptions"`
}

type tmpfsOptions struct {
	Mode int `yaml:"mode"`
}

type volume struct {
	VolumeName    string `yaml:"volumeName"`
	ContainerPath text   `yaml:"containerPath"`
}

type network struct {
	Name    string `yaml:"name"`
	Aliases []text `yaml:"aliases"`
}

type port struct {
	Internal int    `yaml:"internal"`
	External int    `yaml:"external"`
	IP       string `yaml:"ip"`
}

type healthcheck struct {
	Tests       []text `yaml:"tests"`
	Interval    string `yaml:"interval,omitempty"`
	Timeout     string `yaml:"timeout,omitempty"`
	StartPeriod string `yaml:"startPeriod,omitempty"`
	Retries     int    `yaml:"retries,omitempty"`
}

type label struct {
	Label text `yaml:"label"`
	Value text `yaml:"value"`
}

func imageOf(i docker.Image, o export.Options) image {
	return image{
		ImageName: text(i.Name), SkipPush: o.Registry == "",
		Build: build{Context: text(i.BuildContext(o)), Dockerfile: text(Dockerfile(i, o))},
	}
}

func containerOf(c docker.Container) container {
	out := container{
		Name: text(c.Name), Image: reference(ImageName(c.Image.Service) + ".repoDigest"),
		Entrypoints: texts(c.Entrypoint()), Command: texts(c.Command()), Envs: texts(c.Env), WorkingDir: text(c.Workdir),
		Init: true, Restart: c.Restart, MaxRetryCount: c.MaxRetries,
		StopSignal: c.StopSignal, StopTimeout: int(c.StopTimeout.Seconds()),
		Memory: c.MemoryMB, MemorySwap: c.MemoryMB, // the sum of both: none of it is swap
		CPUShares: c.CPUShares, Runtime: c.Runtime,
		NetworksAdvanced: []network{{reference(NetworkName + ".name"), []text{text(c.Key)}}},
	}
	if c.Restart == "no" {
		out.MustRun = new(bool)
	}
	if c.Awaited {
		out.Wait, out.WaitTimeout = true, int(c.StartLimit.Seconds())
	}
	if c.Walled {
		out.ReadOnly, out.SecurityOpts, out.Capabilities = true, []string{"no-new-privileges:true"}, &drops{[]string{"ALL"}}
	}
	for _, dir := range c.Tmpfs {
		out.Mounts = append(out.Mounts, mount{"tmpfs", text(dir), tmpfsOptions{docker.ScratchMode}})
	}
	if c.Volume != "" {
		out.Volumes = []volume{{reference(VolumeName(c.Key) + ".name"), text(c.Data)}}
	}
	if c.HostPort != 0 {
		out.Ports = []port{{c.Port, c.HostPort, "127.0.0.1"}}
	}
	if h := c.Health; len(h.Test) > 0 {
		out.Healthcheck = &healthcheck{Tests: texts(h.Test)}
		if h.Interval > 0 {
			*out.Healthcheck = healthcheck{texts(h.Test), h.Interval.String(), h.Timeout.String(), h.StartPeriod.String(), h.Retries}
		}
	}
	for _, l := range c.Labels() {
		out.Labels = append(out.Labels, label{text(l[0]), text(l[1])})
	}
	return out
}
