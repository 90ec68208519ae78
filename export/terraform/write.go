package terraform

import (
	"path"
	"strconv"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclwrite"
	"github.com/zclconf/go-cty/cty"

	"github.com/tenement/ten/export"
	"github.com/tenement/ten/export/docker"
	tenhcl "github.com/tenement/ten/export/hcl"
	"github.com/tenement/ten/schema"
)

func run(m *schema.Model, o export.Options) (export.Bundle, []export.Loss, error) {
	layout := export.ContainerLayout("terraform")
	host, losses, err := docker.New(m, o, layout)
	if err != nil {
		return export.Bundle{}, nil, err
	}
	for _, c := range host.Containers {
		if err := check(c, layout); err != nil {
			return export.Bundle{}, nil, err
		}
	}
	members := map[string][]docker.Container{}
	for _, c := range host.Containers {
		members[c.Service.Name] = append(members[c.Service.Name], c)
	}
	services := []byte(header)
	for _, part := range tenhcl.Each(len(host.Images), func(i int) *hclwrite.File {
		f := hclwrite.NewEmptyFile()
		writeImage(f.Body(), host.Images[i], o)
		for _, c := range members[host.Images[i].Service] {
			f.Body().AppendNewline()
			writeContainer(f.Body(), c)
		}
		f.Body().AppendNewline()
		return f
	}) {
		services = append(services, part...)
	}
	files := append(host.Files(),
		export.File{Path: "main.tf", Data: mainFile(host)},
		export.File{Path: "services.tf", Data: services[:len(services)-1]},
	)
	return export.Bundle{Files: files, Steps: []string{"terraform init", "terraform apply"}}, losses, nil
}

// check refuses text that HCL would change.
func check(c docker.Container, l export.Layout) error {
	s := c.Service
	refuse := func(field, value string) error {
		return l.Refuse(s, field, strconv.Quote(value), tenhcl.NotExact, tenhcl.WayOut)
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
		if !tenhcl.Exact(t[1]) {
			return refuse(t[0], t[1])
		}
	}
	return nil
}

func mainFile(host docker.Host) []byte {
	f := hclwrite.NewEmptyFile()
	body := f.Body()
	tf := body.AppendNewBlock("terraform", nil).Body()
	tf.SetAttributeValue("required_version", cty.StringVal(">= 1.6"))
	providers := tf.AppendNewBlock("required_providers", nil).Body()
	providers.SetAttributeValue("docker", cty.ObjectVal(map[string]cty.Value{
		"source": cty.StringVal(ProviderSource), "version": cty.StringVal(ProviderVersion),
	}))
	body.AppendNewline()
	raw(body, "# The host is that of DOCKER_HOST, else this machine.\n")
	body.AppendNewBlock("provider", []string{"docker"})
	body.AppendNewline()
	network := body.AppendNewBlock("resource", []string{"docker_network", "project"}).Body()
	network.SetAttributeValue("name", cty.StringVal(host.Project))
	return append([]byte(header), hclwrite.Format(f.Bytes())...)
}

func writeImage(body *hclwrite.Body, image docker.Image, o export.Options) {
	block := body.AppendNewBlock("resource", []string{"docker_image", label(image.Service)}).Body()
	block.SetAttributeValue("name", cty.StringVal(image.Name))
	context := beneath(image.BuildContext(o))
	build := block.AppendNewBlock("build", nil).Body()
	build.SetAttributeRaw("context", text(context))
	triggers := "{\nsource = " + changes(context) + "\n"
	if image.File != "" {
		build.SetAttributeRaw("dockerfile", text(`"${abspath(path.module)}/`+inner(image.File)+`"`))
		triggers += "dockerfile = filesha1(" + beneath(image.File) + ")\n"
	} else {
		build.SetAttributeValue("dockerfile", cty.StringVal(path.Base(image.Dockerfile)))
	}
	block.SetAttributeRaw("triggers", text(triggers+"}"))
}

// changes is the expression for what a source holds. What a plan or a commit by
// itself changes is no part of it.
func changes(context string) string {
	file := context[:len(context)-1] + `/${f}"`
	return `sha1(join("", [for f in fileset(` + context + `, "**") : filesha1(` + file + `) if !can(regex("(^|/)(\\.git|\\.terraform|[^/]*\\.tfstate)(/|\\.|$)", f))]))`
}

func writeContainer(body *hclwrite.Body, c docker.Container) {
	block := body.AppendNewBlock("resource", []string{"docker_container", label(c.Key)}).Body()
	block.SetAttributeValue("name", cty.StringVal(c.Name))
	block.SetAttributeTraversal("image", traversal("docker_image", label(c.Image.Service), "image_id"))
	tenhcl.List(block, "entrypoint", c.Entrypoint())
	tenhcl.List(block, "command", c.Command())
	tenhcl.List(block, "env", c.Env)
	tenhcl.Word(block, "working_dir", c.Workdir)
	block.SetAttributeValue("init", cty.True)
	tenhcl.Word(block, "restart", c.Restart)
	tenhcl.Number(block, "max_retry_count", c.MaxRetries)
	if c.Restart == "no" {
		block.SetAttributeValue("must_run", cty.False)
	}
	tenhcl.Word(block, "stop_signal", c.StopSignal)
	block.SetAttributeValue("stop_timeout", cty.NumberIntVal(int64(c.StopTimeout.Seconds())))
	tenhcl.Number(block, "memory", c.MemoryMB)
	tenhcl.Number(block, "memory_swap", c.MemoryMB) // the sum of both: none of it is swap
	tenhcl.Number(block, "cpu_shares", c.CPUShares)
	tenhcl.Word(block, "runtime", c.Runtime)
	if c.Awaited {
		block.SetAttributeValue("wait", cty.True)
		tenhcl.Number(block, "wait_timeout", int(c.StartLimit.Seconds()))
	}
	writeWalls(block, c)
	writeStorage(block, c)
	writeNetwork(block, c)
	for _, l := range c.Labels() {
		b := block.AppendNewBlock("labels", nil).Body()
		tenhcl.Word(b, "label", l[0])
		tenhcl.Word(b, "value", l[1])
	}
	if len(c.DependsOn) > 0 {
		refs := make([]hclwrite.Tokens, len(c.DependsOn))
		for i, key := range c.DependsOn {
			refs[i] = hclwrite.TokensForTraversal(traversal("docker_container", label(key)))
		}
		block.SetAttributeRaw("depends_on", hclwrite.TokensForTuple(refs))
	}
}

func writeWalls(block *hclwrite.Body, c docker.Container) {
	if !c.Walled {
		return
	}
	block.SetAttributeValue("read_only", cty.True)
	tenhcl.List(block, "security_opts", []string{"no-new-privileges:true"})
	tenhcl.List(block.AppendNewBlock("capabilities", nil).Body(), "drop", []string{"ALL"})
}

func writeStorage(block *hclwrite.Body, c docker.Container) {
	if len(c.Tmpfs) > 0 {
		dirs := map[string]cty.Value{}
		for _, dir := range c.Tmpfs {
			dirs[dir] = cty.StringVal("mode=1777")
		}
		block.SetAttributeValue("tmpfs", cty.MapVal(dirs))
	}
	if c.Volume != "" {
		b := block.AppendNewBlock("volumes", nil).Body()
		tenhcl.Word(b, "volume_name", c.Volume)
		tenhcl.Word(b, "container_path", c.Data)
	}
}

func writeNetwork(block *hclwrite.Body, c docker.Container) {
	network := block.AppendNewBlock("networks_advanced", nil).Body()
	network.SetAttributeTraversal("name", traversal("docker_network", "project", "name"))
	tenhcl.List(network, "aliases", []string{c.Key})
	if c.HostPort != 0 {
		b := block.AppendNewBlock("ports", nil).Body()
		tenhcl.Number(b, "internal", c.Port)
		tenhcl.Number(b, "external", c.HostPort)
		tenhcl.Word(b, "ip", "127.0.0.1")
	}
	if h := c.Health; len(h.Test) > 0 {
		b := block.AppendNewBlock("healthcheck", nil).Body()
		tenhcl.List(b, "test", h.Test)
		if h.Interval > 0 {
			tenhcl.Word(b, "interval", h.Interval.String())
			tenhcl.Word(b, "timeout", h.Timeout.String())
			tenhcl.Word(b, "start_period", h.StartPeriod.String())
			tenhcl.Number(b, "retries", h.Retries)
		}
	}
}

func traversal(names ...string) hcl.Traversal {
	t := hcl.Traversal{hcl.TraverseRoot{Name: names[0]}}
	for _, name := range names[1:] {
		t = append(t, hcl.TraverseAttr{Name: name})
	}
	return t
}
