package kubernetes

import "go.yaml.in/yaml/v4"

// The parts of Kubernetes' types that an export says, by the same names. What is
// empty is left out.

// text is a value of the config: always in double quotes, so that no reader of
// YAML takes it for something else.
type text string

// MarshalYAML implements yaml.Marshaler.
func (t text) MarshalYAML() (any, error) {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Style: yaml.DoubleQuotedStyle, Value: string(t)}, nil
}

type kustomization struct {
	APIVersion string   `yaml:"apiVersion"`
	Kind       string   `yaml:"kind"`
	Resources  []string `yaml:"resources"`
}

type meta struct {
	Name      string            `yaml:"name,omitempty"`
	Namespace string            `yaml:"namespace,omitempty"`
	Labels    map[string]string `yaml:"labels,omitempty"`
}

type object struct {
	APIVersion string `yaml:"apiVersion"`
	Kind       string `yaml:"kind"`
	Metadata   meta   `yaml:"metadata"`
	Spec       any    `yaml:"spec,omitempty"`
}

type selector struct {
	MatchLabels map[string]string `yaml:"matchLabels,omitempty"`
}

type deploymentSpec struct {
	Replicas                int         `yaml:"replicas"`
	MinReadySeconds         int         `yaml:"minReadySeconds,omitempty"`
	ProgressDeadlineSeconds int         `yaml:"progressDeadlineSeconds,omitempty"`
	Selector                selector    `yaml:"selector"`
	Strategy                strategy    `yaml:"strategy"`
	Template                podTemplate `yaml:"template"`
}

type strategy struct {
	Type          string         `yaml:"type"`
	RollingUpdate *rollingUpdate `yaml:"rollingUpdate,omitempty"`
}

type rollingUpdate struct {
	MaxUnavailable int `yaml:"maxUnavailable"`
	MaxSurge       int `yaml:"maxSurge"`
}

type jobSpec struct {
	BackoffLimit int         `yaml:"backoffLimit"`
	Template     podTemplate `yaml:"template"`
}

type podTemplate struct {
	Metadata meta    `yaml:"metadata"`
	Spec     podSpec `yaml:"spec"`
}

type podSpec struct {
	RestartPolicy                 string       `yaml:"restartPolicy,omitempty"`
	RuntimeClassName              string       `yaml:"runtimeClassName,omitempty"`
	AutomountServiceAccountToken  bool         `yaml:"automountServiceAccountToken"`
	EnableServiceLinks            bool         `yaml:"enableServiceLinks"`
	TerminationGracePeriodSeconds int          `yaml:"terminationGracePeriodSeconds"`
	OS                            *podOS       `yaml:"os,omitempty"`
	SecurityContext               *podSecurity `yaml:"securityContext,omitempty"`
	Affinity                      *affinity    `yaml:"affinity,omitempty"`
	Containers                    []container  `yaml:"containers"`
	Volumes                       []volume     `yaml:"volumes,omitempty"`
}

type podOS struct {
	Name string `yaml:"name"`
}

type podSecurity struct {
	RunAsNonRoot   bool           `yaml:"runAsNonRoot,omitempty"`
	FSGroup        int            `yaml:"fsGroup,omitempty"`
	SeccompProfile seccompProfile `yaml:"seccompProfile"`
}

type seccompProfile struct {
	Type string `yaml:"type"`
}

type container struct {
	Name            string             `yaml:"name"`
	Image           string             `yaml:"image"`
	ImagePullPolicy string             `yaml:"imagePullPolicy"`
	Command         []text             `yaml:"command"`
	WorkingDir      text               `yaml:"workingDir,omitempty"`
	Env             []envVar           `yaml:"env,omitempty"`
	Ports           []containerPort    `yaml:"ports,omitempty"`
	Resources       *resources         `yaml:"resources,omitempty"`
	StartupProbe    *probe             `yaml:"startupProbe,omitempty"`
	LivenessProbe   *probe             `yaml:"livenessProbe,omitempty"`
	ReadinessProbe  *probe             `yaml:"readinessProbe,omitempty"`
	Lifecycle       *lifecycle         `yaml:"lifecycle,omitempty"`
	SecurityContext *containerSecurity `yaml:"securityContext,omitempty"`
	VolumeMounts    []volumeMount      `yaml:"volumeMounts,omitempty"`
}

type envVar struct {
	Name  text `yaml:"name"`
	Value text `yaml:"value"`
}

type containerPort struct {
	Name          string `yaml:"name"`
	ContainerPort int    `yaml:"containerPort"`
}

type resources struct {
	Requests map[string]string `yaml:"requests,omitempty"`
	Limits   map[string]string `yaml:"limits,omitempty"`
}

type probe struct {
	HTTPGet          *httpGet   `yaml:"httpGet,omitempty"`
	TCPSocket        *tcpSocket `yaml:"tcpSocket,omitempty"`
	PeriodSeconds    int        `yaml:"periodSeconds"`
	TimeoutSeconds   int        `yaml:"timeoutSeconds"`
	FailureThreshold int        `yaml:"failureThreshold"`
}

type httpGet struct {
	Path text   `yaml:"path"`
	Port string `yaml:"port"`
}

type tcpSocket struct {
	Port string `yaml:"port"`
}

type lifecycle struct {
	StopSignal string `yaml:"stopSignal"`
}

type containerSecurity struct {
	AllowPrivilegeEscalation bool         `yaml:"allowPrivilegeEscalation"`
	ReadOnlyRootFilesystem   bool         `yaml:"readOnlyRootFilesystem"`
	Capabilities             capabilities `yaml:"capabilities"`
}

type capabilities struct {
	Drop []string `yaml:"drop"`
}

type volumeMount struct {
	Name      string `yaml:"name"`
	MountPath text   `yaml:"mountPath"`
}

type volume struct {
	Name                  string    `yaml:"name"`
	EmptyDir              *emptyDir `yaml:"emptyDir,omitempty"`
	PersistentVolumeClaim *claimRef `yaml:"persistentVolumeClaim,omitempty"`
}

type emptyDir struct {
	SizeLimit string `yaml:"sizeLimit,omitempty"`
}

type claimRef struct {
	ClaimName string `yaml:"claimName"`
}

type claimSpec struct {
	AccessModes []string  `yaml:"accessModes"`
	Resources   resources `yaml:"resources"`
}

type serviceSpec struct {
	Selector map[string]string `yaml:"selector"`
	Ports    []servicePort     `yaml:"ports"`
}

type servicePort struct {
	Name       string `yaml:"name"`
	Port       int    `yaml:"port"`
	TargetPort string `yaml:"targetPort"`
}

type policySpec struct {
	PodSelector selector      `yaml:"podSelector"`
	PolicyTypes []string      `yaml:"policyTypes"`
	Ingress     []ingressRule `yaml:"ingress"`
	Egress      *[]struct{}   `yaml:"egress,omitempty"`
}

type ingressRule struct {
	From  []peer       `yaml:"from,omitempty"` // none = everybody
	Ports []policyPort `yaml:"ports"`
}

type peer struct {
	PodSelector selector `yaml:"podSelector"`
}

type policyPort struct {
	Port int `yaml:"port"`
}

type routeSpec struct {
	ParentRefs []nameRef   `yaml:"parentRefs"`
	Hostnames  []text      `yaml:"hostnames,omitempty"`
	Rules      []routeRule `yaml:"rules"`
}

type nameRef struct {
	Name string `yaml:"name"`
}

type routeRule struct {
	Matches     []routeMatch `yaml:"matches"`
	BackendRefs []backendRef `yaml:"backendRefs"`
}

type routeMatch struct {
	Path pathMatch `yaml:"path"`
}

type pathMatch struct {
	Type  string `yaml:"type"`
	Value text   `yaml:"value"`
}

type backendRef struct {
	Name   string `yaml:"name"`
	Port   int    `yaml:"port"`
	Weight int    `yaml:"weight"`
}
