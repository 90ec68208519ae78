package kubernetes

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"pgregory.net/rapid"
	gateway "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/yaml"

	"github.com/tenement/ten/export"
	"github.com/tenement/ten/export/exporttest"
	"github.com/tenement/ten/schema"
)

type fataler interface {
	Helper()
	Fatalf(string, ...any)
}

// cluster is an export as the official types read it, strictly: a field that
// they don't know, or of another type, is an error.
type cluster struct {
	deployments map[string]*appsv1.Deployment
	jobs        map[string]*batchv1.Job
	services    map[string]*corev1.Service
	claims      map[string]*corev1.PersistentVolumeClaim
	policies    map[string]*networkingv1.NetworkPolicy
	routes      map[string]*gateway.HTTPRoute
}

func (c cluster) pod(name string) *corev1.PodSpec {
	if d := c.deployments[name]; d != nil {
		return &d.Spec.Template.Spec
	}
	if j := c.jobs[name]; j != nil {
		return &j.Spec.Template.Spec
	}
	return nil
}

func read(t fataler, b export.Bundle) cluster {
	t.Helper()
	c := cluster{
		map[string]*appsv1.Deployment{}, map[string]*batchv1.Job{}, map[string]*corev1.Service{},
		map[string]*corev1.PersistentVolumeClaim{}, map[string]*networkingv1.NetworkPolicy{}, map[string]*gateway.HTTPRoute{},
	}
	listed := map[string]bool{"kustomization.yaml": true}
	for _, f := range b.Files {
		if f.Path == "kustomization.yaml" {
			var k struct{ Resources []string }
			if err := yaml.Unmarshal(f.Data, &k); err != nil {
				t.Fatalf("%v", err)
			}
			for _, r := range k.Resources {
				listed[r] = true
			}
		}
	}
	for _, f := range b.Files {
		if !strings.HasSuffix(f.Path, ".yaml") || f.Path == "kustomization.yaml" {
			continue
		}
		if !listed[f.Path] {
			t.Fatalf("%s is in no kustomization", f.Path)
		}
		for docs := utilyaml.NewYAMLReader(newBufio(f.Data)); ; {
			doc, err := docs.Read()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%v", err)
			}
			c.add(t, doc)
		}
	}
	return c
}

func (c cluster) add(t fataler, doc []byte) {
	t.Helper()
	var kind metav1.TypeMeta
	if err := yaml.Unmarshal(doc, &kind); err != nil {
		t.Fatalf("%v\n%s", err, doc)
	}
	switch kind.APIVersion + " " + kind.Kind {
	case "v1 Namespace":
		strict(t, doc, map[string]*corev1.Namespace{})
	case "apps/v1 Deployment":
		strict(t, doc, c.deployments)
	case "batch/v1 Job":
		strict(t, doc, c.jobs)
	case "v1 Service":
		strict(t, doc, c.services)
	case "v1 PersistentVolumeClaim":
		strict(t, doc, c.claims)
	case "networking.k8s.io/v1 NetworkPolicy":
		strict(t, doc, c.policies)
	case "gateway.networking.k8s.io/v1 HTTPRoute":
		strict(t, doc, c.routes)
	default:
		t.Fatalf("nobody knows a %s %s", kind.APIVersion, kind.Kind)
	}
}

// strict reads a document into its type and enters it by its name.
func strict[T any, P interface {
	*T
	metav1.Object
}](t fataler, doc []byte, into map[string]P) {
	t.Helper()
	o := P(new(T))
	if err := yaml.UnmarshalStrict(doc, o); err != nil {
		t.Fatalf("%v\n%s", err, doc)
	}
	if into[o.GetName()] != nil {
		t.Fatalf("two are called %s", o.GetName())
	}
	into[o.GetName()] = o
	faults := validation.IsDNS1123Subdomain(o.GetName())
	for k, v := range o.GetLabels() {
		faults = append(append(faults, validation.IsQualifiedName(k)...), validation.IsValidLabelValue(v)...)
	}
	if len(faults) > 0 {
		t.Fatalf("%s: %v", o.GetName(), faults)
	}
}

// expand is what the kubelet does with a command and with a variable: $(NAME) is
// the value of NAME where there is one, $$ is $.
func expand(s string, vars map[string]string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		rest := s[i:]
		end := strings.IndexByte(rest, ')')
		switch {
		case strings.HasPrefix(rest, "$$"):
			b.WriteByte('$')
			i++
		case strings.HasPrefix(rest, "$(") && end > 0:
			v, ok := vars[rest[2:end]]
			if !ok {
				v = rest[:end+1]
			}
			b.WriteString(v)
			i += end
		default:
			b.WriteByte(s[i])
		}
	}
	return b.String()
}

func TestEveryValueComesBack(t *testing.T) {
	t.Parallel()
	exporttest.Property[cluster]{
		Target: Target(), Layout: export.ContainerLayout("kubernetes"),
		Read:    func(t *rapid.T, b export.Bundle) cluster { return read(t, b) },
		Compare: func(t *rapid.T, m *schema.Model, in export.Instance, c cluster) { compare(t, m, in, c) },
	}.Check(t)
}

func compare(t fataler, m *schema.Model, in export.Instance, c cluster) {
	t.Helper()
	s, name := in.Service, nameOf(in)
	pod := c.pod(name)
	if pod == nil || len(pod.Containers) != 1 {
		t.Fatalf("%s: pod %+v", in.Label(), pod)
	}
	got := pod.Containers[0]
	var argv []string
	for _, w := range got.Command {
		argv = append(argv, expand(w, in.Env))
	}
	var env []string
	for _, v := range got.Env {
		env = append(env, v.Name+"="+expand(v.Value, in.Env))
		if faults := validation.IsRelaxedEnvVarName(v.Name); len(faults) > 0 {
			t.Fatalf("%s: %v", v.Name, faults)
		}
	}
	if !slices.Equal(argv, in.Argv) || !slices.Equal(env, exporttest.EnvList(in.Env)) {
		t.Fatalf("%s: came back as %q %q, want %q %q", in.Label(), argv, env, in.Argv, exporttest.EnvList(in.Env))
	}
	if s.Source != "db" && got.WorkingDir != in.Dir {
		t.Fatalf("dir %q, want %q", got.WorkingDir, in.Dir)
	}
	if limit := got.Resources.Limits.Memory().Value(); limit != int64(s.MemoryLimitMB)<<20 {
		t.Fatalf("memory %d, want %d MB", limit, s.MemoryLimitMB)
	}
	if cpu := got.Resources.Requests.Cpu().MilliValue(); cpu != int64(s.CPUShares) {
		t.Fatalf("cpu %d, want %d", cpu, s.CPUShares)
	}
	if *pod.TerminationGracePeriodSeconds != int64(s.StopTimeout.Seconds()) {
		t.Fatalf("grace %d", *pod.TerminationGracePeriodSeconds)
	}
	if s.StopSignal != "SIGTERM" && string(*got.Lifecycle.StopSignal) != s.StopSignal {
		t.Fatalf("stop signal %v, want %s", got.Lifecycle, s.StopSignal)
	}
	mounts := map[string]string{}
	for _, v := range got.VolumeMounts {
		if mounts[v.MountPath] != "" {
			t.Fatalf("%s is mounted twice", v.MountPath)
		}
		mounts[v.MountPath] = v.Name
	}
	if mounts[in.Data] != "data" || (c.claims[name] != nil) != s.StoragePersist {
		t.Fatalf("%s: mounts %v, claim %v", in.Label(), mounts, c.claims[name])
	}
	probed := s.Health != schema.HealthNone && in.Listen == export.ListenPort
	if (got.LivenessProbe != nil) != probed || (c.services[name] != nil) != (in.Listen == export.ListenPort) {
		t.Fatalf("%s: probe %v, service %v", in.Label(), got.LivenessProbe, c.services[name])
	}
	if c.policies[name] == nil || (c.jobs[name] != nil) != (s.Restart == schema.RestartNever) {
		t.Fatalf("%s: policy %v job %v", in.Label(), c.policies[name], c.jobs[name])
	}
}

func TestShop(t *testing.T) {
	t.Parallel()
	b, losses, err := export.Run(Target(), exporttest.Shop(), exporttest.Options())
	if err != nil {
		t.Fatal(err)
	}
	c := read(t, b)
	api := c.deployments["api-prod"]
	pod := api.Spec.Template.Spec
	main := pod.Containers[0]
	if *pod.RuntimeClassName != "gvisor" || api.Spec.MinReadySeconds != 5 || api.Spec.Strategy.Type != "RollingUpdate" ||
		main.StartupProbe.FailureThreshold != 10 || main.LivenessProbe.PeriodSeconds != 15 || main.LivenessProbe.HTTPGet.Path != "/up?deep=1" ||
		!*main.SecurityContext.ReadOnlyRootFilesystem || *pod.EnableServiceLinks || *pod.SecurityContext.FSGroup != 10001 {
		t.Errorf("api-prod: %+v", api.Spec)
	}
	for _, p := range []*corev1.Probe{main.StartupProbe, main.LivenessProbe, main.ReadinessProbe} {
		if p.HTTPGet.Port.StrVal != main.Ports[0].Name {
			t.Errorf("asks at %v, listens at %v", p.HTTPGet.Port, main.Ports)
		}
	}
	db := c.claims["db-main"]
	if got := db.Spec.Resources.Requests.Storage().Value(); got != 2048<<20 || c.deployments["db-main"].Spec.Strategy.Type != "Recreate" {
		t.Errorf("db-main: %d bytes, %v", got, c.deployments["db-main"].Spec.Strategy)
	}
	closed := exporttest.Shop()
	delete(closed.Fields, domainField)
	b, _, err = export.Run(Target(), closed, exporttest.Options())
	if err != nil {
		t.Fatal(err)
	}
	if rule := c.policies["db-main"].Spec.Ingress[0]; len(rule.From) != 0 {
		t.Errorf("who may reach db.shop.example: %+v", rule)
	}
	open := c
	c = read(t, b)
	if rule := c.policies["db-main"].Spec.Ingress[0]; len(rule.From) != 1 || rule.Ports[0].Port.IntValue() != 5432 {
		t.Errorf("who may reach db: %+v", rule)
	}
	if rule := c.policies["web-prod"].Spec.Ingress[0]; len(rule.From) != 0 {
		t.Errorf("who may reach web: %+v", rule)
	}
	if p := c.policies["worker-a"].Spec; len(p.Ingress) != 0 || p.PolicyTypes[0] != "Ingress" {
		t.Errorf("who may reach worker: %+v", p)
	}
	c = open
	wild := c.routes["wildcard-shop.example"]
	if wild == nil || string(wild.Spec.Hostnames[0]) != "*.shop.example" || len(wild.Spec.Rules[0].BackendRefs) != 2 || *wild.Spec.Rules[0].BackendRefs[0].Weight != 100 {
		t.Errorf("route %+v of %v", wild, c.routes)
	}
	if one := c.routes["host-staging.web.shop.example"]; one == nil || len(one.Spec.Rules[0].BackendRefs) != 1 || string(one.Spec.Rules[0].BackendRefs[0].Name) != "web-staging" {
		t.Errorf("route of an instance: %+v", one)
	}
	if len(c.routes) != 4+3+3 || c.jobs["migrate-once"] == nil || *c.jobs["migrate-once"].Spec.BackoffLimit != 0 {
		t.Errorf("%d routes, jobs %v", len(c.routes), c.jobs)
	}
	for _, selects := range c.deployments {
		if got := selects.Spec.Template.Labels; got["app.kubernetes.io/name"] != selects.Spec.Selector.MatchLabels["app.kubernetes.io/name"] {
			t.Errorf("%s selects %v, its pods have %v", selects.Name, selects.Spec.Selector.MatchLabels, got)
		}
	}
	told := fmt.Sprint(losses)
	for _, want := range []string{"idle_timeout", "depends_on", "runtimeClassName: gvisor", "1Gi is asked for", "a Gateway called shop"} {
		if !strings.Contains(told, want) {
			t.Errorf("nothing is told of %s: %s", want, told)
		}
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	route := func(m *schema.Model, path string) { m.Routing.Path = map[string]string{path: "web"} }
	for want, edit := range map[string]func(*schema.Model, *schema.Service){
		"not modules":           func(_ *schema.Model, s *schema.Service) { s.Isolation = "wasm" },
		"at most 63 letters":    func(_ *schema.Model, s *schema.Service) { s.Name = "w" + strings.Repeat("b", 60) },
		"begins with a letter":  func(_ *schema.Model, s *schema.Service) { s.Name = "9web" },
		"would both be called":  func(_ *schema.Model, s *schema.Service) { s.Name, s.Instances = "a_b", []string{"c"} },
		"no colon":              func(m *schema.Model, _ *schema.Service) { m.Settings.DataDir = "/a:b" },
		"printable ASCII":       func(_ *schema.Model, s *schema.Service) { s.Env = map[string]string{"É": ""} },
		"takes no such path":    func(m *schema.Model, _ *schema.Service) { route(m, "/a b") },
		"leads to at most 16":   func(m *schema.Model, s *schema.Service) { route(m, "/"); s.Instances = ids(17) },
		"is a file of the host": func(_ *schema.Model, s *schema.Service) { s.Command = "/opt/x" },
		"given a zero byte":     func(_ *schema.Model, s *schema.Service) { s.Args = []string{"\x00"} },
		"the name of that for a.b": func(m *schema.Model, s *schema.Service) {
			m.Routing.Subdomain = map[string]string{"a.b": "web"}
			s.Domains = []string{"a.b"}
		},
	} {
		web := exporttest.Service("web")
		m := exporttest.Model(exporttest.Service("a-b", func(s *schema.Service) { s.Instances = []string{"c"} }), web)
		edit(m, web)
		_, _, err := export.Run(Target(), m, exporttest.Options())
		if refused, ok := errors.AsType[*export.RefusedError](err); !ok || !strings.Contains(refused.Why, want) || refused.Nearest == "" {
			t.Errorf("got %v, want a refusal about %q", err, want)
		}
	}
}

func ids(n int) []string {
	var ids []string
	for i := range n {
		ids = append(ids, fmt.Sprintf("i%02d", i))
	}
	return ids
}

func TestStepsAreForAShell(t *testing.T) {
	t.Parallel()
	o := exporttest.Options()
	o.Registry = "registry.example.com/team"
	m := exporttest.Model(exporttest.Service("web", func(s *schema.Service) { s.Source = "odd ${d}" }))
	b, losses, err := export.Run(Target(), m, o)
	if err != nil {
		t.Fatal(err)
	}
	want := "docker build --tag registry.example.com/team/shop-web --file images/web.Dockerfile '../../odd ${d}'\n" +
		"docker push registry.example.com/team/shop-web\nkubectl apply --kustomize .\nkubectl --namespace shop rollout restart deployment"
	if got := strings.Join(b.Steps, "\n"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	for _, l := range losses {
		if l.Field == "source" {
			t.Errorf("told of a registry that was given: %+v", l)
		}
	}
	if !bytes.Contains(b.Files[0].Data, []byte("FROM golang")) {
		t.Errorf("%s is no Dockerfile", b.Files[0].Path)
	}
}

func newBufio(data []byte) *bufio.Reader { return bufio.NewReader(bytes.NewReader(data)) }
