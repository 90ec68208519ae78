package docker

import (
	"cmp"
	"strconv"
	"time"

	"github.com/tenement/ten/export"
	"github.com/tenement/ten/schema"
)

// Host is all that a model needs of a Docker host. Shared by nobody, it may be
// changed.
type Host struct {
	Project    string      // also the name of the network and the prefix of all others
	Images     []Image     // one a service, sorted by its name
	Containers []Container // one an instance, sorted by service and id
}

// Image is the image of one service and how it is built.
type Image struct {
	export.Image
	Service string
	// File is the Dockerfile that was made for it, a path in the output directory;
	// "" where the repository has its own.
	File    string
	project string
}

// Container is one instance. What is empty or zero is not said.
type Container struct {
	export.Instance
	Key         string // "web-prod", unique in the host
	Name        string // "project-web-prod"
	Image       Image
	Env         []string // NAME=value, sorted
	Workdir     string   // "" = the image's own
	Restart     string   // "no", "on-failure" or "always"
	MaxRetries  int      // with on-failure
	StopSignal  string
	StopTimeout time.Duration
	MemoryMB    int // and no swap beyond it
	CPUShares   int // on Docker's scale, 2 to 262144
	Runtime     string
	Walled      bool // read-only root, no capabilities, no new privileges
	Volume      string
	Tmpfs       []string // directories in memory, sorted
	HostPort    int      // on the host's loopback
	Health      Health
	DependsOn   []string // keys of containers that are made first, sorted
	Awaited     bool     // somebody waits until it is healthy
	StartLimit  time.Duration
}

// Health is how Docker asks a container whether it is well; no Test = the
// image's own way, if any.
type Health struct {
	Test        []string
	Interval    time.Duration
	Timeout     time.Duration
	StartPeriod time.Duration
	Retries     int
}

// Labels are what a container is found by.
func (c Container) Labels() [][2]string {
	return [][2]string{{"ten.instance", c.ID}, {"ten.project", c.Image.project}, {"ten.service", c.Service.Name}}
}

// New says the model for the target of the layout. What Docker can't say is
// among the losses; what a container is not is refused.
func New(m *schema.Model, o export.Options, l export.Layout) (Host, []export.Loss, error) {
	all, losses, err := export.Instances(m, l)
	if err != nil {
		return Host{}, nil, err
	}
	b := &builder{model: m, opts: o, layout: l, names: export.Names{Layout: l}, services: map[string]*service{}, losses: losses}
	if err := b.prepare(all); err != nil {
		return Host{}, nil, err
	}
	if b.ports, err = HostPorts(all, l); err != nil {
		return Host{}, nil, err
	}
	h := Host{Project: o.Project}
	for _, in := range all {
		s := b.services[in.Service.Name]
		if in.ID == in.Service.Instances[0] {
			h.Images = append(h.Images, s.image)
		}
		c, err := b.container(in, s)
		if err != nil {
			return Host{}, nil, err
		}
		h.Containers = append(h.Containers, c)
	}
	return h, b.losses, nil
}

// Files are the Dockerfiles that were made.
func (h Host) Files() []export.File {
	var files []export.File
	for _, i := range h.Images {
		if i.File != "" {
			files = append(files, export.File{Path: i.File, Data: i.Generated})
		}
	}
	return files
}

// builder is one run: what is the same for all instances, and what they share.
type builder struct {
	model    *schema.Model
	opts     export.Options
	layout   export.Layout
	names    export.Names
	ports    map[string]int
	services map[string]*service
	losses   []export.Loss
}

// service is what was found out about a service before its instances are made.
type service struct {
	image   Image
	probe   export.Probe
	request string
	asked   bool // Docker can ask its instances whether they are well
	awaited bool // a dependent does
}

func (b *builder) prepare(all []export.Instance) error {
	for _, in := range all {
		s := in.Service
		if _, done := b.services[s.Name]; done {
			continue
		}
		if err := b.judgeWall(s); err != nil {
			return err
		}
		image, err := export.ImageFor(b.model, s, b.opts, b.layout)
		if err != nil {
			return err
		}
		probe, request, err := b.layout.ProbeOf(s)
		if err != nil {
			return err
		}
		made := Image{Image: image, Service: s.Name, project: b.opts.Project}
		if image.Dockerfile == "" {
			made.File = s.Name + ".Dockerfile"
		}
		b.services[s.Name] = &service{
			image: made, probe: probe, request: request,
			asked: probe != export.ProbeNone && in.Listen == export.ListenPort,
		}
		b.tellAll(in, b.services[s.Name])
	}
	for _, in := range all {
		for _, d := range in.Service.DependsOn {
			if on := b.services[d.Service]; on != nil && on.asked && d.Condition == schema.ConditionHealthy {
				on.awaited = true
			}
		}
	}
	return nil
}

// judgeWall refuses the levels that a container is not.
func (b *builder) judgeWall(s *schema.Service) error {
	switch {
	case s.ListenFDs:
		return b.layout.Refuse(s, "listen_fds", "true", "Docker passes no listening socket to a program", "let it listen at {port}, or ten export systemd")
	case s.Network == schema.NetworkNone:
		return b.layout.Refuse(s, "network", "none", "all containers are on the project's network", "leave it out, or ten export compose")
	}
	if _, written := s.Fields["network"]; written {
		b.lose(s, "network", "host", export.Converted, "a container has a network of its own", "others find it by its name")
	}
	switch s.Isolation {
	case "vm":
		return b.layout.Refuse(s, "isolation", "vm", "a container shares the kernel of its host", `ten export fly, where everything is a vm, or isolation = "sandbox"`)
	case "wasm":
		return b.layout.Refuse(s, "isolation", "wasm", "Docker runs programs of the host's processor, not modules", `keep it on ten, or isolation = "sandbox" with a native build`)
	}
	return nil
}

func (b *builder) lose(s *schema.Service, field, value string, kind export.Kind, why, instead string) {
	b.losses = append(b.losses, export.Loss{Service: s.Name, Field: field, Value: value, Kind: kind, Why: why, Instead: instead})
}

// tellAll says what is lost of a service, once for all its instances; in is the
// first.
func (b *builder) tellAll(in export.Instance, sv *service) {
	s := in.Service
	if s.Isolation == "process" {
		b.lose(s, "isolation", "process", export.Converted, "a container has its own files, processes and network", "what it shared with the host it no longer sees")
	}
	if _, written := b.model.Fields["settings.max_restarts"]; written && s.Restart == schema.RestartAlways && b.model.Settings.MaxRestarts > 0 {
		b.lose(s, "restart", "always", export.Converted, "Docker counts restarts only with on-failure", "it is restarted without end, not "+strconv.Itoa(b.model.Settings.MaxRestarts)+" times")
	}
	if s.CPUShares > 0 {
		b.lose(s, "cpu_shares", strconv.Itoa(int(s.CPUShares)), export.Converted,
			"Docker counts shares on another scale, and older runtimes convert it in another way",
			strconv.Itoa(Shares(s.CPUShares))+" shares, which current runtimes make that weight of")
	}
	own := sv.image.Dockerfile
	if own != "" && s.Workdir != "" && !absolute(s.Workdir) {
		b.lose(s, "workdir", s.Workdir, export.Lost, own+" decides where the program lies", "say it there: WORKDIR")
	}
	health := cmp.Or(s.Health, "accepts a connection")
	switch {
	case sv.probe == export.ProbeNone:
	case in.Listen == export.ListenSocket:
		b.lose(s, "health", health, export.Lost, "nothing in an image asks at a unix socket", "let it listen at {port}")
		b.lose(s, "socket", in.Socket, export.Converted, "a socket in a container is reached from nowhere else", "let it listen at {port}")
	case own != "":
		b.lose(s, "health", health, export.Converted, "Docker asks from inside the container", "needs bash, wget or curl in the image of "+own)
	}
	b.tellDependencies(s)
}

func (b *builder) tellDependencies(s *schema.Service) {
	for _, d := range s.DependsOn {
		on := b.model.Service(d.Service)
		switch {
		case on == nil:
		case len(on.Instances) == 0:
			b.lose(s, "depends_on", d.Service, export.Lost, d.Service+" declares no instance, so there is none to wait for", "")
		case d.Condition == schema.ConditionHealthy && (on.Health == schema.HealthNone || export.ListenOf(on) != export.ListenPort):
			b.lose(s, "depends_on", d.Service, export.Converted, "Docker can't ask "+d.Service+" whether it is healthy", "it is waited for until it has started")
		}
	}
}
