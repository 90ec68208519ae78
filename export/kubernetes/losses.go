package kubernetes

import (
	"cmp"
	"slices"
	"strconv"

	"github.com/tenement/ten/export"
	"github.com/tenement/ten/schema"
)

// tell says what is lost of a service, once for all its instances; in is the
// first. What is lost whatever its value, uses tells.
func (e *exporter) tell(in export.Instance, image export.Image) {
	s := in.Service
	const converted = export.Converted
	switch s.Isolation {
	case "process":
		e.lose(s, "isolation", "process", converted, "a container has its own files, processes and network", "what it shared with the host it no longer sees")
	case "sandbox":
		e.lose(s, "isolation", "sandbox", converted, "a cluster names its sandboxes itself", "runtimeClassName: gvisor, which has to exist there")
	case "vm":
		e.lose(s, "isolation", "vm", converted, "a cluster names its virtual machines itself", "runtimeClassName: kata, which has to exist there")
	}
	_, written := s.Fields["restart"]
	switch {
	case s.Restart == schema.RestartNever:
		e.lose(s, "restart", "never", converted, "a Job can't be changed", "kubectl delete job before it is applied with a change")
	case s.Restart == schema.RestartOnFailure && written:
		e.lose(s, "restart", "on-failure", converted, "a Deployment starts its pod again however it ended", "use never for what ends by itself")
	}
	if s.CPUShares > 0 {
		e.lose(s, "cpu_shares", strconv.Itoa(int(s.CPUShares)), converted, "a share is asked for of a node beforehand", "requests.cpu of as many thousandths of a processor")
	}
	if s.StopSignal != "SIGTERM" {
		e.lose(s, "stop_signal", s.StopSignal, converted, "a cluster without the feature ContainerStopSignals drops it", "STOPSIGNAL in a Dockerfile says it everywhere")
	}
	if s.StoragePersist && s.StorageQuotaMB == 0 {
		e.lose(s, "storage_quota_mb", "not written", converted, "a claim has a size", "1Gi is asked for; write storage_quota_mb")
	}
	if s.Network == schema.NetworkNone {
		e.lose(s, "network", "none", converted, "a NetworkPolicy holds only where the cluster's network enforces it", "one without egress, which DNS is a part of")
	}
	if own := image.Dockerfile; own != "" && s.Workdir != "" && s.Workdir[0] != '/' {
		e.lose(s, "workdir", s.Workdir, export.Lost, own+" decides where the program lies", "say it there: WORKDIR")
	}
	if in.Listen == export.ListenSocket {
		e.lose(s, "socket", in.Socket, converted, "a socket in a pod is reached from nowhere else", "let it listen at {port}")
		if s.Health != schema.HealthNone {
			e.lose(s, "health", cmp.Or(s.Health, "accepts a connection"), export.Lost, "a cluster asks at ports alone", "let it listen at {port}")
		}
	}
}

// uses is what becomes of every field.
func uses() []export.Use {
	const (
		carried, converted, lost = export.Carried, export.Converted, export.Lost
		noSleep                  = "a Deployment does not sleep"
		backoff                  = "the kubelet waits 10 s at first, 5 minutes at most, and never gives up"
		aGateway                 = "a Gateway of the project's name has to exist"
	)
	front := slices.DeleteFunc(export.RouterUses("a Gateway is in the place of ten's router", "say it in the Gateway"), func(u export.Use) bool { return u.Field == domainField })
	return append(append(front, placementUses()...), []export.Use{
		{Field: "command", Kind: carried, As: "command, with $ doubled"},
		{Field: "args", Kind: carried, As: "command"},
		{Field: "build", Kind: carried, As: "a stage of images/SERVICE.Dockerfile"},
		{Field: "source", Kind: converted, As: "an image, built and pushed by the steps", Why: "a cluster builds nothing; kubectl rollout restart takes the newest"},
		{Field: "env", Kind: carried, As: "env, with $ doubled"},
		{Field: "workdir", Kind: converted, As: "workingDir", Why: "the repository's own Dockerfile decides where the program lies"},
		{Field: "isolation", Kind: converted, As: "securityContext; runtimeClassName gvisor or kata", Why: "the cluster has to have these runtime classes; wasm is refused"},
		{Field: "socket", Kind: converted, As: "SOCKET_PATH, in an emptyDir", Why: "a socket in a pod is reached from nowhere else"},
		{Field: "port", Kind: carried, As: "a Service"},
		{Field: "health", Kind: carried, As: "startupProbe, livenessProbe, readinessProbe"},
		{Field: "restart", Kind: converted, As: "a Deployment; a Job for never", Why: "a Deployment starts its pod again however it ended"},
		{Field: "depends_on", Kind: lost, Why: "pods start in no order", As: "a program that misses another ends, and is started again"},
		{Field: "idle_timeout", Kind: lost, Why: noSleep},
		{Field: "startup_timeout", Kind: carried, As: "startupProbe.failureThreshold"},
		{Field: "request_timeout", Kind: lost, Why: "a route's timeout is about the whole answer, and would cut streams"},
		{Field: "min_healthy", Kind: carried, As: "minReadySeconds"},
		{Field: "stop_signal", Kind: converted, As: "lifecycle.stopSignal", Why: "not every cluster knows it"},
		{Field: "stop_timeout", Kind: carried, As: "terminationGracePeriodSeconds"},
		{Field: "memory_limit_mb", Kind: carried, As: "resources.limits.memory"},
		{Field: "cpu_shares", Kind: converted, As: "resources.requests.cpu", Why: "a share is asked for of a node beforehand"},
		{Field: "storage_quota_mb", Kind: converted, As: "the size of the claim or emptyDir", Why: "ten warns where a cluster enforces"},
		{Field: "storage_persist", Kind: carried, As: "a PersistentVolumeClaim, or an emptyDir"},
		{Field: "instances", Kind: carried, As: "one Deployment for each"},
		{Field: "on_demand", Kind: lost, Why: noSleep, As: "every declared instance runs"},
		{Field: "max_instances", Kind: lost, Why: "nobody but ten makes instances later"},
		{Field: "network", Kind: converted, As: "a NetworkPolicy without egress", Why: "it holds where the cluster's network enforces policies"},
		{Field: "listen_fds", Kind: lost, Why: "nobody passes a listening socket to a pod; true is refused"},
		{Field: "sleep", Kind: lost, Why: noSleep},
		{Field: "min_running", Kind: carried, As: "all instances run"},
		{Field: "wake_queue", Kind: lost, Why: noSleep},
		{Field: "domains", Kind: converted, As: "an HTTPRoute", Why: aGateway},
		{Field: "instance_domains", Kind: converted, As: "an HTTPRoute", Why: aGateway},
		{Field: "weight", Kind: carried, As: "backendRefs.weight"},
		{Field: "deploy", Kind: lost, Why: "a Deployment of one pod rolls", As: "RollingUpdate, or Recreate where there is a volume"},
		{Field: "canary_steps", Kind: lost, Why: "a Deployment of one pod rolls"},
		{Field: "canary_seconds", Kind: lost, Why: "a Deployment of one pod rolls"},
		{Field: "drain_timeout", Kind: lost, Why: "the signal is sent while requests are under way", As: "let the program end what it has begun when the signal comes"},

		{Field: "settings.data_dir", Kind: converted, As: "where volumes are mounted", Why: "a relative one becomes /data"},
		{Field: "settings.domain", Kind: converted, As: "HTTPRoutes for SERVICE.DOMAIN and ID.SERVICE.DOMAIN", Why: aGateway},
		{Field: "settings.health_check_interval", Kind: carried, As: "livenessProbe.periodSeconds"},
		{Field: "settings.max_restarts", Kind: lost, Why: backoff},
		{Field: "settings.restart_window", Kind: lost, Why: backoff},
		{Field: "settings.backoff_base_ms", Kind: lost, Why: backoff},
		{Field: "settings.backoff_max_ms", Kind: lost, Why: backoff},
		{Field: "settings.allow_removals", Kind: lost, Why: "kubectl apply removes nothing"},

		{Field: "routing.default", Kind: converted, As: "an HTTPRoute", Why: aGateway},
		{Field: "routing.subdomain", Kind: converted, As: "HTTPRoutes", Why: aGateway},
		{Field: "routing.path", Kind: converted, As: "HTTPRoutes", Why: aGateway},
	}...)
}
