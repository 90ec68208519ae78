package kubernetes

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/tenement/ten/export"
	"github.com/tenement/ten/schema"
)

// portName is what the one port of a container is called.
const portName = "main"

// nameOf is what the objects of an instance are called: a DNS label. Two that
// become one are refused by names.Take.
func nameOf(in export.Instance) string {
	return strings.ReplaceAll(in.Service.Name, "_", "-") + "-" + in.ID
}

// labels tell what belongs together; "" is left out.
func (e *exporter) labels(service, instance string) map[string]string {
	l := map[string]string{"app.kubernetes.io/part-of": e.opts.Project, "app.kubernetes.io/managed-by": "ten"}
	if service != "" {
		l["app.kubernetes.io/name"], l["app.kubernetes.io/instance"] = service, instance
	}
	return l
}

func (e *exporter) meta(in export.Instance) meta {
	return meta{Name: nameOf(in), Namespace: e.opts.Project, Labels: e.labels(in.Service.Name, in.ID)}
}

// match selects the pods of an instance, and no others.
func match(in export.Instance) selector {
	return selector{MatchLabels: map[string]string{"app.kubernetes.io/name": in.Service.Name, "app.kubernetes.io/instance": in.ID}}
}

// objects are all objects of one instance.
func (e *exporter) objects(in export.Instance, sv *service) ([]any, error) {
	if err := e.takeName(in); err != nil {
		return nil, err
	}
	spec, err := e.pod(in, sv)
	if err != nil {
		return nil, err
	}
	objects := []any{e.workload(in, spec)}
	if in.Service.StoragePersist {
		size := cmp.Or(in.Service.StorageQuotaMB, 1024)
		objects = append(objects, object{APIVersion: "v1", Kind: "PersistentVolumeClaim", Metadata: e.meta(in), Spec: claimSpec{
			AccessModes: []string{"ReadWriteOnce"}, Resources: resources{Requests: map[string]string{"storage": mebibytes(size)}},
		}})
	}
	if sv.listens {
		objects = append(objects, object{APIVersion: "v1", Kind: "Service", Metadata: e.meta(in), Spec: serviceSpec{
			Selector: match(in).MatchLabels, Ports: []servicePort{{Name: portName, Port: in.Port, TargetPort: portName}},
		}})
	}
	return append(objects, e.policy(in, sv)), nil
}

func (e *exporter) takeName(in export.Instance) error {
	name, why := nameOf(in), ""
	switch {
	case len(name) > 63:
		why = fmt.Sprintf("its name would be %s, and a name has at most 63 letters", name)
	case name[0] <= '9':
		why = fmt.Sprintf("its name would be %s, and the name of a Service begins with a letter", name)
	}
	if why != "" {
		return e.layout.Refuse(in.Service, "instances", strconv.Quote(in.ID), why, "rename the service or the instance")
	}
	return e.names.Take(name, in)
}

// workload is what keeps the pod: a Job where it runs once, else a Deployment.
func (e *exporter) workload(in export.Instance, spec podSpec) object {
	s := in.Service
	template := podTemplate{Metadata: meta{Labels: e.labels(s.Name, in.ID)}, Spec: spec}
	if s.Restart == schema.RestartNever {
		template.Spec.RestartPolicy = "Never"
		return object{APIVersion: "batch/v1", Kind: "Job", Metadata: e.meta(in), Spec: jobSpec{Template: template}}
	}
	d := deploymentSpec{Replicas: 1, MinReadySeconds: seconds(s.MinHealthy), Selector: match(in), Template: template}
	if took := d.MinReadySeconds + seconds(s.StartupTimeout); took >= 600 { // what a rollout may take by default
		d.ProgressDeadlineSeconds = min(took+60, math.MaxInt32)
	}
	d.Strategy = strategy{Type: "RollingUpdate", RollingUpdate: &rollingUpdate{MaxSurge: 1}}
	if s.StoragePersist { // its volume is mounted by one node
		d.Strategy = strategy{Type: "Recreate"}
	}
	return object{APIVersion: "apps/v1", Kind: "Deployment", Metadata: e.meta(in), Spec: d}
}

// pod is one instance.
func (e *exporter) pod(in export.Instance, sv *service) (podSpec, error) {
	s := in.Service
	c := container{Name: "main", Image: sv.image.Name, ImagePullPolicy: "Always", Command: escapeAll(in.Argv)}
	if sv.image.Dockerfile == "" || path.IsAbs(s.Workdir) {
		c.WorkingDir = text(in.Dir)
	}
	for _, name := range slices.Sorted(maps.Keys(in.Env)) {
		if strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r > '~' }) {
			return podSpec{}, e.layout.Refuse(s, "env."+name, in.Env[name], "the name of a variable is made of printable ASCII", "rename it")
		}
		c.Env = append(c.Env, envVar{text(name), escape(in.Env[name])})
	}
	c.Resources = limits(s)
	if sv.listens {
		c.Ports = []containerPort{{portName, in.Port}}
		e.probes(s, sv, &c)
	}
	spec := podSpec{
		Affinity:                      e.affinity(s),
		TerminationGracePeriodSeconds: seconds(s.StopTimeout),
		SecurityContext:               &podSecurity{SeccompProfile: seccompProfile{"RuntimeDefault"}},
	}
	if sv.image.Dockerfile == "" { // a generated image has that user
		spec.SecurityContext.RunAsNonRoot, spec.SecurityContext.FSGroup = true, userID(e.layout)
	}
	switch s.Isolation {
	case "sandbox":
		spec.RuntimeClassName = "gvisor"
	case "vm":
		spec.RuntimeClassName = "kata"
	case "process":
		spec.SecurityContext.SeccompProfile.Type = "Unconfined"
	}
	if s.Isolation != "process" {
		c.SecurityContext = &containerSecurity{ReadOnlyRootFilesystem: true, Capabilities: capabilities{[]string{"ALL"}}}
	}
	if s.StopSignal != "SIGTERM" {
		c.Lifecycle, spec.OS = &lifecycle{s.StopSignal}, &podOS{"linux"}
	}
	if err := e.volumes(in, &c, &spec); err != nil {
		return podSpec{}, err
	}
	spec.Containers = []container{c}
	return spec, nil
}

func userID(l export.Layout) int {
	user, _, _ := strings.Cut(l.User, ":")
	id, _ := strconv.Atoi(user) // 0, which is left out, for what is no number
	return id
}

func limits(s *schema.Service) *resources {
	var r resources
	if s.MemoryLimitMB > 0 {
		r.Limits = map[string]string{"memory": mebibytes(s.MemoryLimitMB)}
	}
	if s.CPUShares > 0 {
		r.Requests = map[string]string{"cpu": fmt.Sprintf("%dm", s.CPUShares)}
	}
	if r.Limits == nil && r.Requests == nil {
		return nil
	}
	return &r
}

// probes ask like ten does: every second until the first good answer, and then
// every health_check_interval.
func (e *exporter) probes(s *schema.Service, sv *service, c *container) {
	var ask probe
	switch sv.probe {
	case export.ProbeHTTP:
		ask.HTTPGet = &httpGet{text(sv.request), portName}
	case export.ProbeConnect:
		ask.TCPSocket = &tcpSocket{portName}
	default:
		return
	}
	ask.TimeoutSeconds = seconds(export.ProbeTimeout)
	start, live := ask, ask
	start.PeriodSeconds, start.FailureThreshold = 1, max(1, seconds(s.StartupTimeout))
	live.PeriodSeconds, live.FailureThreshold = max(1, seconds(e.model.Settings.HealthCheckInterval)), export.UnhealthyAfter
	ready := live
	c.StartupProbe, c.LivenessProbe, c.ReadinessProbe = &start, &live, &ready
}

// volumes are the directories that a pod may write to.
func (e *exporter) volumes(in export.Instance, c *container, spec *podSpec) error {
	s := in.Service
	add := func(name, dir string, v volume) {
		v.Name = name
		spec.Volumes = append(spec.Volumes, v)
		c.VolumeMounts = append(c.VolumeMounts, volumeMount{name, text(dir)})
	}
	data := volume{EmptyDir: &emptyDir{}}
	if s.StorageQuotaMB > 0 {
		data.EmptyDir.SizeLimit = mebibytes(s.StorageQuotaMB)
	}
	if s.StoragePersist {
		data = volume{PersistentVolumeClaim: &claimRef{nameOf(in)}}
	}
	add("data", in.Data, data)
	if s.Isolation != "process" && in.Data != "/tmp" {
		add("tmp", "/tmp", volume{EmptyDir: &emptyDir{}})
	}
	if dir := path.Dir(in.Socket); in.Socket != "" && dir != "/" && dir != "/tmp" && dir != in.Data {
		add("sockets", dir, volume{EmptyDir: &emptyDir{}})
	}
	for _, m := range c.VolumeMounts {
		if strings.Contains(string(m.MountPath), ":") {
			return e.layout.Refuse(s, "settings.data_dir", strconv.Quote(string(m.MountPath)), "the path of a volume holds no colon", "choose another directory")
		}
	}
	return nil
}

// policy lets in what is routed to an instance, and else only its neighbours: on
// a host, ten's router alone is open to others.
func (e *exporter) policy(in export.Instance, sv *service) object {
	p := policySpec{PodSelector: match(in), PolicyTypes: []string{"Ingress"}, Ingress: []ingressRule{}}
	if sv.listens {
		rule := ingressRule{Ports: []policyPort{{in.Port}}}
		if !sv.routed {
			rule.From = []peer{{}}
		}
		p.Ingress = []ingressRule{rule}
	}
	if in.Service.Network == schema.NetworkNone {
		p.PolicyTypes, p.Egress = append(p.PolicyTypes, "Egress"), &[]struct{}{}
	}
	return object{APIVersion: "networking.k8s.io/v1", Kind: "NetworkPolicy", Metadata: e.meta(in), Spec: p}
}

// escape keeps Kubernetes from reading $(NAME) into a value, and from making one
// dollar of two.
func escape(s string) text { return text(strings.ReplaceAll(s, "$", "$$")) }

func escapeAll(words []string) []text {
	out := make([]text, len(words))
	for i, w := range words {
		out[i] = escape(w)
	}
	return out
}

func mebibytes(n uint32) string { return strconv.FormatUint(uint64(n), 10) + "Mi" }
