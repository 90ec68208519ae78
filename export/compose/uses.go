package compose

import (
	"github.com/tenement/ten/export"
	"github.com/tenement/ten/export/docker"
)

// uses is what becomes of every field.
func uses() []export.Use {
	return docker.Uses(
		spelling,
		export.Use{Field: "build", Kind: export.Carried, As: "a stage of the Dockerfile"},
		export.Use{Field: "source", Kind: export.Carried, As: "build.context"},
		export.Use{Field: "isolation", Kind: export.Converted, As: "namespace: read_only, cap_drop, no-new-privileges; sandbox: runtime: runsc", Why: "everything gets a container's walls; vm and wasm are refused"},
		export.Use{Field: "depends_on", Kind: export.Converted, As: "depends_on, for every instance", Why: "what has no health can't be waited for"},
		export.Use{Field: "instances", Kind: export.Carried, As: "one service for each"},
		export.Use{Field: "network", Kind: export.Converted, As: "host: the project's network; none: network_mode none, or a network without a way out", Why: "a container has a network of its own"},
		export.Use{Field: "settings.max_restarts", Kind: export.Converted, As: "restart: on-failure:N", Why: "Docker counts restarts only with on-failure, and never forgets them"},
		export.Use{Field: "settings.allow_removals", Kind: export.Lost, Why: "Compose asks nobody", As: "docker compose up without --remove-orphans removes nothing"},
	)
}

// spelling is how Compose spells a property.
func spelling(property string) string {
	switch property {
	case "env":
		return "environment, with $ doubled"
	case "stop_timeout":
		return "stop_grace_period"
	case "memory":
		return "mem_limit"
	case "memory_swap":
		return "memswap_limit"
	case "healthcheck":
		return "healthcheck.test"
	case "start_period", "interval":
		return "healthcheck." + property
	}
	return property
}
