package terraform

import (
	"path"
	"strconv"
	"strings"

	"github.com/tenement/ten/export"
	"github.com/tenement/ten/export/docker"
	"github.com/tenement/ten/export/fleet"
	"github.com/tenement/ten/export/hcl"
	"github.com/tenement/ten/schema"
)

func run(m *schema.Model, o export.Options) (export.Bundle, []export.Loss, error) {
	layout := export.ContainerLayout("terraform")
	host, losses, err := docker.New(m, o, layout)
	if err != nil {
		return export.Bundle{}, nil, err
	}
	hosts, err := fleet.New(m, o, "terraform", judge)
	if err != nil {
		return export.Bundle{}, nil, err
	}
	losses = append(losses, hostLosses(m, hosts)...)
	members := map[string][]docker.Container{}
	for _, c := range host.Containers {
		if err := check(c, layout); err != nil {
			return export.Bundle{}, nil, err
		}
		members[c.Service.Name] = append(members[c.Service.Name], c)
	}
	var w hcl.Writer
	w.Comment(header)
	for _, image := range host.Images {
		w.Blank()
		writeImage(&w, image, o)
		for _, c := range members[image.Service] {
			w.Blank()
			writeContainer(&w, c)
		}
	}
	files := append(host.Files(),
		export.File{Path: "main.tf", Data: mainFile(host, hosts)},
		export.File{Path: "services.tf", Data: w.Bytes()},
	)
	if len(hosts.Servers) > 0 {
		files = append(files, export.File{Path: "hosts.tf", Data: hostsFile(hosts)})
	}
	return export.Bundle{Files: files, Steps: []string{"terraform init", "terraform apply"}}, losses, nil
}

// check refuses text that HCL would change.
func check(c docker.Container, l export.Layout) error {
	s := c.Service
	refuse := func(field, value string) error {
		return l.Refuse(s, field, strconv.Quote(value), hcl.NotExact, hcl.WayOut)
	}
	texts := [][2]string{{"workdir", c.Workdir}, {"source", s.Source}, {"settings.data_dir", c.Data}, {"socket", c.Socket}}
	for _, word := range c.Argv {
		texts = append(texts, [2]string{"command", word})
	}
	for _, entry := range c.Env {
		texts = append(texts, [2]string{"env", entry})
	}
	for _, word := range c.Health.Test {
		texts = append(texts, [2]string{"health", word})
	}
	for _, t := range texts {
		if !hcl.Exact(t[1]) {
			return refuse(t[0], t[1])
		}
	}
	return nil
}

func mainFile(host docker.Host, hosts fleet.Fleet) []byte {
	var w hcl.Writer
	w.Comment(header)
	w.Blank()
	w.Open("terraform")
	w.Word("required_version", ">= 1.6")
	w.Open("required_providers")
	for _, p := range providers(hosts) {
		w.Map(p[0], map[string]string{"source": p[1], "version": p[2]})
	}
	w.Close()
	w.Close()
	w.Blank()
	engine, one := hosts.EngineURL()
	if !one {
		w.Comment("The host is that of DOCKER_HOST, else this machine.")
	}
	w.Open("provider", "docker")
	w.Word("host", engine)
	w.Close()
	w.Blank()
	w.Open("resource", "docker_network", "project")
	w.Word("name", host.Project)
	w.Close()
	return w.Bytes()
}

func writeImage(w *hcl.Writer, image docker.Image, o export.Options) {
	context := beneath(image.BuildContext(o))
	dockerfile := hcl.Quote(path.Base(image.Dockerfile))
	if image.File != "" {
		dockerfile = `"${abspath(path.module)}/` + hcl.Inner(image.File) + `"`
	}
	w.Open("resource", "docker_image", label(image.Service))
	w.Word("name", image.Name)
	w.Open("build")
	w.Set("context", context)
	w.Set("dockerfile", dockerfile)
	w.Close()
	w.OpenObject("triggers")
	w.Set("source", changes(context))
	if image.File != "" {
		w.Set("dockerfile", "filesha1("+beneath(image.File)+")")
	}
	w.Close()
	w.Close()
}

// label is the name of a resource, which may begin with no digit.
func label(name string) string {
	if name[0] <= '9' {
		return "_" + name
	}
	return name
}

// beneath is the expression for a path that is relative to the output directory.
func beneath(file string) string {
	if path.Clean(file) == "." {
		return `"${path.module}"`
	}
	return `"${path.module}/` + hcl.Inner(file) + `"`
}

// changes is the expression for what a source holds. What a plan or a commit by
// itself changes is no part of it.
func changes(context string) string {
	file := context[:len(context)-1] + `/${f}"`
	return `sha1(join("", [for f in fileset(` + context + `, "**") : filesha1(` + file + `) if !can(regex("(^|/)(\\.git|\\.terraform|[^/]*\\.tfstate)(/|\\.|$)", f))]))`
}

func writeContainer(w *hcl.Writer, c docker.Container) {
	w.Open("resource", "docker_container", label(c.Key))
	w.Word("name", c.Name)
	w.Set("image", "docker_image."+label(c.Image.Service)+".image_id")
	w.List("entrypoint", c.Entrypoint())
	w.List("command", c.Command())
	w.List("env", c.Env)
	w.Word("working_dir", c.Workdir)
	w.Set("init", "true")
	w.Word("restart", c.Restart)
	w.Number("max_retry_count", c.MaxRetries)
	if c.Restart == "no" {
		w.Set("must_run", "false")
	}
	w.Word("stop_signal", c.StopSignal)
	w.Set("stop_timeout", strconv.Itoa(int(c.StopTimeout.Seconds())))
	w.Number("memory", c.MemoryMB)
	w.Number("memory_swap", c.MemoryMB) // the sum of both: none of it is swap
	w.Number("cpu_shares", c.CPUShares)
	w.Word("runtime", c.Runtime)
	if c.Awaited {
		w.Set("wait", "true")
		w.Number("wait_timeout", int(c.StartLimit.Seconds()))
	}
	writeWalls(w, c)
	writeStorage(w, c)
	writeNetwork(w, c)
	writeProbe(w, c.Health)
	for _, l := range c.Labels() {
		w.Open("labels")
		w.Word("label", l[0])
		w.Word("value", l[1])
		w.Close()
	}
	if len(c.DependsOn) > 0 {
		refs := make([]string, len(c.DependsOn))
		for i, key := range c.DependsOn {
			refs[i] = "docker_container." + label(key)
		}
		w.Set("depends_on", "["+strings.Join(refs, ", ")+"]")
	}
	w.Close()
}

func writeWalls(w *hcl.Writer, c docker.Container) {
	if !c.Walled {
		return
	}
	w.Set("read_only", "true")
	w.List("security_opts", []string{"no-new-privileges:true"})
	w.Open("capabilities")
	w.List("drop", []string{"ALL"})
	w.Close()
}

func writeStorage(w *hcl.Writer, c docker.Container) {
	dirs := map[string]string{}
	for _, dir := range c.Tmpfs {
		dirs[dir] = "mode=1777"
	}
	w.Map("tmpfs", dirs)
	if c.Volume != "" {
		w.Open("volumes")
		w.Word("volume_name", c.Volume)
		w.Word("container_path", c.Data)
		w.Close()
	}
}

func writeNetwork(w *hcl.Writer, c docker.Container) {
	w.Open("networks_advanced")
	w.Set("name", "docker_network.project.name")
	w.List("aliases", []string{c.Key})
	w.Close()
	if c.HostPort != 0 {
		w.Open("ports")
		w.Number("internal", c.Port)
		w.Number("external", c.HostPort)
		w.Word("ip", "127.0.0.1")
		w.Close()
	}
}

func writeProbe(w *hcl.Writer, h docker.Health) {
	if len(h.Test) == 0 {
		return
	}
	w.Open("healthcheck")
	w.List("test", h.Test)
	if h.Interval > 0 {
		w.Word("interval", h.Interval.String())
		w.Word("timeout", h.Timeout.String())
		w.Word("start_period", h.StartPeriod.String())
		w.Number("retries", h.Retries)
	}
	w.Close()
}
