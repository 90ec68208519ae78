// Package terraform exports a model as HCL for Terraform and OpenTofu: docker
// resources for the services, and hcloud's for the hosts of slum.toml that are made
// at Hetzner. Every value stands in it exactly, whatever quotes,
// dollars or newlines it holds; what HCL can't hold is refused.
package terraform

import "github.com/tenement/ten/export"

// The provider whose resources are written, and the versions that know them.
const (
	ProviderSource  = "kreuzwerker/docker"
	ProviderVersion = "~> 4.6"
)

const header = "Made by ten export terraform. Edit the config and export again."

// Target is the export to Terraform.
func Target() export.Target {
	return export.Target{
		Name: "terraform", Short: "*.tf for Terraform and OpenTofu (docker and hcloud providers), Dockerfiles included",
		Export: run, Uses: uses(),
	}
}
